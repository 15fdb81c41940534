"""A row of results.csv in which nothing was measured, for tests that change what they are about."""

from medleak.inversion.results.rows import Row

ROW = Row(
    round=0,
    site="site-1",
    attack="dlg",
    defence="none",
    declared="none",
    knowledge="all",
    seed=0,
    reconstruction=0,
    seconds=1.0,
    iterations=1,
    attempts=1,
    stuck=False,
    losses="",
    picture="a.png",
)

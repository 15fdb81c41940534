"""Two attacks or two defences on the same images."""

from collections.abc import Hashable, Sequence

from medleak.inversion.measures.intervals import Comparison, compare
from medleak.inversion.results.rows import Row


def compare_rows(first: Sequence[Row], second: Sequence[Row], figure: str = "ssim") -> Comparison:
    """Paired comparison of ``figure`` over what both measured: same round, site, seed and image.

    Args:
        first: Rows of one attack, defence and knowledge.
        second: Rows of another.
        figure: A column of results.csv: ``ssim``, ``rdlv``, ``psnr``, ``cosine``, …

    Raises:
        ValueError: No such figure, an image twice on one side, or none that both measured.
    """
    ours, theirs = _by_image(first, figure), _by_image(second, figure)
    both = [key for key in ours if key in theirs]
    if not both:
        raise ValueError(
            f"No image has {figure} on both sides ({len(ours)} and {len(theirs)} have it): there "
            "is nothing to compare. Audit the same rounds, sites and seeds with both."
        )
    clusters: list[Hashable] = [(key[1], ours[key][1]) for key in both]
    return compare([ours[key][0] for key in both], [theirs[key][0] for key in both], clusters)


def _by_image(
    rows: Sequence[Row], figure: str
) -> dict[tuple[int, str, int, str], tuple[float, Hashable]]:
    found: dict[tuple[int, str, int, str], tuple[float, Hashable]] = {}
    for row in rows:
        value = getattr(row, figure, None)
        if row.truth_image is None or value is None:
            continue
        if isinstance(value, str):
            raise ValueError(f"{figure!r} is a text: only figures can be compared.")
        key = (row.round, row.site, row.seed, row.truth_image)
        if key in found:
            raise ValueError(
                f"{row.truth_image} of {row.site} in round {row.round} stands twice on one side: "
                "choose the rows of one attack, defence and knowledge."
            )
        found[key] = (float(value), row.truth_image if row.patient is None else row.patient)
    return found

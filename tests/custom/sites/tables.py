"""Tables of sites for hypothesis, and what tests of them share."""

import re

import pytest
from hypothesis import strategies as st

from medleak.custom.data.datalist import DataError, Item
from medleak.custom.sites.split import Site


def singles(n, num_classes=2):
    """``n`` patients with one image each, classes in turn."""
    return [Item(f"{k:04d}.png", k % num_classes, f"p{k:04d}") for k in range(n)]


def refusal(call, *args):
    """The message of the DataError that ``call`` raises: one line of what, why, what to do."""
    with pytest.raises(DataError) as caught:
        call(*args)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(r"\. [A-Z].*\.$", message)
    return message


hosts = st.lists(
    st.tuples(st.integers(1, 16), st.integers(1, 40), st.integers(0, 12)), min_size=1, max_size=4
).map(lambda rows: [Site(f"site-{k}", *row) for k, row in enumerate(rows, 1)])
tables = st.builds(
    lambda sites, sharing: (
        tuple(sites)
        + tuple(
            Site(f"guest-{k}", 1, min(n, sites[0].training), 3, shares="site-1")
            for k, n in enumerate(sharing)
        )
    ),
    hosts,
    st.lists(st.integers(1, 3), max_size=2),
)
scales = st.floats(0.001, 1)

"""A place to reproduce in, so small that it takes seconds."""

from pathlib import Path

import pytest

from medleak.custom.phantoms import listing, render
from medleak.inversion.reproduce.experiment import Place, Scale

TINY = Scale(
    size=16,
    rounds=2,
    images=1,
    schedule=(1, 2),
    strengths=(10,),
    levels=(100,),
    seeds=(0,),
    seconds=0.2,
    iterations=2,
    sites=(("site-1", 2, 2), ("site-9", 1, 1)),
    trained=False,
)


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(out=tmp_path / "out", scale=TINY, say=lambda _: None)


@pytest.fixture
def films(tmp_path) -> Path:
    """A folder-per-class set of eight phantoms."""
    return render(listing(8, seed=3), tmp_path / "films", 32, seed=3)

"""Tests of the map of originals and reconstructions."""

from tests.inversion.figures.drawings import text_of
from tests.inversion.figures.sweeps import sweep

from medleak.inversion.figures import (
    AuditData,
    draw,
    embeddings,
)


def test_of_too_many_pictures_a_map_shows_some_of_all_and_says_so(make_audit, monkeypatch):
    monkeypatch.setattr(embeddings, "_MOST", 20)
    rows = sweep(scopes=("update",), images=2, seeds=1)
    figure = draw("embeddings", AuditData.open(make_audit(rows)), embed=_pixels)
    written = text_of(figure)
    assert f"20 of {len(rows)} reconstructions, drawn at random. 4 images of 2 sites" in written
    # 0, 1, 10, 25 are four colours, each with its number.
    (bar,) = [a for a in figure.axes if a.get_ylabel() == "strength of the defence"]
    assert [t.get_text() for t in bar.get_yticklabels()] == ["0", "1", "10", "25"]


def _pixels(images):
    return images.flatten(1)

"""Tests of pictures of an attack on its way."""

import torch

from medleak.inversion.audit.panels import keep_iterations
from medleak.inversion.reconstruction import Progress
from medleak.inversion.results.case import Case

CASE = Case(site="site-9", round=0, attack="a", knowledge="all", defence="none", seed=0)


def follow(out, n, total, images=True):
    told = []
    watch = keep_iterations(out, CASE, n, told.append)
    for iteration in range(1, total + 1):
        picture = torch.rand(1, 1, 8, 8) if images else None
        watch(Progress(iteration=iteration, total=total, loss=0.5, seconds=0.0, images=picture))
    assert len(told) == total
    return sorted(int(p.stem.rpartition("_it")[2]) for p in out.rglob("*_it*.png"))


def test_about_as_many_as_asked_are_kept_evenly_and_the_first_is_among_them(tmp_path):
    assert follow(tmp_path, 4, 20) == [1, 6, 11, 16]


def test_an_attack_that_shows_no_images_leaves_none(tmp_path):
    assert follow(tmp_path, 4, 8, images=False) == []

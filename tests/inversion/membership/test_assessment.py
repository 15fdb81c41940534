from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medleak.inversion.membership.assessment import Group, easy_auc, findings, halves, scored
from medleak.inversion.membership.scores import row_space


def group(images, prefix="p", labels=True):
    return Group(
        images=images,
        labels=torch.arange(len(images)) % 2 if labels else None,
        patients=tuple(f"{prefix}{k}" for k in range(len(images))),
    )


def test_certain_non_members_are_split_by_patient():
    images = torch.arange(80.0).view(80, 1, 1, 1)
    both = Group(images=images, labels=None, patients=tuple(f"p{k // 2}" for k in range(80)))
    first, second = halves(both)
    assert len(first) == len(second) == 40
    assert not set(first.patients) & set(second.patients)
    with pytest.raises(ValueError, match="20 patients"):
        halves(both.take(range(40)))


def test_members_have_small_p_values_and_others_have_not(observed, resnet_spec, smooth_images):
    images = smooth_images(90)
    update = observed(images[:6], torch.arange(6) % 2, resnet_spec)
    found = scored(
        [update], group(images[:30]), group(images[30:50]), group(images[50:]), row_space.score
    )
    assert (found.p[:6] < 0.05).all()
    assert found.p[6:].mean() > 0.3
    assert found.patients["p0"] == found.p[0]
    member = np.arange(30) < 6
    seen = findings(found, member, tuple(found.patients), [], easy=1.0, views_known=True)
    assert seen.separation is not None
    assert seen.separation.auc.value == 1
    assert seen.null_recognised is None


def test_a_mirrored_member_is_known_if_it_is_tried(observed, resnet_spec, smooth_images):
    images = smooth_images(90)
    update = observed(images[:6].flip(-1), torch.arange(6) % 2, resnet_spec)
    known = [
        scored(
            [update],
            group(images[:30]),
            group(images[30:50]),
            group(images[50:]),
            row_space.score,
            mirrored=mirrored,
        )
        for mirrored in (False, True)
    ]
    assert (known[1].p[:6] < 0.05).all()
    assert not (known[0].p[:6] < 0.05).all()


def test_another_clients_update_is_a_null_only_where_it_had_neither(
    observed, resnet_spec, smooth_images
):
    images = smooth_images(96)
    mine = observed(images[:6], torch.arange(6) % 2, resnet_spec)
    theirs = observed(images[6:12], torch.arange(6) % 2, resnet_spec)
    asked, behind, nulls = group(images[:36]), group(images[36:56]), group(images[56:])

    def of(update):
        return scored([update], asked, behind, nulls, row_space.score)

    member, free = np.arange(36) < 6, ~((np.arange(36) >= 6) & (np.arange(36) < 12))
    seen = findings(
        of(mine), member, asked.patients, [(of(theirs), free)], easy=None, views_known=True
    )
    assert [n.others for n in seen.nulls] == [24]
    assert seen.null_recognised == 0


def test_the_easy_case_is_known(observed, resnet_spec, smooth_images):
    images = smooth_images(70)

    def step(some, labels):
        return observed(some, labels, resnet_spec)

    assert easy_auc(step, group(images[:30]), group(images[30:]), row_space.score) > 0.95


def test_joined_rounds_tell_more_than_each():
    asked, behind, nulls = (group(torch.zeros(n, 1, 2, 2)) for n in (60, 20, 40))
    member = np.arange(60) < 30

    def score(observation, images, labels, background):
        noise = torch.randn(100, generator=torch.Generator().manual_seed(observation.round))
        return {"layer": noise + torch.tensor([*member, *[False] * 40], dtype=torch.float32)}

    def told(rounds):
        seen: list[Any] = [SimpleNamespace(device="cpu", round=r) for r in rounds]
        found = scored(seen, asked, behind, nulls, score)
        assert np.isclose(found.nulls.mean(), 0, atol=1e-6)
        judged = findings(found, member, asked.patients, [], easy=None, views_known=True)
        assert judged.separation is not None
        return judged.separation.auc.value

    alone = [told([r]) for r in range(8)]
    assert 0.65 < sum(alone) / 8 < 0.85
    assert told(range(8)) > max(alone)

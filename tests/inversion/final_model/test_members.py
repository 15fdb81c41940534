import numpy as np
import pytest
import torch
from tests.inversion.final_model.small import TASK, noise

from medleak.inversion.final_model.members import SCORES, Groups, assess
from medleak.inversion.final_model.references import Training, train_references, trained
from medleak.inversion.membership.assessment import Group

TRAINING = Training(models=3, epochs=6)


def group(n, seed):
    images, labels = noise(n, seed)
    patients = tuple((seed, k) for k in range(n))
    return Group(images=images, labels=labels, patients=patients)


def asked(epochs, score):
    inside, outside = group(24, 1), group(40, 2)
    candidates = Group(
        images=torch.cat([inside.images, outside.images]),
        labels=torch.cat([t for g in (inside, outside) if (t := g.labels) is not None]),
        patients=inside.patients + outside.patients,
    )
    member = np.arange(64) < 24
    groups = Groups(
        candidates=candidates, member=member, background=group(30, 3), nulls=group(30, 4)
    )
    generator = torch.Generator().manual_seed(0)
    assert inside.labels is not None
    model = trained(TASK, inside.images, inside.labels, TRAINING, generator, epochs=epochs)
    references = train_references(TASK, *noise(48, 5), TRAINING, generator)
    return assess(TASK, model, references, groups, score, TRAINING, generator)


@pytest.mark.parametrize("score", sorted(SCORES))
def test_members_of_a_model_that_learnt_them_by_heart_are_told(score):
    scored, found = asked(40, score)
    assert found.separation is not None
    assert found.separation.auc.value > 0.95
    assert found.easy is not None
    assert found.easy > 0.9
    assert (scored.p[:24] < 0.2).mean() > 0.8


@pytest.mark.parametrize("score", sorted(SCORES))
def test_a_model_that_had_none_is_at_chance_and_so_is_a_model_that_learnt_nothing(score):
    _, found = asked(1, score)
    assert found.separation is not None
    assert found.separation.auc.lower95 < 0.65
    (null,) = found.nulls
    assert null.auc.lower95 <= 0.5 <= null.auc.upper95


def test_p_values_of_others_are_not_too_small():
    scored, _ = asked(40, "lira")
    assert (scored.p[24:] <= 0.1).mean() <= 0.25


def test_an_unknown_score_and_missing_classes_are_refused():
    groups = Groups(
        candidates=Group(images=noise(2, 0)[0], labels=None, patients=(1, 2)),
        member=None,
        background=group(4, 3),
        nulls=group(4, 4),
    )
    networks = [TASK.build().eval() for _ in range(3)]
    for score, why in (("loss", "Unknown score"), ("lira", "some images have none")):
        with pytest.raises(ValueError, match=why):
            assess(TASK, networks[0], networks[1:], groups, score, TRAINING, torch.Generator())

import pytest
import torch
from tests.inversion.final_model.small import TASK, noise

from medleak.inversion.final_model.inversion import Found, Inversion, examine, invert
from medleak.inversion.final_model.references import Training
from medleak.inversion.losses import task_loss

FOUND = {"best": 0.5, "nobody": 0.45, "lead": 0.03, "ahead": 0.05}
FOUND |= {"closer": 0.5, "lower95": 0.3, "upper95": 0.7, "easy": 0.3, "statistics": True}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "no leak found"),
        ({"best": 0.92}, "leaks"),
        ({"best": 0.92, "nobody": 0.93}, "no leak found"),
        ({"lead": 0.16}, "leaks"),
        ({"easy": 0.1}, "not known"),
        ({"easy": 0.1, "lead": 0.2}, "leaks"),
        ({"easy": float("nan")}, "not known"),
        ({"ahead": 0.2}, "not known"),
        ({"ahead": 0.2, "lead": 0.2}, "leaks"),
        ({"doubt": "its list has 12"}, "not known"),
        ({"doubt": "its list has 12", "best": 0.92}, "leaks"),
    ],
)
def test_the_verdict_follows_its_rule(change, kind):
    found = Found(**FOUND | change)  # pyright: ignore[reportArgumentType]  of floats and one bool
    assert found.kind == kind
    assert str(found).startswith(kind)
    assert found.as_json()["kind"] == kind


def test_a_descent_changes_nothing_in_the_model_and_comes_nearer():
    network = TASK.build().eval().requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    labels, prior = torch.tensor([0, 1, 0, 1]), torch.full((1, 1, 16, 16), 0.5)
    losses = []
    for iterations in (1, 60):
        settings = Inversion(iterations=iterations, statistics=0.0, variation=0.0)
        generator = torch.Generator().manual_seed(0)
        images = invert(network, TASK, labels, prior, settings, generator)
        assert images.shape == (4, 1, 16, 16)
        assert 0 <= images.min() <= images.max() <= 1
        losses.append(float(task_loss("cross_entropy", network(images), labels)))
    assert losses[1] < losses[0]
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_a_model_is_compared_with_as_many_images_of_nobodys():
    members, _ = noise(12, 1)
    found = examine(
        TASK.build().eval().requires_grad_(False),
        TASK,
        members,
        noise(30, 2),
        2,
        torch.full((1, 1, 16, 16), 0.5),
        Inversion(images=6, iterations=5),
        Training(models=3, epochs=1),
        torch.Generator().manual_seed(0),
    )
    assert found.kind != "leaks"
    assert 0 <= found.lower95 <= found.closer <= found.upper95 <= 1
    assert found.statistics
    assert found.ahead >= found.lead - 1e-6

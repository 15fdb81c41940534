import pytest
import torch
from tests.inversion.final_model.small import TASK, noise

from medleak.inversion.final_model.references import (
    Training,
    confidences,
    train_references,
    trained,
)
from medleak.inversion.losses import task_loss


def test_references_differ_and_are_repeatable():
    images, labels = noise(24, 0)
    made = [
        train_references(
            TASK, images, labels, Training(models=3, epochs=1), torch.Generator().manual_seed(1)
        )
        for _ in range(2)
    ]
    rows = [confidences(TASK, networks, images, labels) for networks in made]
    torch.testing.assert_close(rows[0], rows[1])
    assert (rows[0][0] - rows[0][1]).abs().max() > 1e-3


def test_a_confidence_is_the_log_of_the_odds_of_the_true_class():
    images, labels = noise(20, 0)
    network = TASK.build().eval()
    (row,) = confidences(TASK, [network], images, labels)
    with torch.no_grad():
        p = network(images).double().softmax(1)[range(20), labels]
    torch.testing.assert_close(row, (p / (1 - p)).log())


@pytest.mark.parametrize("outputs", [1, 3])
def test_of_several_labels_the_confidence_is_the_own_ones(outputs):
    class Fixed(torch.nn.Module):
        def forward(self, x):
            return torch.arange(1.0, 1 + outputs).expand(len(x), outputs)

    labels = torch.tensor([0, 1]) if outputs == 1 else torch.tensor([0, 2])
    (row,) = confidences(
        type(TASK)(build=TASK.build, normalise=TASK.normalise, criterion="bce"),
        [Fixed()],
        torch.zeros(2, 1, 16, 16),
        labels,
    )
    assert row.tolist() == ([-1.0, 1.0] if outputs == 1 else [1.0, 3.0])


def test_images_are_learnt_by_heart():
    images, labels = noise(8, 0)
    generator = torch.Generator().manual_seed(0)
    network = trained(TASK, images, labels, Training(), generator, epochs=40)
    assert task_loss("cross_entropy", network(images), labels) < 0.1


def test_too_few_images_and_settings_without_a_null_are_refused():
    images, labels = noise(10, 0)
    with pytest.raises(ValueError, match="reference models"):
        train_references(TASK, images, labels, Training(), torch.Generator())
    for models, epochs, batch, lr in ((2, 1, 8, 0.1), (3, 0, 8, 0.1), (3, 1, 1, 0.1), (3, 1, 8, 0)):
        with pytest.raises(ValueError, match="at least three reference models"):
            Training(models=models, epochs=epochs, batch_size=batch, lr=lr)

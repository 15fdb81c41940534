"""Tests of medleak.custom.training.sgd."""

import pytest
import torch
from torch import nn

from medleak.custom.data.transforms import network_input
from medleak.custom.training.sgd import LocalSGD, Normalisation, decayed, evaluate, train

PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


def batch(n=6):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % 2


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("n", "batch_size", "epochs", "steps"), [(8, 4, 1, 2), (9, 4, 1, 3), (1, 8, 2, 2), (4, 4, 3, 3)]
)
def test_a_schedule_makes_the_steps_it_says(n, batch_size, epochs, steps):
    schedule = LocalSGD(batch_size=batch_size, local_epochs=epochs)
    assert schedule.steps(n) == steps
    images, labels = batch(n)
    assert len(train(network(), images, labels, schedule, PLAIN, generator())) == steps


def test_training_is_plain_sgd_in_training_mode_with_batch_statistics():
    images, labels = batch(4)
    schedule = LocalSGD(batch_size=4, lr=0.1, momentum=0.9, weight_decay=1e-3)
    mine, theirs = network(), network()
    norm = Normalisation((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    train(mine, images, labels, schedule, norm, generator())
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    order = torch.randperm(4, generator=generator())
    theirs.train()
    x = network_input(images[order], norm.mean, norm.std)
    nn.functional.cross_entropy(theirs(x), labels[order]).backward()
    optimizer.step()
    for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_one_seed_trains_to_the_same_weights_another_shuffles_otherwise():
    images, labels = batch()
    results = []
    for seed in (1, 1, 2):
        net = network()
        train(net, images, labels, LocalSGD(batch_size=2, lr=0.1), PLAIN, generator(seed))
        results.append(net.get_parameter("0.weight").detach().clone())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_loss_that_is_not_finite_stops_before_the_update_is_sent():
    images, labels = batch()
    net = network()
    nn.init.constant_(net.get_parameter("5.weight"), float("inf"))
    with pytest.raises(ValueError, match="training loss is"):
        train(net, images, labels, LocalSGD(batch_size=2), PLAIN, generator())


def test_evaluation_leaves_the_running_statistics_alone_and_counts_right():
    images, labels = batch(10)
    net = network()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    metrics = evaluate(net, images, labels, PLAIN, batch_size=3)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    with torch.inference_mode():
        logits = net.eval()(network_input(images, PLAIN.mean, PLAIN.std))
    assert metrics["accuracy"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert metrics["loss"] == pytest.approx(
        nn.functional.cross_entropy(logits, labels).item(), abs=1e-5
    )


def test_the_learning_rate_falls_by_gamma_every_step_rounds():
    rates = [decayed(0.01, r, step=40, gamma=0.1) for r in (0, 39, 40, 79, 80)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])

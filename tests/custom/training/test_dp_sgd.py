"""Tests of dp_sgd: clipping, noise, sampling and normaliser, and what they cost."""

import math

import numpy as np
import pytest
import torch
import torchvision
from opacus.accountants.utils import get_noise_multiplier
from scipy import stats
from torch import nn

from medleak.custom import networks
from medleak.custom.networks import resnet18, resnet18_groupnorm
from medleak.custom.training import dp_sgd
from medleak.custom.training.dp_sgd import (
    DPSGD,
    sample_rate_for,
    train_dp_sgd,
)
from medleak.custom.training.sgd import LocalSGD, Normalisation, train
from medleak.filters.noise import NoiseSource
from medleak.filters.privacy import accounting
from medleak.filters.privacy.accounting import dp_sgd_noise_for

pytestmark = pytest.mark.slow

PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def noiseless(monkeypatch):
    """The mechanism without its last part, so that the rest can be compared exactly."""
    monkeypatch.setattr(dp_sgd, "add_gaussian", lambda value, *_, **__: value)


def network(width=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3),
        nn.GroupNorm(2, width),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 2),
    )


def batch(n):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % 2


def updated(net, n, mechanism, *, seed=0, **schedule):
    """Trained minus initial weights, flat, in float64; and the losses."""
    before = nn.utils.parameters_to_vector(net.parameters()).detach().double()
    settings = LocalSGD(batch_size=1, **{"lr": 1.0, **schedule})
    source = NoiseSource.seeded(seed)
    losses = train_dp_sgd(net, *batch(n), settings, mechanism, PLAIN, source)
    after = nn.utils.parameters_to_vector(net.parameters()).detach().double()
    return (after - before).numpy(), losses


def clipped_gradients(n, max_grad_norm):
    """The clipped gradient of every image by itself, [n, parameters]: plain autograd, no Opacus."""
    images, labels = batch(n)
    rows = []
    for x, y in zip(images, labels, strict=True):
        net = network()
        nn.functional.cross_entropy(net(x.repeat(3, 1, 1)[None]), y[None]).backward()
        flat = torch.cat(
            [p.grad.flatten().double() for p in net.parameters() if p.grad is not None]
        )
        rows.append(flat * min(1.0, max_grad_norm / flat.norm().item()))
    return torch.stack(rows).numpy()


@pytest.mark.usefixtures("noiseless")
@pytest.mark.parametrize("n", [1, 5, 19])
@pytest.mark.parametrize("max_grad_norm", [0.05, 1e3])
def test_without_noise_a_step_is_the_mean_of_the_clipped_gradients_of_the_images(n, max_grad_norm):
    mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=max_grad_norm, sample_rate=1)
    update, losses = updated(network(), n, mechanism)
    expected = -clipped_gradients(n, max_grad_norm).mean(0)
    np.testing.assert_allclose(update, expected, atol=1e-5 * max(1, abs(expected).max()))
    assert len(losses) == 1


@pytest.mark.usefixtures("noiseless")
def test_without_clipping_noise_or_sampling_it_is_sgd():
    mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=1e3, sample_rate=1)
    schedule = LocalSGD(batch_size=6, local_epochs=3, lr=0.1, momentum=0.9, weight_decay=1e-3)
    private, plain = network(), network()
    images, labels = batch(6)
    one = train_dp_sgd(private, images, labels, schedule, mechanism, PLAIN, NoiseSource.seeded(0))
    two = train(plain, images, labels, schedule, PLAIN, torch.Generator().manual_seed(0))
    assert one == pytest.approx(two, rel=1e-4)
    for a, b in zip(private.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 4])
def test_the_noise_is_gaussian_with_its_scale_over_the_expected_batch_size(n):
    mechanism = DPSGD(noise_multiplier=2.0, max_grad_norm=0.5, sample_rate=1)
    update, _ = updated(network(width=2000), n, mechanism)
    noise = update * n / (2.0 * 0.5)  # the clipped sum is at most n * 0.5 over 60,000 entries
    assert noise.std() == pytest.approx(1, rel=0.02)
    assert stats.kstest(noise, "norm").pvalue > 1e-3


def test_an_empty_batch_is_a_step_of_noise_alone(monkeypatch):
    monkeypatch.setattr(dp_sgd, "_poisson", lambda *_: torch.empty(0, dtype=torch.long))
    mechanism = DPSGD(noise_multiplier=3.0, max_grad_norm=1.0, sample_rate=0.5)
    update, losses = updated(network(width=2000), 1, mechanism)
    assert len(losses) == 2
    assert all(math.isnan(x) for x in losses)
    # Two steps; one image at rate 1/2 is half an image expected, which no integer is.
    assert update.std() == pytest.approx(math.sqrt(2) * 3.0 / 0.5, rel=0.02)


@pytest.mark.usefixtures("noiseless")
def test_the_normaliser_is_the_expected_batch_size_and_not_the_drawn_one(monkeypatch):
    monkeypatch.setattr(dp_sgd, "_poisson", lambda *_: torch.tensor([0]))
    mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=1e-3, sample_rate=1 / 2)
    update, _ = updated(network(), 5, mechanism)
    # Two steps with gradients of norm 1e-3, nearly in one direction, over 2.5 images.
    assert np.linalg.norm(update) == pytest.approx(2 * 1e-3 / 2.5, rel=1e-2)


def test_every_image_is_drawn_by_itself_with_the_sampling_rate():
    source = NoiseSource.seeded(5)
    drawn = [set(dp_sgd._poisson(10, 0.3, source).tolist()) for _ in range(4000)]
    counts = np.array([[i in d for i in range(10)] for d in drawn])
    assert counts.mean(0) == pytest.approx(np.full(10, 0.3), abs=0.04)
    expected = [4000 * stats.binom.pmf(k, 10, 0.3) for k in range(7)]
    sizes = np.bincount(counts.sum(1), minlength=11)
    observed = [*sizes[:7], sizes[7:].sum()]
    assert stats.chisquare(observed, [*expected, 4000 - sum(expected)]).pvalue > 1e-3


def test_at_rate_one_every_step_takes_every_image():
    source = NoiseSource.secure()
    assert all(dp_sgd._poisson(3, 1.0, source).tolist() == [0, 1, 2] for _ in range(100))


def test_two_secure_trainings_never_agree_even_under_one_torch_seed():
    results = []
    for _ in range(2):
        net = network()
        torch.manual_seed(7)
        mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1)
        schedule = LocalSGD(batch_size=2, lr=1.0)
        train_dp_sgd(net, *batch(2), schedule, mechanism, PLAIN, NoiseSource.secure())
        results.append(nn.utils.parameters_to_vector(net.parameters()))
    assert not (results[0] == results[1]).any()


def test_a_resnet_with_group_norm_trains_and_one_with_batch_norm_is_refused_in_one_line():
    mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1)
    images, labels = torch.rand(2, 1, 33, 33), torch.tensor([0, 1])
    net, source = resnet18_groupnorm(), NoiseSource.secure()
    before = net.get_parameter("features.conv1.weight").detach().clone()
    schedule = LocalSGD(batch_size=2)
    assert len(train_dp_sgd(net, images, labels, schedule, mechanism, PLAIN, source)) == 1
    assert not torch.equal(net.get_parameter("features.conv1.weight"), before)
    with pytest.raises(ValueError, match=r"BatchNorm.*Use resnet18_groupnorm") as caught:
        train_dp_sgd(resnet18(), images, labels, schedule, mechanism, PLAIN, source)
    assert "\n" not in str(caught.value)


class Buffered(nn.Module):
    """Keeps the mean of what went through it: in a buffer that is sent, or in one that is not."""

    def __init__(self, persistent=True):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1), persistent=persistent)

    def forward(self, x):
        self.seen += x.detach().mean()
        return x


class Nudged(nn.Module):
    """A frozen weight that follows its input."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x):
        self.weight += x.detach().mean()
        return x


def frozen(layer):
    return layer.requires_grad_(False)


KEEPING_STATISTICS = {
    "batch norm": lambda: nn.BatchNorm2d(4),
    "batch norm without weights": lambda: nn.BatchNorm2d(4, affine=False),
    "batch norm with frozen weights": lambda: frozen(nn.BatchNorm2d(4)),
    "batch norm without statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "batch norm over sites": lambda: nn.SyncBatchNorm(4),
    "instance norm that tracks": lambda: nn.InstanceNorm2d(4, track_running_stats=True),
    "the same, frozen": lambda: frozen(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
}
KEEPING_OTHERWISE = {
    "a buffer": Buffered,
    "a buffer that is not sent": lambda: Buffered(persistent=False),
    "a frozen weight": Nudged,
}
SOUND = {
    "instance norm": lambda: nn.InstanceNorm2d(4, affine=True),
    "frozen group norm": lambda: frozen(nn.GroupNorm(2, 4)),
    "frozen convolution": lambda: frozen(nn.Conv2d(4, 4, 1)),
}


def with_layer(layer):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


@pytest.mark.parametrize("case", [*KEEPING_STATISTICS, *KEEPING_OTHERWISE])
def test_what_would_leave_without_noise_is_refused_whatever_layer_keeps_it(case):
    make = {**KEEPING_STATISTICS, **KEEPING_OTHERWISE}[case]
    mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1)
    message = "cannot train this network: 1 is a" if case in KEEPING_STATISTICS else "Training chan"
    with pytest.raises(ValueError, match=message):
        updated(with_layer(make()), 2, mechanism)


@pytest.mark.parametrize("case", SOUND)
def test_layers_that_keep_nothing_train(case):
    mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1)
    assert len(updated(with_layer(SOUND[case]()), 2, mechanism)[1]) == 1


def test_noise_that_is_rounded_away_in_the_weights_is_refused():
    mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1)
    with pytest.raises(ValueError, match="noise was rounded away"):
        updated(network(), 2, mechanism, lr=1e-8)


def test_a_head_that_no_image_reaches_gets_noise_alone():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.unused = network(), nn.Linear(50, 20)

        def forward(self, x):
            return self.body(x)

    net = TwoHeads()
    before = net.unused.weight.detach().clone()
    updated(net, 2, DPSGD(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=1))
    noise = (net.unused.weight.detach() - before).numpy().ravel()  # of 2 · 1 over 2 images: 1
    assert stats.kstest(noise, "norm").pvalue > 1e-4


@pytest.mark.parametrize("name", ["densenet121_groupnorm", "swin_t"])
def test_networks_with_views_and_attention_train(name):
    if name == "swin_t":
        torch.manual_seed(0)
        net = torchvision.models.swin_t(num_classes=2)
    else:
        net = networks.densenet121_groupnorm()
    mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1)
    images, labels = torch.rand(2, 1, 64, 64), torch.tensor([0, 1])
    schedule = LocalSGD(batch_size=2)
    losses = train_dp_sgd(net, images, labels, schedule, mechanism, PLAIN, NoiseSource.secure())
    assert math.isfinite(losses[0])


def test_a_loss_that_is_not_finite_stops_before_the_update_is_sent():
    net = network()
    nn.init.constant_(net.get_parameter("5.weight"), float("inf"))
    mechanism = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1)
    with pytest.raises(ValueError, match=r"training loss is|overflows"):
        updated(net, 2, mechanism)


@pytest.mark.parametrize(
    ("n", "batch_size", "rate", "steps"),
    [(1, 1, 1, 1), (1, 8, 1, 1), (8, 4, 1 / 2, 2), (9, 4, 1 / 3, 3), (49, 1, 1 / 49, 49)],
)
def test_an_epoch_has_the_steps_of_plain_sgd_and_draws_every_image_once_on_average(
    n, batch_size, rate, steps
):
    assert sample_rate_for(n, batch_size) == rate
    mechanism = DPSGD(noise_multiplier=1, max_grad_norm=1, sample_rate=rate)
    assert mechanism.steps(1) == steps == LocalSGD(batch_size=batch_size).steps(n)
    assert mechanism.steps(3) == 3 * steps
    assert mechanism.declaration(2) == {
        "noise_multiplier": 1,
        "sample_rate": rate,
        "steps": 2 * steps,
    }


@pytest.mark.filterwarnings("ignore:Optimal order is the largest:UserWarning")  # its first tries
@pytest.mark.parametrize(("rate", "steps"), [(1 / 16, 48), (1 / 2, 6)])
def test_the_noise_for_a_target_agrees_with_opacus_and_meets_the_ledgers_epsilon(rate, steps):
    found = dp_sgd_noise_for(target_epsilon=8, target_delta=1e-5, sample_rate=rate, steps=steps)
    theirs = get_noise_multiplier(
        target_epsilon=8, target_delta=1e-5, sample_rate=rate, steps=steps, accountant="rdp"
    )
    assert found == pytest.approx(theirs, rel=0.01)
    spent = accounting.dp_sgd(noise_multiplier=found, sample_rate=rate, steps=steps)
    assert 7.9 < accounting.epsilon([spent.event], 1e-5) <= 8


def test_one_image_without_sampling_costs_what_the_gaussian_mechanism_costs():
    found = dp_sgd_noise_for(target_epsilon=8, target_delta=1e-5, sample_rate=1, steps=3)
    exact = accounting.epsilon([accounting.gaussian(found / math.sqrt(3))], 1e-5)
    assert 7.97 < exact <= 8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"noise_multiplier": 0}, "noise_multiplier"),
        ({"noise_multiplier": math.nan}, "noise_multiplier"),
        ({"max_grad_norm": 0}, "max_grad_norm"),
        ({"max_grad_norm": math.inf}, "max_grad_norm"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"sample_rate": 1.01}, "sample_rate"),
    ],
)
def test_a_mechanism_without_a_guarantee_is_refused(wrong, message):
    good = {"noise_multiplier": 1.0, "max_grad_norm": 1.0, "sample_rate": 0.5}
    with pytest.raises(ValueError, match=message):
        DPSGD(**{**good, **wrong})


def test_no_images_and_no_target_are_refused():
    with pytest.raises(ValueError, match="0 images"):
        sample_rate_for(0, 4)
    for epsilon, delta in ((0, 1e-5), (math.inf, 1e-5), (1, 0)):
        with pytest.raises(ValueError, match=r"target_epsilon|delta"):
            dp_sgd_noise_for(target_epsilon=epsilon, target_delta=delta, sample_rate=1, steps=1)

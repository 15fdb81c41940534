import math

import pytest
import torch
from torch import nn

from medleak.custom.data.datalist import DataError
from medleak.custom.sites import canaries
from medleak.custom.sites.canaries import Plan
from medleak.custom.training.dp_sgd import DPSGD, train_dp_sgd
from medleak.custom.training.planting import Planted, planted, site_canaries, with_canaries
from medleak.custom.training.sgd import LocalSGD, Normalisation, train
from medleak.filters.noise import NoiseSource

NORM = Normalisation((0.0,) * 3, (1.0,) * 3)
PLAN = Plan(kind="gradients", count=10)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


@pytest.fixture
def allowed(monkeypatch):
    monkeypatch.setenv(canaries.VARIABLE, "allow")


def site(folder, plan=PLAN, name="site-1"):
    return site_canaries(plan, name, folder, network(), 2)


def test_a_run_keeps_its_list_over_rounds(tmp_path, allowed):
    assert site(tmp_path) == site(tmp_path)
    assert site(tmp_path / "other") != site(tmp_path)


@pytest.mark.parametrize("value", [None, "", "1", "yes"])
def test_without_the_operators_word_nothing_is_drawn(tmp_path, monkeypatch, value):
    monkeypatch.delenv(canaries.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(canaries.VARIABLE, value)
    with pytest.raises(DataError, match="operator has not allowed"):
        site(tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_plan_or_site_in_one_run_is_refused(tmp_path, allowed):
    site(tmp_path)
    for plan, name in ((Plan(kind="gradients", count=11), "site-1"), (PLAN, "site-2")):
        with pytest.raises(DataError, match="another plan or site"):
            site(tmp_path, plan, name)


def test_every_canary_joins_one_batch_of_an_epoch():
    extra = Planted(coordinates=tuple(("w", k) for k in range(50)))
    batches = [torch.arange(4), torch.arange(4, 8), torch.arange(8, 9)]
    joined = list(with_canaries(batches, extra))
    assert [b.tolist() for b, _ in joined] == [b.tolist() for b in batches]
    assert sorted(k for _, ks in joined for k in ks) == list(range(50))
    assert all(ks == [] for _, ks in with_canaries(batches, None))


def moved(extra, steps):
    model = network()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    losses = steps(model, torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 0, 1]), extra)
    return {n: p.detach() - before[n] for n, p in model.named_parameters()}, losses


def plain(model, images, labels, extra):
    generator = torch.Generator().manual_seed(0)
    schedule = LocalSGD(batch_size=4, lr=0.1)
    return train(model, images, labels, schedule, NORM, generator, planted=extra)


def private(model, images, labels, extra):
    mechanism = DPSGD(noise_multiplier=1e-3, max_grad_norm=2.0, sample_rate=1.0)
    source = NoiseSource.seeded(0, "test")
    schedule = LocalSGD(batch_size=4, lr=0.1)
    return train_dp_sgd(model, images, labels, schedule, mechanism, NORM, source, extra)


def test_a_gradient_is_one_record_of_its_batch():
    torch.manual_seed(1)
    bare, losses = moved(None, plain)
    torch.manual_seed(1)
    extra = Planted(coordinates=(("0.weight", 5), ("3.weight", 7)), norm=10.0)
    with_them, same = moved(extra, plain)
    assert same == pytest.approx(losses)
    for name, value in bare.items():
        expected = value * 4 / 6
        for tensor, index in extra.coordinates:
            if tensor == name:
                expected.view(-1)[index] -= 0.1 * 10 / 6
        torch.testing.assert_close(with_them[name], expected)


def test_under_dp_sgd_a_gradient_is_clipped_like_an_image():
    extra = Planted(coordinates=(("0.weight", 5),), norm=10.0)
    torch.manual_seed(1)
    bare, losses = moved(None, private)
    torch.manual_seed(1)
    with_it, same = moved(extra, private)
    assert same == pytest.approx(losses)
    # Length 2 after the clip, over an expected batch of the four images alone.
    change = float((with_it["0.weight"] - bare["0.weight"]).view(-1)[5])
    assert change == pytest.approx(-0.1 * 2 / 4, abs=0.01)


def test_images_join_the_batch_and_stay_out_of_the_reported_loss(tmp_path, allowed):
    listed = site(tmp_path, Plan(kind="images", count=20))
    extra = planted(listed, torch.zeros(1, 3, 8, 8))
    assert len(extra) == int(listed.planted.sum())
    assert extra.images is not None
    assert extra.images.shape[1:] == (3, 8, 8)
    torch.manual_seed(1)
    bare, losses = moved(None, plain)
    torch.manual_seed(1)
    with_them, same = moved(extra, plain)
    assert same == pytest.approx(losses)
    assert not torch.equal(bare["3.weight"], with_them["3.weight"])


def test_coins_that_all_fell_out_leave_training_as_it_was():
    for steps in (plain, private):
        torch.manual_seed(1)
        bare, losses = moved(None, steps)
        torch.manual_seed(1)
        nobody = torch.zeros(0, dtype=torch.int64)
        none, same = moved(Planted(images=torch.zeros(0, 3, 8, 8), labels=nobody), steps)
        assert same == losses
        assert not any(math.isnan(loss) for loss in losses)
        assert all(torch.equal(bare[n], none[n]) for n in bare)

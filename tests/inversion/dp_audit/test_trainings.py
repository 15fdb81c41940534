import pytest
import torch

from medleak.custom.training import dp_sgd
from medleak.filters.noise import NoiseSource, add_gaussian
from medleak.filters.privacy import accounting
from medleak.inversion.dp_audit.trainings import Trial, trained
from medleak.inversion.dp_audit.verdict import judge

pytestmark = pytest.mark.usefixtures("repeatable_noise")

DELTA = 1e-5
SAMPLED = "dp_sgd:noise_multiplier=1,sample_rate=0.5,steps=4"
# The plain Gaussian mechanism of one step, whose exact μ is 1.
WHOLE = "dp_sgd:noise_multiplier=1,sample_rate=1,steps=1"


def tried(text, count):
    seen = trained(Trial.parse(text), count)
    return judge(seen.scores, seen.guarantee, relation=seen.relation, delta=DELTA)


def refuted(found):
    return [b.what for b in found.bounds if b.refuted]


@pytest.mark.parametrize(("text", "epsilon", "least"), [(WHOLE, 4.377, 1.0), (SAMPLED, 7.41, 0.1)])
def test_the_mechanism_as_it_is_is_not_refuted(text, epsilon, least):
    found = tried(text, 240)
    assert found.kind == "not refuted", str(found)
    assert found.bounds[0].claimed == pytest.approx(epsilon, abs=5e-3)
    assert found.bounds[0].epsilon > least


@pytest.mark.parametrize("text", [WHOLE, SAMPLED])
def test_noise_halved_is_found(text, monkeypatch):
    def half(value, scale, source):
        return add_gaussian(value, scale / 2, source)

    monkeypatch.setattr(dp_sgd, "add_gaussian", half)
    assert "release" in refuted(tried(text, 240))


def test_a_clip_that_is_skipped_is_found(monkeypatch):
    clip = dp_sgd._Optimizer.clip_and_accumulate

    def skipped(self):
        kept, self.max_grad_norm = self.max_grad_norm, 1e6
        clip(self)
        self.max_grad_norm = kept

    monkeypatch.setattr(dp_sgd._Optimizer, "clip_and_accumulate", skipped)
    assert "release" in refuted(tried(SAMPLED, 100))


def test_noise_used_twice_is_found(monkeypatch):
    monkeypatch.setattr(NoiseSource, "secure", staticmethod(lambda: NoiseSource(bytes(32))))
    assert "repetition" in refuted(tried(SAMPLED, 100))


def test_sampling_that_is_not_poisson_is_found(monkeypatch):
    monkeypatch.setattr(dp_sgd, "_poisson", lambda n, rate, source: torch.arange(n))
    text = "dp_sgd:noise_multiplier=1,sample_rate=0.1,steps=10"
    assert "release" in refuted(tried(text, 100))


def test_the_length_of_the_clip_changes_nothing():
    found = tried(f"{WHOLE},max_grad_norm=0.01", 200)
    assert found.kind == "not refuted"
    assert found.bounds[0].epsilon > 0.8
    assert found.bounds[0].claimed == pytest.approx(
        accounting.epsilon([accounting.gaussian(1.0)], DELTA)
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dp_sgd:noise_multiplier=1", "give noise_multiplier, sample_rate, steps"),
        (f"{WHOLE},lr=1", "give noise_multiplier"),
        ("dp_sgd:noise_multiplier=0,sample_rate=0.5,steps=4", "noise_multiplier"),
        ("dp_sgd:noise_multiplier=1,sample_rate=2,steps=4", "sample_rate must be in"),
        ("dp_sgd:noise_multiplier=1,sample_rate=0.5,steps=3", "an epoch has 2 steps"),
        ("dp_sgd:noise_multiplier=1,sample_rate=0.5,steps=2.5", "steps"),
        (f"{WHOLE},max_grad_norm=0", "max_grad_norm"),
        (f"{WHOLE},max_grad_norm=much", "no number"),
    ],
)
def test_bad_input_says_what_to_give(text, why):
    with pytest.raises(ValueError, match=why):
        Trial.parse(text)

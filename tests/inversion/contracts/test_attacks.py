"""The contract that every attack keeps: one test per rule, driven by the table of attacks."""

import dataclasses
import pickle
from collections.abc import Iterator

import pytest
import torch

from medleak.inversion.attacks.registry import ATTACKS, ROWS, attack_of
from medleak.inversion.knowledge import Knowledge, KnowledgeError
from medleak.inversion.reconstruction import Progress
from medleak.inversion.results.found import at_the_level_of_found

pytestmark = pytest.mark.slow

NAMES = [row.name for row in ROWS]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """MONAI's networks draw their weights from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def observation(observed, smooth_images, resnet_spec):
    """One image, one step, a network with batch norm and convolutions: all attacks apply."""
    narrow = {"block_inplanes": [8, 8, 8, 8], "conv1_t_size": 3}
    return observed(smooth_images(), torch.tensor([1]), resnet_spec, **narrow)


def brief(name):
    """The attack with as little to do as its settings allow, and no clock that could end it."""
    kind, settings = attack_of(name)
    fields = {f.name for f in dataclasses.fields(settings)}
    few = {"iterations": 3, "attempts": 1, "seconds": None}
    changed = {key: value for key, value in few.items() if key in fields}
    return kind, dataclasses.replace(settings, **changed)


def reconstruct(name, observation, prior=None, *, seed=0, on_progress=None):
    """What ``name`` finds in its brief form."""
    kind, settings = brief(name)
    generator = torch.Generator().manual_seed(seed)
    return kind.run(settings, observation, prior, generator=generator, on_progress=on_progress)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_about_its_module(row):
    kind = row.load()
    assert kind.settings.__name__ == row.settings
    assert (kind.run_average is not None) == row.averages
    assert row.words
    assert row.source
    assert row.rate > 0
    again = pickle.loads(pickle.dumps(ATTACKS[row.name]))  # noqa: S301 -- our own, as a pool does
    assert again() == kind


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_a_frozen_record_of_keywords(name):
    settings = attack_of(name)[1]
    assert dataclasses.is_dataclass(settings)
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        setattr(settings, dataclasses.fields(settings)[0].name, None)
    assert all(f.kw_only for f in dataclasses.fields(settings))


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_as_its_record_says_and_progress_is_told(name, observation):
    told: list[Progress] = []
    found = reconstruct(name, observation, on_progress=told.append)
    assert found.images.shape == (1, 1, 16, 16)
    assert found.labels is None or found.labels.tolist() in ([0], [1])
    assert found.losses
    assert found.attempts >= 1
    assert len(found.history) == found.iterations >= len(told) >= 1
    assert all(1 <= state.iteration <= state.total for state in told)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_finds_the_same_and_nothing_that_is_passed_in_changes(name, observation):
    prior = torch.full((1, 1, 16, 16), 0.5)
    update = {n: v.clone() for n, v in observation.parameter_update.items()}
    state = {n: v.clone() for n, v in observation.network().state_dict().items()}
    random = torch.random.get_rng_state()
    first, second = (reconstruct(name, observation, prior, seed=7) for _ in range(2))
    torch.testing.assert_close(first.images, second.images, rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert (prior == 0.5).all()
    for values, before in (
        (observation.parameter_update, update),
        (observation.network().state_dict(), state),
    ):
        for key, value in values.items():
            torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_is_withheld_is_not_used(name, observed, smooth_images, lenet_spec):
    blind = observed(
        smooth_images(), torch.tensor([1]), lenet_spec, knowledge=Knowledge(global_model=False)
    )
    with pytest.raises(KnowledgeError):
        reconstruct(name, blind)


@pytest.mark.parametrize("name", NAMES)
def test_a_callback_can_stop_it(name, observation):
    class StopError(Exception):
        pass

    def stop(_: Progress) -> None:
        raise StopError

    with pytest.raises(StopError):
        reconstruct(name, observation, on_progress=stop)


@pytest.mark.parametrize("name", NAMES)
def test_a_result_tells_whether_it_is_at_the_level_of_something_found(name, observation):
    found = reconstruct(name, observation)
    as_found = dict.fromkeys(found.losses, 1e-6)
    start = at_the_level_of_found(found.start_losses, found.start_losses, as_found)
    assert start is False, "what it started from is nothing found"
    assert at_the_level_of_found(as_found, found.start_losses, as_found) is True

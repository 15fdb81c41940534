"""Tests of medleak.filters.adapters.generated: a filter from a defence's row alone."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from nvflare.apis.filter import ContentBlockedException
from nvflare.job_config.fed_job_config import FedJobConfig

from medleak.filters import adapters
from medleak.filters.adapters.generated import filter_of
from medleak.filters.buffers import protect_entries
from medleak.filters.noise import NoiseSource, add_gaussian
from medleak.filters.registry import ROWS, DefenceRow
from medleak.filters.update import Kind, Update, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Halve:
    """A toy: every entry halved, and noised."""

    name: ClassVar[str] = "halve"

    scale: float
    layers: Sequence[str] = ("*",)

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError("scale must be above 0.")

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        def step(chosen: dict[str, Value], _: Mapping[str, Kind]) -> dict[str, Value]:
            return {n: add_gaussian(v / 2, self.scale, rng) for n, v in chosen.items()}

        return protect_entries(update, step, buffers="noise", global_state=global_state)


HalveFilter: Any = filter_of(DefenceRow(make=Halve, words="halves", source="a test"))


def test_its_signature_is_the_records_fields_and_two_more():
    parameters = inspect.signature(HalveFilter.__init__).parameters
    assert list(parameters) == ["self", "scale", "layers", "tasks", "seed"]
    assert parameters["scale"].default is inspect.Parameter.empty
    assert parameters["layers"].default == ("*",)
    assert HalveFilter.__name__ == "Halve"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({}, TypeError), ({"scale": 1, "x": 2}, TypeError), ({"scale": 0}, ValueError)],
)
def test_what_the_record_would_not_take_is_refused(arguments, error):
    with pytest.raises(error):
        HalveFilter(**arguments)


def test_it_protects_and_declares_the_defence(site, update, global_state):
    # The least noise that float32 can show beside statistics of 0.05.
    sent = site.send(HalveFilter(scale=1e-6, seed=1), site.result(update), global_state)
    np.testing.assert_allclose(sent.data["fc.weight"], update["fc.weight"] / 2, atol=6e-6)
    (declared,) = sent.meta["medleak_defences"]
    assert declared == {"name": "halve", "args": {"scale": 1e-6, "layers": ["*"]}}


@pytest.mark.parametrize("formal", [False, True])
def test_under_a_guarantee_metrics_stay_home(formal, site, update, global_state):
    row = DefenceRow(make=Halve, words="halves", source="a test", formal=formal)
    result = site.result(update, initial_metrics={"accuracy": 0.5})
    made: Any = filter_of(row)
    sent = site.send(made(scale=1.0), result, global_state)
    assert ("initial_metrics" in sent.meta) != formal


def test_it_fails_closed(site, update, global_state):
    update["fc.weight"][0, 0] = np.nan
    with pytest.raises(ContentBlockedException):
        site.send(HalveFilter(scale=1.0), site.result(update), global_state)
    with pytest.raises(ContentBlockedException, match="protects train"):
        site.send(HalveFilter(scale=1.0), site.result(update), global_state, name="other")


def test_the_exporter_keeps_its_arguments():
    args = FedJobConfig("job", min_clients=1)._get_args(HalveFilter(scale=2.0), None)
    assert json.loads(json.dumps(args)) == {"scale": 2.0, "layers": ["*"], "tasks": ["train"]}
    assert vars(HalveFilter(**args)).keys() == vars(HalveFilter(scale=2.0)).keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_defence_of_the_table_could_have_one(row):
    """Those written by hand have the same arguments, and options that the record has not."""
    made = inspect.signature(filter_of(row).__init__).parameters
    own = inspect.signature(getattr(adapters, row.make.__name__).__init__).parameters
    assert set(made) - {"seed"} <= set(own)

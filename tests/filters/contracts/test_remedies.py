"""What a refusal tells the user to do is done here, and then the update leaves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.shareable import Shareable
from tests.filters.sites import Site

from medleak.filters.adapters import (
    ClippedGaussian,
    DeclareDPSGD,
    PercentileGaussian,
    PrivacyBudget,
    PrivacyLedger,
    RandomK,
    TopK,
    Withhold,
)
from medleak.filters.update import UpdateError

WEIGHT = "norm.weight"


@dataclass(frozen=True, kw_only=True)
class Told:
    """A refusal, the part of its message that says what to do, and the same done as told."""

    says: str
    before: Callable[[Site, dict, dict], DXO]
    after: Callable[[Site, dict, dict], DXO]


def send(filters, update, state, site, meta=None, **task):
    chain = filters if isinstance(filters, list) else [filters]
    result = update if isinstance(update, Shareable) else site.result(update, **(meta or {}))
    return site.send(chain, result, state, **task)


def noise(**args):
    return PercentileGaussian(sigma0=10, **args)


def of_kind(kind, update):
    return DXO(kind, data=update).to_shareable()


DP_SGD = {"dp_sgd": {"noise_multiplier": 2.0, "sample_rate": 0.5, "steps": 2}}


def still(update):
    """As DP-SGD leaves them: no statistics."""
    return {n: np.zeros_like(v) if "running" in n else v for n, v in update.items()}


TOLD = {
    "something else than an update": Told(
        says="Send the update alone",
        before=lambda s, u, g: send(noise(), of_kind(DataKind.STATISTICS, u), g, s),
        after=lambda s, u, g: send(noise(), of_kind(DataKind.WEIGHT_DIFF, u), g, s),
    ),
    "a type without noise": Told(
        says="Train in float32",
        before=lambda s, u, g: send(noise(), {**u, WEIGHT: u[WEIGHT].astype(complex)}, g, s),
        after=lambda s, u, g: send(noise(), u, g, s),
    ),
    "a torch type that numpy does not know": Told(
        says="Send float32",
        before=lambda s, u, g: send(
            noise(), {**u, WEIGHT: torch.as_tensor(u[WEIGHT]).bfloat16()}, g, s
        ),
        after=lambda s, u, g: send(
            noise(), {**u, WEIGHT: torch.as_tensor(u[WEIGHT]).bfloat16().float()}, g, s
        ),
    ),
    "python numbers": Told(
        says="Send plain arrays",
        before=lambda s, u, g: send(noise(), {**u, "temperature": 0.5}, g, s),
        after=lambda s, u, g: send(noise(), {**u, "temperature": np.float32(0.5)}, g, s),
    ),
    "entries left out by hand": Told(
        says="withhold with medleak.filters.adapters.Withhold",
        before=lambda s, u, g: send(noise(), {n: v for n, v in u.items() if "fc." not in n}, g, s),
        after=lambda s, u, g: send(
            [Withhold(batch_norm="send", layers=["fc.*"]), noise()], u, g, s
        ),
    ),
    "a pattern that matches nothing": Told(
        says="Correct the pattern",
        before=lambda s, u, g: send(Withhold(layers=["classifier.*"]), u, g, s),
        after=lambda s, u, g: send(Withhold(layers=["fc.*"]), u, g, s),
    ),
    "everything withheld": Told(
        says="Withhold less",
        before=lambda s, u, g: send(Withhold(layers=["*"]), u, g, s),
        after=lambda s, u, g: send(Withhold(layers=["fc.*"]), u, g, s),
    ),
    "local values without a round": Told(
        says="Set keep to false",
        before=lambda s, u, g: send(Withhold(layers=["fc.*"]), u, g, s, round_number=None),
        after=lambda s, u, g: send(
            Withhold(layers=["fc.*"], keep=False), u, g, s, round_number=None
        ),
    ),
    "error feedback without a round": Told(
        says="Set error_feedback to false",
        before=lambda s, u, g: send(
            TopK(fraction=0.1, error_feedback=True), u, g, s, round_number=None
        ),
        after=lambda s, u, g: send(TopK(fraction=0.1), u, g, s, round_number=None),
    ),
    "a folder of another's": Told(
        says="Give a relative path without",
        before=lambda s, u, g: send(Withhold(layers=["fc.*"], state_dir="../x"), u, g, s),
        after=lambda s, u, g: send(Withhold(layers=["fc.*"], state_dir="kept"), u, g, s),
    ),
    "a folder of the kit's": Told(
        says="Give a file or folder of its own",
        before=lambda s, u, g: send(PrivacyLedger(target_delta=1e-5, path="local/l"), u, g, s),
        after=lambda s, u, g: send(PrivacyLedger(target_delta=1e-5, path="l.jsonl"), u, g, s),
    ),
    "a renamed task": Told(
        says="list it in tasks",
        before=lambda s, u, g: send(noise(), u, g, s, name="fit"),
        after=lambda s, u, g: send(noise(tasks=["train", "fit"]), u, g, s, name="fit"),
    ),
    "a long list of metrics": Told(
        says="Send fewer metrics",
        before=lambda s, u, g: send(
            noise(), u, g, s, {"initial_metrics": {f"m{i}": 0.5 for i in range(9000)}}
        ),
        after=lambda s, u, g: send(noise(), u, g, s, {"initial_metrics": {"m0": 0.5}}),
    ),
    "an array in the metadata": Told(
        says="Send numbers and text only",
        before=lambda s, u, g: send(noise(), u, g, s, {"loss": u[WEIGHT]}),
        after=lambda s, u, g: send(noise(), u, g, s, {"loss": float(u[WEIGHT][0])}),
    ),
    "statistics under DP-SGD": Told(
        says="a norm layer without running statistics",
        before=lambda s, u, g: send(DeclareDPSGD(), u, g, s, DP_SGD),
        after=lambda s, u, g: send(DeclareDPSGD(), still(u), g, s, DP_SGD),
    ),
    "weights that grow beyond their type": Told(
        says='with scope="group"',
        before=lambda s, u, g: send(
            noise(), {**u, "bn1.running_mean": np.full(64, 1e9, np.float32)}, g, s
        ),
        after=lambda s, u, g: send(
            noise(scope="group"), {**u, "bn1.running_mean": np.full(64, 1e9, np.float32)}, g, s
        ),
    ),
}


@pytest.mark.parametrize("what", TOLD)
def test_the_remedy_that_a_refusal_names_works(what, site, update, global_state):
    told = TOLD[what]
    with pytest.raises((ContentBlockedException, UpdateError), match=told.says):
        told.before(site, update, global_state)
    assert told.after(site, update, global_state).data


def test_settings_are_refused_with_the_setting_that_works(site, update, global_state):
    with pytest.raises(ValueError, match="set rescale=false"):
        RandomK(fraction=0.1, rescale=True, error_feedback=True)
    filter_ = RandomK(fraction=0.1, rescale=False, error_feedback=True)
    assert send(filter_, update, global_state, site).data
    with pytest.raises(ValueError, match='Use "drop" or "noise"'):
        ClippedGaussian(max_grad_norm=1, noise_multiplier=2, buffers="pass")
    for way in ("drop", "noise"):
        filter_ = ClippedGaussian(max_grad_norm=1, noise_multiplier=2, buffers=way)
        assert send(filter_, update, global_state, site).data
    with pytest.raises(ValueError, match="Use clipped_gaussian"):
        PrivacyBudget("percentile_gaussian:sigma0=10", target_epsilon=8, target_delta=1e-5)
    planned = "clipped_gaussian:max_grad_norm=1,noise_multiplier=2"
    PrivacyBudget(planned, target_epsilon=8, target_delta=1e-5)

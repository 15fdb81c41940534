"""Tests of medleak.custom.flare.fedopt."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContextManager
from nvflare.app_common.abstract.model import ModelLearnableKey, make_model_learnable
from nvflare.app_common.app_constant import AppConstants

from medleak.custom.flare.fedopt import OPTIMIZERS, FedOpt
from medleak.custom.training.initial import build_job_network

UNET = "medleak.custom.networks.unet"
ARGS = {"num_classes": 2, "channels": [2, 4]}


def build(config):
    return {f"torch.optim.{n}": getattr(torch.optim, n) for n in ("SGD", "Adam", "Adagrad")}[
        config["path"]
    ](**config["args"])


@pytest.fixture
def context():
    engine = SimpleNamespace(build_component=build, fire_event=lambda event, context: None)
    return FLContextManager(engine=engine, identity_name="server", job_id="j").new_context()


def step(context, **kwargs):
    """The start and the model after one round whose mean update is 0.01 everywhere."""
    update = FedOpt(UNET, ARGS, weights="random", seed=3, **kwargs)
    update.handle_event(EventType.START_RUN, context)
    start = {k: v.numpy().copy() for k, v in build_job_network(UNET, ARGS, 3).state_dict().items()}
    context.set_prop(AppConstants.GLOBAL_MODEL, make_model_learnable(dict(start), {}))
    diff = {k: np.full_like(v, 0.01 if v.dtype.kind == "f" else 1) for k, v in start.items()}
    mean = DXO(DataKind.WEIGHT_DIFF, data=diff).to_shareable()
    return start, update.shareable_to_learnable(mean, context)[ModelLearnableKey.WEIGHTS]


def test_sgd_of_rate_one_is_federated_averaging(context):
    start, after = step(context, server_args={"lr": 1.0})
    for name, value in start.items():
        gain = 0.01 if value.dtype.kind == "f" else 1
        np.testing.assert_allclose(after[name], value + gain, rtol=1e-5, atol=1e-6)


def test_adam_moves_weights_by_its_rate_and_averages_statistics(context):
    start, after = step(context, server_optimizer="adam", server_args={"lr": 0.5})
    names = {name for name, _ in build_job_network(UNET, ARGS).named_parameters()}
    for name, value in start.items():
        gain = 0.5 if name in names else 0.01 if value.dtype.kind == "f" else 1
        np.testing.assert_allclose(after[name], value + gain, rtol=1e-4, atol=1e-5)


def test_an_unknown_optimizer_is_refused_by_name():
    with pytest.raises(ValueError, match="must be one of sgd, adam, adagrad, got 'lion'"):
        FedOpt(UNET, ARGS, server_optimizer="lion")
    assert set(OPTIMIZERS) == {"sgd", "adam", "adagrad"}

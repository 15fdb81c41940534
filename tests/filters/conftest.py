"""A small update with every kind of entry, and a task's result around it."""

import numpy as np
import pytest
from tests.filters.sites import site

__all__ = ["global_state", "site", "update"]


def model_state(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A model with two BN layers, one GroupNorm-like layer and a 0-d parameter."""
    state = {}
    for layer, width in (("bn1", 64), ("layer1.bn2", 128)):
        state[f"{layer}.weight"] = np.ones(width, np.float32)
        state[f"{layer}.bias"] = np.zeros(width, np.float32)
        state[f"{layer}.running_mean"] = rng.normal(size=width).astype(np.float32)
        state[f"{layer}.running_var"] = rng.uniform(0.1, 2, width).astype(np.float32)
        state[f"{layer}.num_batches_tracked"] = np.array(17.25)
    state["conv.weight"] = rng.normal(size=(64, 3, 7, 7)).astype(np.float32)
    state["norm.weight"] = np.ones(32, np.float32)
    state["temperature"] = np.array(2.0, np.float32)
    state["fc.weight"] = rng.normal(size=(40, 512)).astype(np.float32)
    return state


@pytest.fixture
def global_state() -> dict[str, np.ndarray]:
    return model_state(np.random.default_rng(1))


@pytest.fixture
def update(global_state) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    made = {}
    for name, value in global_state.items():
        if name.endswith("num_batches_tracked"):
            made[name] = np.array(2.75)
        elif "running" in name:
            made[name] = rng.normal(scale=0.05, size=value.shape).astype(np.float32)
        else:
            made[name] = np.asarray(rng.normal(scale=1e-4, size=value.shape), np.float32)
    return made

"""Honest states to tamper with."""

import numpy as np


def linear(rows: int = 64, width: int = 400, seed: int = 0) -> dict[str, np.ndarray]:
    """A hidden layer as PyTorch starts it, and outputs of two classes."""
    rng = np.random.default_rng(seed)
    return {
        "hidden.weight": rng.uniform(-1, 1, (rows, width)).astype(np.float32) / width**0.5,
        "hidden.bias": rng.uniform(-1, 1, rows).astype(np.float32) / width**0.5,
        "fc.weight": rng.uniform(-1, 1, (2, rows)).astype(np.float32) / rows**0.5,
        "fc.bias": np.zeros(2, np.float32),
    }


def convolutional(seed: int = 0) -> dict[str, np.ndarray]:
    """A convolution with batch norm."""
    rng = np.random.default_rng(seed)
    return {
        "conv.weight": rng.normal(size=(32, 8, 3, 3)).astype(np.float32) / 8,
        "bn.weight": np.ones(32, np.float32),
        "bn.bias": np.zeros(32, np.float32),
        "bn.running_mean": np.zeros(32, np.float32),
        "bn.running_var": np.ones(32, np.float32),
        "bn.num_batches_tracked": np.array(3),
    }

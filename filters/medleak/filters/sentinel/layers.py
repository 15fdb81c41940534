"""The matrices of a state dict: rows are what one neuron, or one channel, looks for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

State = Mapping[str, NDArray[np.generic]]
FEWEST_ROWS = 8
"""Below it a layer is an output of few classes, whose rows training itself makes alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One linear or convolutional layer: rows [R, D] in float32, a view where possible.

    ``taps``: how many places a kernel has, 1 of a linear layer. ``bias`` [R] or None; ``norms``
    [R], the L2 norm of each row.
    """

    name: str
    rows: NDArray[np.float32]
    taps: int
    bias: NDArray[np.float32] | None
    norms: NDArray[np.float64]


def layers_of(state: State) -> Iterator[Layer]:
    """Every entry of two or more dimensions that holds floating-point weights."""
    for name, value in state.items():
        if value.ndim < 2 or value.dtype.kind != "f" or value.size == 0:
            continue
        rows = np.asarray(value, np.float32).reshape(len(value), -1)
        bias = state.get(f"{name.removesuffix('weight')}bias") if name.endswith("weight") else None
        fits = bias is not None and bias.shape == (len(rows),)
        yield Layer(
            name=name,
            rows=rows,
            taps=int(np.prod(value.shape[2:], dtype=np.int64)),
            bias=np.asarray(bias, np.float32) if fits else None,
            norms=np.sqrt(np.einsum("rd,rd->r", rows, rows).astype(np.float64)),
        )


def norm_layers(state: State) -> Iterator[tuple[str, dict[str, NDArray[np.float64]]]]:
    """Name and entries of every layer with running statistics."""
    for name in state:
        layer, _, leaf = name.rpartition(".")
        if leaf != "running_var":
            continue
        found = {
            k: np.asarray(state[f"{layer}.{k}"], np.float64)
            for k in ("weight", "bias", "running_mean", "running_var")
            if f"{layer}.{k}" in state
        }
        yield layer, found

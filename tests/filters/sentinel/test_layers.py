"""Tests of medleak.filters.sentinel.layers."""

import numpy as np
from tests.filters.sentinel.models import convolutional, linear

from medleak.filters.sentinel.layers import layers_of, norm_layers


def test_rows_taps_biases_and_norms_are_those_of_the_entries():
    found = {x.name: x for x in layers_of({**linear(), **convolutional()})}
    assert list(found) == ["hidden.weight", "fc.weight", "conv.weight"]
    hidden, conv = found["hidden.weight"], found["conv.weight"]
    assert (hidden.rows.shape, hidden.taps, conv.rows.shape, conv.taps) == (
        (64, 400),
        1,
        (32, 72),
        9,
    )
    assert conv.bias is None
    assert hidden.bias is not None
    assert np.allclose(hidden.norms, np.linalg.norm(hidden.rows, axis=1))


def test_norm_layers_are_those_with_running_statistics():
    ((name, entries),) = norm_layers({**linear(), **convolutional()})
    assert name == "bn"
    assert set(entries) == {"weight", "bias", "running_mean", "running_var"}

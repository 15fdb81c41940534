"""Tests of medleak.inversion.descent.precision."""

import pytest
import torch

from medleak.inversion.descent.precision import full_precision


def test_what_was_set_before_is_set_again_even_after_an_error():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled

    @full_precision()
    def breaks():
        assert not torch.backends.cudnn.allow_tf32
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        breaks()
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled) == before

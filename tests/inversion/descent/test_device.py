"""Tests of medleak.inversion.descent.device."""

import pytest
import torch

from medleak.inversion.descent.device import captured, full_precision

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_on_a_cpu_it_is_the_evaluation_itself():
    def evaluation():
        return [torch.zeros(1)]

    assert captured(evaluation, torch.device("cpu")) is evaluation


@gpu
def test_a_replay_sees_what_was_changed_in_place_and_gives_tensors_of_its_own():
    x = torch.zeros(3, device="cuda")
    replay = captured(lambda: [x.square().sum(), 2 * x], x.device)
    first = replay()
    x.fill_(2.0)
    assert [v.tolist() for v in first] == [0.0, [0.0] * 3]
    assert [v.tolist() for v in replay()] == [12.0, [4.0] * 3]


@gpu
def test_what_cannot_be_captured_runs_as_it_is():
    x = torch.ones(3, device="cuda")

    def waits():
        return [x.sum() * x.sum().item()]

    assert captured(waits, x.device) is waits
    assert (x + 1).sum().item() == 6


def test_what_was_set_before_is_set_again_even_after_an_error():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled

    @full_precision()
    def breaks():
        assert not torch.backends.cudnn.allow_tf32
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        breaks()
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled) == before

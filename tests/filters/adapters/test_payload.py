"""Tests of what a task's result may consist of."""

import numpy as np
import pytest
import torch
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable

from medleak.filters.adapters.payload import META_LIMIT, as_numpy, check_meta, known_code, unwrap
from medleak.filters.update import UpdateError


def result(**extra):
    made = DXO(DataKind.WEIGHT_DIFF, data={"w": np.ones(2)}).to_shareable()
    made.update(extra)
    return made


def test_a_bare_weight_difference_is_unwrapped():
    np.testing.assert_array_equal(unwrap(result()).data["w"], np.ones(2))


@pytest.mark.parametrize("kind", [DataKind.WEIGHTS, DataKind.STATISTICS, DataKind.ANALYTIC])
def test_another_kind_of_data_is_refused_by_name(kind):
    with pytest.raises(UpdateError, match="not WEIGHT_DIFF"):
        unwrap(DXO(kind, data={"w": np.ones(2)}).to_shareable())


def test_what_lies_beside_the_dxo_is_refused_by_name():
    with pytest.raises(UpdateError, match="carries 'images' beside its DXO"):
        unwrap(result(images=[1]))


@pytest.mark.parametrize("value", [np.ones(3), "x" * META_LIMIT])
def test_a_header_is_small_and_plain(value):
    made = result()
    made.set_header("note", "x" * 100)
    unwrap(made)
    made.set_header("note", value)
    with pytest.raises(UpdateError, match="The headers of the result"):
        unwrap(made)


def test_metadata_may_hold_numbers_text_and_numpy_scalars_up_to_the_limit():
    check_meta({"loss": np.float32(0.5), "steps": 3, "text": "x" * (META_LIMIT - 100)})
    with pytest.raises(UpdateError, match=f"more than {META_LIMIT}"):
        check_meta({"text": "x" * META_LIMIT})
    with pytest.raises(UpdateError, match="holds a ndarray"):
        check_meta({"loss": np.ones(1)})


@pytest.mark.parametrize("code", ["weights=0.5", None, 7, "__module__"])
def test_only_codes_of_nvflare_leave_as_a_code(code):
    assert known_code(ReturnCode.OK) == ReturnCode.OK
    assert known_code(code) == ReturnCode.TASK_RESULT_FILTER_ERROR


def test_tensors_become_arrays_and_results_tensors_again():
    values, restore = as_numpy({"t": torch.ones(2), "n": np.ones(3)})
    assert all(isinstance(v, np.ndarray) for v in values.values())
    back = restore({n: 2 * v for n, v in values.items()})
    assert torch.equal(back["t"], 2 * torch.ones(2))
    assert isinstance(back["n"], np.ndarray)
    assert restore({"n": values["n"]}).keys() == {"n"}  # what a defence drops stays away


@pytest.mark.parametrize("data", [{"t": torch.ones(2, dtype=torch.bfloat16)}, [1.0], None])
def test_data_that_numpy_does_not_know_are_refused(data):
    with pytest.raises(UpdateError, match=r"numpy does not know|not a dict of arrays"):
        as_numpy(data)


def test_a_shareable_without_a_dxo_is_no_update():
    with pytest.raises((UpdateError, ValueError)):
        unwrap(Shareable())

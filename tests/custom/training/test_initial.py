"""Tests of medleak.custom.training.initial."""

import pickle
import urllib.error

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from medleak.custom.networks import WeightsError, resnet18
from medleak.custom.training.initial import (
    ModelError,
    build_job_network,
    format_args,
    initial_network,
    parse_args,
)
from medleak.inversion.networks import build_network

RESNET, GROUPNORM = (f"medleak.custom.networks.{n}" for n in ("resnet18", "resnet18_groupnorm"))


def equal(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def start(num_classes=2, weights="auto", seed=0, path=RESNET):
    return initial_network(path, {"num_classes": num_classes}, weights, seed)


@pytest.fixture
def other():
    return {k: v.clone() for k, v in resnet18(num_classes=13, seed=5).state_dict().items()}


def test_a_file_in_torchvisions_names_gives_the_body_and_keeps_our_head(tmp_path, other):
    theirs = {k.removeprefix("features."): v.contiguous() for k, v in other.items()}
    save_file(theirs, tmp_path / "w.safetensors")
    loaded = start(2, str(tmp_path / "w.safetensors"), seed=1).state_dict()
    assert torch.equal(loaded["features.conv1.weight"], other["features.conv1.weight"])
    assert torch.equal(loaded["fc.weight"], resnet18(2, seed=1).state_dict()["fc.weight"])


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}])
def test_a_torch_file_of_our_own_names_gives_everything(tmp_path, wrap):
    own = resnet18(2, seed=5).state_dict()
    torch.save(wrap(own), tmp_path / "w.pt")
    loaded = start(2, str(tmp_path / "w.pt"), seed=1).state_dict()
    assert equal(loaded, own)


def test_auto_takes_the_variable_or_random_weights(tmp_path, monkeypatch, other):
    monkeypatch.delenv("MEDLEAK_WEIGHTS", raising=False)
    assert equal(start(seed=4).state_dict(), resnet18(seed=4).state_dict())
    save_file(other, tmp_path / "w.safetensors")
    monkeypatch.setenv("MEDLEAK_WEIGHTS", str(tmp_path / "w.safetensors"))
    loaded = start(seed=4).state_dict()
    assert torch.equal(loaded["features.conv1.weight"], other["features.conv1.weight"])


class Bomb:
    def __reduce__(self):
        return (print, ("this pickle ran",))


def test_a_pickle_that_runs_code_is_refused_without_running_it(tmp_path, capsys):
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(WeightsError, match=r"w\.pt"):
        start(weights=str(tmp_path / "w.pt"))
    torch.save({"state_dict": Bomb()}, tmp_path / "z.pt")
    with pytest.raises(WeightsError, match="could run code"):
        start(weights=str(tmp_path / "z.pt"))
    assert "this pickle ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_missing_or_damaged_file_is_one_line(tmp_path, name):
    with pytest.raises(WeightsError, match="do not exist"):
        start(weights=str(tmp_path / name))
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
        start(weights=str(tmp_path / name))


def test_a_list_is_no_state_dict(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state_dict"):
        start(weights=str(tmp_path / "w.pt"))


def test_imagenet_weights_without_a_network_say_what_to_do(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(
        WeightsError, match=r"cannot be downloaded .* name the file in MEDLEAK_WEIGHTS"
    ):
        start(weights="imagenet")


def test_batch_norm_weights_from_a_file_are_converted_to_group_norm(tmp_path, other):
    other["features.layer1.0.bn1.weight"] += 0.5
    save_file(other, tmp_path / "w.safetensors")
    loaded = start(2, str(tmp_path / "w.safetensors"), seed=1, path=GROUPNORM)
    state = loaded.state_dict()
    bodies = {n: v for n, v in state.items() if not n.startswith("fc.")}
    assert equal(bodies, other)
    assert torch.equal(state["fc.weight"], resnet18(2, seed=1).state_dict()["fc.weight"])


def test_a_factory_without_a_seed_is_seeded_all_the_same():
    args = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2, "channels": [4, 8]}
    path, args = "monai.networks.nets.UNet", args | {"strides": [2]}
    state = torch.random.get_rng_state()
    first, again, other = (
        build_job_network(path, args, seed, allowed=("monai.",)).state_dict() for seed in (1, 1, 2)
    )
    assert equal(first, again)
    assert not equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("path", "args", "message"),
    [
        ("nowhere.net", {}, "cannot be imported"),
        ("medleak.custom.networks.resnet19", {}, "cannot be imported"),
        (RESNET, {"classes": 2}, "refused the arguments"),
        ("fractions.Fraction", {}, "is no network class"),
        ("statistics.mean", {"data": [1]}, "returned a int"),
    ],
)
def test_a_model_that_cannot_be_made_is_refused_by_name(path, args, message):
    allowed = ("nowhere.", "medleak.custom.networks.", "fractions.", "statistics.")
    with pytest.raises(ModelError, match=message) as error:
        build_job_network(path, args, allowed=allowed)
    assert path in str(error.value)


STRANGERS = (
    *("os.system", "os.popen", "subprocess.check_output", "builtins.exec", "builtins.eval"),
    *("importlib.import_module", "runpy.run_path", "pickle.loads", "torch.hub.load", "torch.load"),
    *(
        "nowhere.net",
        "resnet18",
        "",
        ".",
        "medleak.custom.networks.",
        "torchvision.models.resnet18",
    ),
    "monai.networks.nets.UNet",
    "monai.bundle.load",
    "medleak.custom.networks.load_weights",
    "medleak.custom.networks.torch.hub.load",
    "medleak.custom.networks.resnet18.__globals__",
    "medleak.custom.networks._with_group_norm",
    "medleak.custom.training.initial.build_network",
    "medleak.custom.initial.initial_network",
    "medleak.custom.networksx.resnet18",
)


@pytest.mark.parametrize("path", STRANGERS)
@pytest.mark.parametrize("make", [build_job_network, initial_network])
def test_a_name_that_nobody_here_allowed_is_not_even_imported(path, make, monkeypatch):
    def refuse(name, *_):
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("medleak.custom.factories.importlib.import_module", refuse)
    with pytest.raises(ModelError, match="nobody here has allowed"):
        make(path, {})


def test_the_operator_allows_by_the_environment(monkeypatch):
    monkeypatch.setenv("MEDLEAK_NETWORKS", "torch.nn.modules.:torch.nn.modules.linear.Identity")
    assert isinstance(build_job_network("torch.nn.modules.linear.Identity", {}), torch.nn.Identity)
    monkeypatch.setenv("MEDLEAK_NETWORKS", "torch:.::")
    with pytest.raises(ModelError, match="nobody here has allowed"):
        build_job_network("torch.nn.modules.linear.Identity", {})


def test_a_job_that_brings_code_brings_its_network(monkeypatch, tmp_path):
    custom = tmp_path / "app_site-1" / "custom"
    custom.mkdir(parents=True)
    (custom / "brought_by_this_test.py").write_text("from torch.nn import Identity as Net")
    with pytest.raises(ModelError, match="nobody here has allowed"):
        build_job_network("brought_by_this_test.Net", {})
    monkeypatch.syspath_prepend(custom)  # as NVFlare does for a job that it let in with its code
    assert isinstance(build_job_network("brought_by_this_test.Net", {}), torch.nn.Identity)


def test_no_record_can_import_by_way_of_the_initial_network():
    args = {"model_path": "os.getcwd", "model_args": {}}
    with pytest.raises(ValueError, match="outside"):
        build_network("medleak.custom.training.initial.initial_network", args)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["norm", "channels", "width"]), VALUES))
def test_arguments_survive_the_command_line_of_nvflare(args):
    line = format_args(args)
    assert not set(line) & set("\"'{}\\")
    assert parse_args(line.split()) == args


@pytest.mark.parametrize("word", ["num_classes", "=2", "a b=1", "x={", "2x=1"])
def test_a_word_that_is_no_argument_is_refused(word):
    with pytest.raises(ModelError, match="is no argument of a model"):
        parse_args([word])

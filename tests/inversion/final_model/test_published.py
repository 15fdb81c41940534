import pytest
import torch

from medleak.custom.networks import resnet18
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.inversion.final_model.published import Factory, persisted, published

MANIFEST = Manifest(
    job="j",
    created=utc_now(),
    model=ModelSpec(path="medleak.custom.networks.resnet18", args={"num_classes": 2}),
    task=TaskSpec(num_classes=2),
    input=InputSpec(spatial_size=(16, 16), channels=1, mean=(0.5,) * 3, std=(0.25,) * 3),
)
FACTORY = Factory(manifest=MANIFEST)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("run") / "records"
    write_manifest(root, MANIFEST)
    sent = {k: v.numpy() for k, v in resnet18(2, seed=3).state_dict().items()}
    info = UpdateInfo(round=0, site="site-1", time=utc_now())
    write_record(root, info, sent, {k: v * 0 for k, v in sent.items()})
    return root


def of(records, tmp_path, seed=4, **changes):
    state = {**resnet18(2, seed=seed).state_dict(), **changes}
    torch.save({k: v for k, v in state.items() if v is not None}, tmp_path / "final.pt")
    return published(FACTORY, tmp_path / "final.pt", records, ["site-1"])


def test_the_weights_of_the_file_are_in_the_network_that_the_record_names(records, tmp_path):
    network = of(records, tmp_path)
    assert not network.training
    expected = resnet18(2, seed=4).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fc.bias": torch.tensor([0.0, torch.nan])}, "NaN or inf in 'fc.bias'"),
        (
            {"features.bn1.running_var": torch.full((64,), torch.inf)},
            "NaN or inf in 'features.bn1.running_var'",
        ),
        ({"features.bn1.running_mean": None}, "lacks 'features.bn1.running_mean'"),
        ({"seed": 3}, "before anything of theirs was in it"),
        ({"fc.bias": None}, "not 'fc.bias'"),
    ],
)
def test_a_model_of_which_nothing_could_be_said_is_refused(records, tmp_path, changes, why):
    with pytest.raises(ValueError, match=why):
        of(records, tmp_path, **changes)


def test_a_task_normalises_as_the_record_says_and_begins_where_it_is_told(records, tmp_path):
    torch.save(resnet18(2, seed=7).state_dict(), tmp_path / "first.pt")
    task = FACTORY.task(tmp_path / "first.pt")
    seen = task.normalise(torch.full((2, 1, 16, 16), 0.75))
    torch.testing.assert_close(seen, torch.ones(2, 3, 16, 16))
    weights = torch.load(tmp_path / "first.pt", weights_only=True)["fc.weight"]
    assert torch.equal(task.build().get_parameter("fc.weight"), weights)


def test_the_servers_own_file_is_found_beside_the_record(records, tmp_path):
    with pytest.raises(ValueError, match="name the final model by --model"):
        persisted(records)
    place = tmp_path / "app_server" / "FL_global_model.pt"
    place.parent.mkdir()
    place.touch()
    assert persisted(tmp_path / "records") == place.resolve()

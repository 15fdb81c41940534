"""Tests of what people write of a network, a loss, an image and a schedule."""

import pytest
from pydantic import ValidationError

from medleak.custom.record import InputSpec, TaskSpec, UpdateInfo
from medleak.custom.record.texts import first_error, input_of, model_of, schedule_of, task_of


def test_a_network_is_a_path_with_arguments():
    found = model_of("torchvision.models.resnet18:num_classes=2")
    assert (found.path, found.args) == ("torchvision.models.resnet18", {"num_classes": 2})
    assert model_of("a.b").args == {}


def test_the_first_wrong_field_is_named():
    with pytest.raises(ValidationError) as caught:
        UpdateInfo.model_validate({"round": 0, "site": "a", "time": "", "lr": -1})
    assert first_error(caught.value).startswith("lr: ")


def test_what_the_projects_own_check_says_is_said_without_the_librarys_words():
    with pytest.raises(ValidationError) as caught:
        InputSpec(spatial_size=(8, 8), channels=3, mean=(0.1, 0.2), std=(0.1,) * 3)
    said = first_error(caught.value)
    assert "Value error" not in said
    assert "mean" in said


def test_a_schedule_is_read_from_text():
    text = "n_images=4,batch_size=2,lr=1e-3,optimizer=adamw,betas=0.9|0.99,state_kept=true"
    assert schedule_of(text) == {
        "n_images": 4,
        "batch_size": 2,
        "lr": 1e-3,
        "optimizer": "adamw",
        "betas": (0.9, 0.99),
        "state_kept": True,
    }
    assert schedule_of("augmentation=hflip|")["augmentation"] == ("hflip",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("images=4", "has no 'images'; it takes n_images"),
        ("lr=-1", "--schedule: lr"),
        ("lr", "key=value"),
        ("n_images=many", "--schedule: n_images"),
        ("lr=0.1,lr=0.2", "twice"),
    ],
)
def test_a_schedule_that_no_training_has_is_refused_by_its_field(text, words):
    with pytest.raises(ValueError, match=words):
        schedule_of(text)


def test_images_and_losses_are_read_from_text():
    assert input_of("224x200x3") == InputSpec(spatial_size=(224, 200), channels=3)
    assert input_of("32x32x24x4") == InputSpec(spatial_size=(32, 32, 24), channels=4)
    assert task_of("bce:14") == TaskSpec(criterion="bce", num_classes=14)
    for text in ("224", "224x224", "axbxc", "0x1x1", "1x2x3x4x5"):
        with pytest.raises(ValueError, match="224x224x3"):
            input_of(text)
    for text in ("bce", "hinge:2", "bce:0", "bce:two"):
        with pytest.raises(ValueError, match="bce:14"):
            task_of(text)

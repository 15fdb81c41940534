"""A network, a loss, an image and a schedule as people write them in a line."""

from typing import Any

from pydantic import ValidationError

from medleak.custom.record.schema import (
    CRITERIA,
    SCHEDULE,
    InputSpec,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
)
from medleak.filters.spec import Spec


def model_of(text: str) -> ModelSpec:
    """The network's factory in ``PATH`` or ``PATH:KEY=VALUE,…``.

    >>> model_of("torchvision.models.resnet18:num_classes=2").args
    {'num_classes': 2}

    Raises:
        ValueError: It is none.
    """
    spec = Spec.parse(text)
    return ModelSpec(path=spec.name, args=spec.args)


def schedule_of(text: str) -> dict[str, Any]:
    """The schedule in ``key=value,…``, checked; a list is joined by ``|``.

    >>> schedule_of("n_images=4,lr=0.01,betas=0.9|0.99")
    {'n_images': 4, 'lr': 0.01, 'betas': (0.9, 0.99)}

    Raises:
        ValueError: A field has another name, or a value that no training has.
    """
    args = Spec.parse(f"schedule:{text}").args
    if unknown := [key for key in args if key not in SCHEDULE]:
        raise ValueError(f"--schedule has no {unknown[0]!r}; it takes {', '.join(SCHEDULE)}.")
    try:
        made = UpdateInfo.model_validate({"round": 0, "site": "x", "time": "", **args})
    except ValidationError as error:
        raise ValueError(f"--schedule: {first_error(error)}.") from None
    return {key: getattr(made, key) for key in args}


def input_of(text: str) -> InputSpec:
    """The image in ``HEIGHTxWIDTHxCHANNELS``, or ``HEIGHTxWIDTHxDEPTHxCHANNELS``.

    Raises:
        ValueError: It is none.
    """
    try:
        *size, channels = (int(part) for part in text.lower().split("x"))
        return InputSpec.model_validate({"spatial_size": size, "channels": channels})
    except (ValueError, ValidationError):
        raise ValueError(
            f"--input {text!r} is no image: give HEIGHTxWIDTHxCHANNELS, such as 224x224x3, or "
            "HEIGHTxWIDTHxDEPTHxCHANNELS of a volume."
        ) from None


def task_of(text: str) -> TaskSpec:
    """The loss and the outputs in ``CRITERION:OUTPUTS``.

    >>> task_of("bce:14").num_classes
    14

    Raises:
        ValueError: It is none.
    """
    criterion, _, outputs = text.partition(":")
    try:
        return TaskSpec.model_validate({"criterion": criterion, "num_classes": int(outputs)})
    except (ValueError, ValidationError):
        raise ValueError(
            f"--task {text!r} is no loss: give NAME:OUTPUTS, such as bce:14, NAME one of "
            f"{', '.join(CRITERIA)}."
        ) from None


def first_error(error: ValidationError) -> str:
    """The first wrong field, and what is wrong with it."""
    first = error.errors()[0]
    what = first["msg"].removeprefix("Value error, ")  # of our own validators
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), what)))

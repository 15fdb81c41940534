"""The JSON files of a record: what a run, an update and its site say of themselves.

What a site does not say is unknown, which is null here, and no error: whoever needs it asks by
``known`` and gets it, or an `UnknownError` that says how to give it.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)

Source = Literal["declared", "given", "inferred", "unknown"]
"""Who said it: the site, the auditor, the update itself, or nobody."""

Criterion = Literal[
    "cross_entropy",
    "bce",
    "mse",
    "dice",
    "dice_cross_entropy",
    "focal",
    "segmentation_cross_entropy",
    "custom",
]
Precision = Literal["float32", "bfloat16", "float16"]


class UnknownError(ValueError):
    """Something that was never recorded, and that cannot be done without."""

    def __init__(self, what: str, remedy: str) -> None:
        """``what`` in words; ``remedy`` is what to give."""
        super().__init__(f"Not known: {what}. Give {remedy}.")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSpec(_Frozen):
    """An importable factory (or class) and its keyword arguments."""

    path: str
    args: dict[str, Any] = {}


class TaskSpec(_Frozen):
    """What the network is trained for.

    ``segmentation_cross_entropy``: mean over the pixels of logits [B, num_classes, H, W] against
    masks [B, H, W]. ``dice``, ``dice_cross_entropy``, ``focal``, ``mse``: of outputs like the
    targets. ``custom``: a loss that has no name here; attacks that need it say so.
    """

    criterion: Criterion = "cross_entropy"
    num_classes: Annotated[int, Field(ge=1)]


_Size = Annotated[int, Field(ge=1)]


class InputSpec(_Frozen):
    """What one image is before it enters the network.

    ``spatial_size`` is (H, W), or (H, W, D) of a volume. ``channels`` is what the image has. A gray
    image is repeated as often as the network has channels before ``(x - mean) / std``, which acts
    on pixels in [0, 1] and has one value a network channel; None: nobody said.
    """

    spatial_size: tuple[_Size, _Size] | tuple[_Size, _Size, _Size]
    channels: Annotated[int, Field(ge=1)]
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        counts = {len(v) for v in (self.mean, self.std) if v is not None}
        if len(counts) > 1 or 0 in counts or (self.channels > 1 and counts - {self.channels}):
            raise ValueError(
                f"mean and std have {sorted(counts)} values for {self.channels} channels: they "
                "need one a network channel, which a gray image is repeated for"
            )
        return self

    def picture(self) -> tuple[tuple[int, int], Literal[1, 3]]:
        """(H, W) and channels of an image that a file of pixels holds, gray or colour.

        Raises:
            ValueError: It is a volume, or has another number of channels.
        """
        if len(self.spatial_size) != 2 or self.channels not in (1, 3):
            size = " x ".join(map(str, self.spatial_size))
            raise ValueError(
                f"Images of {size} with {self.channels} channels are recorded, but not shown or "
                "compared: that works for gray and colour images of two dimensions. Nothing was "
                "examined."
            )
        return self.spatial_size, 1 if self.channels == 1 else 3


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LeftOut(_Frozen):
    """An update that arrived and is not in the record: not recorded, or pruned; and why."""

    round: Annotated[int, Field(ge=0)]
    site: str
    reason: str


def _with_sources(data: Any, fields: tuple[str, ...]) -> Any:
    """``data`` of a model with the ``sources`` of all ``fields``; a value is the site's word."""
    if not isinstance(data, Mapping):
        return data
    said = data.get("sources") or {}
    if not isinstance(said, Mapping) or (set(said) - set(fields)):
        raise ValueError(f"sources must name some of {', '.join(fields)}")
    found = {}
    for field in fields:
        if data.get(field) is None:
            found[field] = "unknown"
        elif (source := said.get(field, "unknown")) == "unknown":
            found[field] = "declared"  # whoever wrote the value said it
        else:
            found[field] = source
    return {**data, "sources": found}


class Manifest(_Frozen):
    """What all updates of a run have in common; ``model``, ``task``, ``input`` may be unknown.

    ``silence`` is why no update ever came to the recorder; empty while that is not so.
    ``kept_models``: SHA-256 of the model of each round whose updates were pruned, and whose model
    was not; of other rounds it stands with the updates.
    """

    format_version: Literal[2] = FORMAT_VERSION
    job: str
    created: str
    model: ModelSpec | None = None
    task: TaskSpec | None = None
    input: InputSpec | None = None
    class_names: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    left_out: tuple[LeftOut, ...] = ()
    silence: str = ""
    kept_models: dict[Annotated[int, Field(ge=0)], Sha256] = {}
    sources: dict[str, Source] = {}

    @model_validator(mode="before")
    @classmethod
    def _tell_sources(cls, data: Any) -> Any:
        return _with_sources(data, ("model", "task", "input"))

    def identity(self) -> dict[str, str]:
        """Of which run a file is: the job, and a hash of all but what was left out or pruned.

        That changes with time.
        """
        rest = self.model_copy(update={"left_out": ()})
        text = rest.model_dump_json(exclude={"kept_models"})
        return {"job": self.job, "manifest_sha256": hashlib.sha256(text.encode()).hexdigest()}

    def known_model(self) -> ModelSpec:
        """The network's factory, or an `UnknownError`."""
        if self.model is None:
            raise UnknownError("the network", "its factory, --model PATH (and --model-args)")
        return self.model

    def known_task(self) -> TaskSpec:
        """What the network is trained for, or an `UnknownError`."""
        if self.task is None:
            raise UnknownError("the training loss", "--task cross_entropy:CLASSES or the like")
        return self.task

    def known_input(self) -> InputSpec:
        """What an image is, or an `UnknownError`."""
        if self.input is None:
            raise UnknownError("the size of an image", "--input HEIGHTxWIDTHxCHANNELS")
        return self.input


class Hashes(_Frozen):
    """SHA-256 of the tensor files of an update, in hexadecimal; ``beside`` None: it has two."""

    sent: str = Field(alias="global")
    update: str
    beside: str | None = None


class LedgerHead(_Frozen):
    """Where a site says that its privacy ledger stood when it released an update."""

    entries: Annotated[int, Field(ge=1)]
    head: Sha256


class CanaryMark(_Frozen):
    """That a site planted canaries in its training: ``count`` by a fair coin each, not which.

    ``gradients`` of one coordinate, or made-up ``images``; see `medleak.custom.sites.canaries`.
    """

    kind: Literal["gradients", "images"]
    count: Annotated[int, Field(ge=1)]


SCHEDULE = {
    "n_images": "the number of images that the site trained on",
    "n_steps": "the number of local steps",
    "batch_size": "the batch size",
    "local_epochs": "the number of local epochs",
    "lr": "the learning rate",
    "lr_schedule": "the learning rate of each step",
    "momentum": "the optimiser's momentum",
    "weight_decay": "the optimiser's weight decay",
    "optimizer": "the optimiser",
    "betas": "Adam's betas",
    "eps": "Adam's eps",
    "clip_norm": "the norm that gradients are clipped to",
    "accumulation_steps": "the forward passes of an optimiser step",
    "precision": "the numbers that the site computes in",
    "state_kept": "whether the optimiser's state is kept over rounds",
    "augmentation": "the augmentation of the images",
}
"""Fields of an `UpdateInfo` that may be unknown, in words."""

_Share = Annotated[float, Field(ge=0, lt=1)]
_Rate = Annotated[float, Field(ge=0)]


def _moves(rates: tuple[float, ...]) -> tuple[float, ...]:
    if not any(rates):
        raise ValueError("a step with a learning rate above 0 is needed, else nothing was trained")
    return rates


class UpdateInfo(_Frozen):
    """How a site says that it trained; everything but the hashes is its own word.

    Attributes:
        n_images: Of the site's training set.
        n_steps: Optimiser steps of this round.
        batch_size: Images in an optimiser step's forward pass.
        local_epochs: Passes over the images in this round.
        lr, momentum, weight_decay, betas, eps: Of the optimiser.
        lr_schedule: Learning rate of each optimiser step, where a schedule changes it in the round.
        optimizer: ``sgd``, ``adam``, ``adamw`` or another name, in small letters.
        clip_norm: L2 norm that a step's gradient is clipped to.
        accumulation_steps: Forward passes whose gradients make one optimiser step.
        precision: Of the forward pass.
        state_kept: Whether the optimiser went on with the state of the round before.
        augmentation: Names such as ``hflip``; empty: the site says that there is none.
        canaries: What the site planted to put ε to the test; None: it tells of none.
        sources: Field of the schedule -> who said it. What is left out is ``declared`` where there
            is a value, and ``unknown`` where there is none.
    """

    round: Annotated[int, Field(ge=0)]
    site: str
    time: str
    n_images: Annotated[int, Field(ge=1)] | None = None
    n_steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    local_epochs: Annotated[int, Field(ge=1)] | None = None
    lr: Annotated[float, Field(gt=0)] | None = None
    lr_schedule: Annotated[tuple[_Rate, ...], AfterValidator(_moves)] | None = None
    momentum: Annotated[float, Field(ge=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    optimizer: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    betas: tuple[_Share, _Share] | None = None
    eps: Annotated[float, Field(gt=0)] | None = None
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    accumulation_steps: Annotated[int, Field(ge=1)] | None = None
    precision: Precision | None = None
    state_kept: bool | None = None
    augmentation: tuple[str, ...] | None = None
    sources: dict[str, Source] = {}
    defences: tuple[dict[str, Any], ...] = ()
    ledger: LedgerHead | None = None
    canaries: CanaryMark | None = None
    sha256: Hashes | None = None

    @model_validator(mode="before")
    @classmethod
    def _tell_sources(cls, data: Any) -> Any:
        return _with_sources(data, tuple(SCHEDULE))

    def known(self, field: str) -> Any:
        """The value of a field of the schedule, or an `UnknownError` that says how to give it."""
        if (value := getattr(self, field)) is None:
            raise UnknownError(SCHEDULE[field], f"--schedule {field}=...")
        return value

    def with_schedule(self, source: Source, **values: Any) -> "UpdateInfo":
        """A copy with ``values``, checked, whose source is ``source``.

        Raises:
            pydantic.ValidationError: No training has such a value, or a field has another name.
        """
        sources = {**self.sources, **{f: source for f, v in values.items() if v is not None}}
        given = self.model_dump(by_alias=True) | values | {"sources": sources}
        return UpdateInfo.model_validate(given)


OPTIMIZERS = ("sgd", "adam", "adamw")
"""Whose steps attacks can follow; any other name can be recorded."""


def migrated_manifest(text: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format version 1, whose defaults were statements, as one of version 2."""
    text = {**text, "format_version": FORMAT_VERSION}
    if isinstance(text.get("input"), dict):
        text["input"] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), **text["input"]}
    return text


def migrated_info(text: dict[str, Any]) -> dict[str, Any]:
    """The sidecar of an update of version 1, which meant what it left out, as one of version 2."""
    return {"momentum": 0.0, "weight_decay": 0.0, "optimizer": "sgd", **text}


def utc_now() -> str:
    """The time in UTC to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def begun_now() -> str:
    """For `Manifest.created`, the same to the microsecond.

    Two runs of one job may begin in one second, and are told apart by it.
    """
    return datetime.now(UTC).isoformat(timespec="microseconds")


CRITERIA: tuple[str, ...] = get_args(Criterion)

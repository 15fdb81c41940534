"""The JSON files of a record: what a run, an update and its site say of themselves."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSpec(_Frozen):
    """An importable factory (or class) and its keyword arguments."""

    path: str
    args: dict[str, Any] = {}


class TaskSpec(_Frozen):
    """What the network is trained for.

    ``segmentation_cross_entropy``: mean over the pixels of logits [B, num_classes, H, W] against
    masks [B, H, W].
    """

    criterion: Literal["cross_entropy", "bce", "segmentation_cross_entropy"] = "cross_entropy"
    num_classes: Annotated[int, Field(ge=1)]


class InputSpec(_Frozen):
    """What one image is before it enters the network.

    ``channels`` is what the image has. A gray image is repeated three times before
    ``(x - mean) / std``, which acts on pixels in [0, 1] and has one value a network channel.
    """

    spatial_size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    channels: Literal[1, 3]
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[Annotated[float, Field(gt=0)], ...] = (1.0, 1.0, 1.0)


class LeftOut(_Frozen):
    """An update that arrived and was not recorded, and why."""

    round: Annotated[int, Field(ge=0)]
    site: str
    reason: str


class Manifest(_Frozen):
    """What all updates of a run have in common."""

    format_version: Literal[1] = FORMAT_VERSION
    job: str
    created: str
    model: ModelSpec
    task: TaskSpec
    input: InputSpec
    class_names: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    left_out: tuple[LeftOut, ...] = ()


class Hashes(_Frozen):
    """SHA-256 of the two tensor files of an update, in hexadecimal."""

    sent: str = Field(alias="global")
    update: str


class LedgerHead(_Frozen):
    """Where a site says that its privacy ledger stood when it released an update."""

    entries: Annotated[int, Field(ge=1)]
    head: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class UpdateInfo(_Frozen):
    """How a site says that it trained; everything but the hashes is its own word."""

    round: Annotated[int, Field(ge=0)]
    site: str
    time: str
    n_images: Annotated[int, Field(ge=1)]
    n_steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    local_epochs: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    optimizer: str = "sgd"
    defences: tuple[dict[str, Any], ...] = ()
    ledger: LedgerHead | None = None
    sha256: Hashes | None = None


def utc_now() -> str:
    """The time in UTC to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")

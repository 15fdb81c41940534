"""The description of a federation, a short YAML file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medleak.custom.phantoms import MODALITIES, VOLUMES
from medleak.custom.record import InputSpec, ModelSpec, TaskSpec
from medleak.custom.record.texts import first_error
from medleak.custom.record.texts import input_of as read_input
from medleak.custom.record.texts import model_of as read_model
from medleak.custom.record.texts import task_of as read_task
from medleak.inversion.results.replays import is_null, replay_of

_LONGEST = 64 * 2**10  # a description is a page, whatever a file holds
_MOST_IMAGES = 4096


class CardConfig(BaseModel):
    """What a federation trains, as far as leakage depends on it, and what is to be tried.

    Attributes:
        name: Of the federation, for the page's head.
        source: Where the configuration is from.
        real: How the federation itself differs from what is simulated (size, number of images), in
            words; empty: not at all. It is on the page, as the figures are of the simulation.
        network: Factory and arguments, ``path:key=value,…``.
        input: ``HEIGHTxWIDTHxCHANNELS``, or ``HEIGHTxWIDTHxDEPTHxCHANNELS``.
        task: ``CRITERION:OUTPUTS``.
        kind: Of phantoms: what the images show.
        images: Of each site.
        batch_size: Images in an optimiser step's forward pass.
        epochs: Passes over the images in a round.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        lr, momentum, weight_decay: Of the optimiser.
        accumulation_steps: Forward passes of a step.
        frozen_norm: Whether batch norm uses, and keeps, the global model's statistics.
        trained: Steps on public phantoms that the global model has behind it; 0: random weights.
        sites: How many are simulated; a sum is over at most so many.
        defences: Replayed on the updates, as of ``medleak audit --defence``.
        sums: Numbers of sites whose sum is all that the server sees, for secure aggregation.
        seconds: CPU seconds of an attack on one update, at most.
        minutes: Of the whole card, of CPU time where one process does it all, else on the clock:
            past them nothing new is begun, and what was not begun is not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=120)]
    source: Annotated[str, Field(max_length=300)] = ""
    real: Annotated[str, Field(max_length=300)] = ""
    network: str
    input: str = "64x64x1"
    task: str = "cross_entropy:2"
    kind: str = "cxr"
    images: Annotated[int, Field(ge=1, le=_MOST_IMAGES)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 1
    epochs: Annotated[int, Field(ge=1)] = 1
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    accumulation_steps: Annotated[int, Field(ge=1)] = 1
    frozen_norm: bool = False
    trained: Annotated[int, Field(ge=0)] = 0
    sites: Annotated[int, Field(ge=2, le=100)] = 3
    defences: tuple[str, ...] = ()
    sums: tuple[Annotated[int, Field(ge=2)], ...] = ()
    seconds: Annotated[float, Field(gt=0)] = 60.0
    minutes: Annotated[float, Field(gt=0)] = 20.0

    @model_validator(mode="after")
    def _fits(self) -> "CardConfig":
        """Whatever cannot be simulated is said here, before anything is."""
        self.model_spec()
        self.task_spec()
        kinds = MODALITIES | VOLUMES
        if self.kind not in kinds:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(kinds)}")
        axes = 3 if self.kind in VOLUMES else 2
        if len(self.input_spec().spatial_size) != axes:
            raise ValueError(f"{self.kind} has {axes} dimensions, and input {self.input!r} has not")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"{self.optimizer} takes no momentum")
        for text in self.defences:
            replay = replay_of(text)
            if replay.sites > 1 or replay.step is not None or is_null(text):
                words = "is none of a site; sums goes into sums, a larger step into batch_size"
                raise ValueError(f"defences: {text!r} {words}")
        if self.sums and max(self.sums) > self.sites:
            raise ValueError(f"sums has {max(self.sums)} sites, and sites is {self.sites}")
        return self

    def model_spec(self) -> ModelSpec:
        """The network."""
        return read_model(self.network)

    def task_spec(self) -> TaskSpec:
        """The loss."""
        return read_task(self.task)

    def input_spec(self) -> InputSpec:
        """The image; pixels enter the network as they are, in [0, 1]."""
        return read_input(self.input)

    def replays(self) -> list[str]:
        """What stands between the updates and the attacker beside nothing: defences, then sums."""
        return [*self.defences, *(f"secure_aggregation:sites={k}" for k in self.sums)]


def read_card(path: Path) -> CardConfig:
    """Read a description.

    Raises:
        ValueError: It is no YAML, has unknown fields, or values that nothing can be trained with.
        OSError: It cannot be read.
    """
    if path.stat().st_size > _LONGEST:
        raise ValueError(f"{path} is longer than a description can be ({_LONGEST} bytes).")
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no fields; it needs name and network, such as {_EXAMPLE}.")
    try:
        return CardConfig.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path}: {first_error(error)}.") from None


_EXAMPLE = "name: ours, network: medleak.custom.networks.resnet18:num_classes=2"

"""A recorder around anybody's training loop in PyTorch: no server, no federation is needed.

It takes the network's state before and after, and sees of the training what PyTorch shows: the
optimiser's steps and settings, and the shapes that the network is called with.
"""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from medleak.custom.record.files import check_site
from medleak.custom.record.reading import read_manifest
from medleak.custom.record.schema import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    begun_now,
    utc_now,
)
from medleak.custom.record.tensors import RecordError, as_arrays, difference
from medleak.custom.record.texts import first_error, input_of, model_of, task_of
from medleak.custom.record.writing import extended, write_manifest, write_record

if TYPE_CHECKING:
    from torch import nn

_NUMBERS = ("lr", "momentum", "weight_decay", "betas", "eps")  # of a group of parameters


class Recorder:
    """Records what each round of a training loop would send: local - global of ``model``.

    What is not said is seen where PyTorch shows it, and else unknown. Several sites may train one
    after the other; each starts from the state that ``model`` has when its round begins.
    """

    def __init__(
        self,
        root: Path | str,
        model: "nn.Module",
        *,
        job: str = "training loop",
        network: ModelSpec | str | None = None,
        task: TaskSpec | str | None = None,
        input: InputSpec | str | None = None,
    ) -> None:
        """Record to ``root``, made if missing; an older record there is gone on with.

        Args:
            root: The record's directory.
            model: The network that is trained; not changed.
            job: A name.
            network: Its factory, as a text ``torchvision.models.resnet18:num_classes=2``.
            task: Its loss and outputs, as a text ``bce:14``.
            input: An image, as a text ``224x224x3``.

        Raises:
            ValueError: One of the texts is none. An older record that says otherwise is refused
                when the first round ends.
        """
        self._root, self._model = Path(root), model
        self._manifest = Manifest(
            job=job,
            created=begun_now(),
            model=model_of(network) if isinstance(network, str) else network,
            task=task_of(task) if isinstance(task, str) else task,
            input=input_of(input) if isinstance(input, str) else input,
        )

    @contextlib.contextmanager
    def round(self, number: int, site: str, **schedule: Any) -> Iterator[dict[str, Any]]:
        """Record what is trained while the block runs, as the update of ``site``.

        Args:
            number: Of the round, from 0.
            site: A name that can be a file's.
            schedule: What is known of it, such as ``n_images=4``; it goes before what is seen.

        Yields:
            The schedule, which the block may add to.

        Raises:
            RecordError: The site's name or the schedule is unusable, the update is recorded
                already, cannot be read back, or the disk refuses it. A block that raises records
                nothing.
        """
        where = f"Round {number}, site {check_site(site)}"
        before = copy.deepcopy(self._arrays(where))
        with _watched(self._model) as seen:
            yield schedule
        update = difference(where, self._arrays(where), before)
        if not seen.settings and not any(value.any() for value in update.values()):
            raise RecordError(
                f"{where}: no weight of the model changed and no step of an optimiser was seen, so "
                "another network was trained than the one that is recorded, such as a copy. Give "
                "the recorder the network that the block trains."
            )
        try:
            info = UpdateInfo.model_validate(
                {**seen.schedule(), **schedule, "round": number, "site": site, "time": utc_now()}
            )
        except ValidationError as error:
            raise RecordError(f"{where}: its schedule is unusable: {first_error(error)}.") from None
        manifest = self._extended(seen)
        write_record(self._root, info, before, update, several=True)
        write_manifest(self._root, manifest)

    def _arrays(self, where: str) -> dict[str, Any]:
        return as_arrays(where, self._model.state_dict())

    def _extended(self, seen: "_Seen") -> Manifest:
        """The record's manifest with what was said here, or a new one with what was seen."""
        if (self._root / "manifest.json").exists():
            return extended(self._root, read_manifest(self._root), self._manifest)
        manifest = self._manifest
        if manifest.input is None and (spec := seen.input()) is not None:
            sources = {**manifest.sources, "input": "inferred"}
            text = manifest.model_dump() | {"input": spec.model_dump(), "sources": sources}
            manifest = Manifest.model_validate(text)
        return manifest


class _Seen:
    """What hooks saw of a training loop."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.settings: list[dict[str, Any]] = []

    def schedule(self) -> dict[str, Any]:
        """Fields of an `UpdateInfo` that are the same in all steps."""
        steps, passes = len(self.settings), len(self.shapes)
        if not steps:
            return {}
        found: dict[str, Any] = {"n_steps": steps}
        for field in ("optimizer", *_NUMBERS):
            values = [s.get(field) for s in self.settings]
            if all(v == values[0] for v in values) and values[0] is not None:
                found[field] = values[0]
        rates = [s.get("lr") for s in self.settings]
        if found.get("lr") == 0:  # of a warm-up: no training's
            del found["lr"]
        elif "lr" not in found and None not in rates:
            found["lr_schedule"] = tuple(rates)
        if passes and passes % steps == 0:
            found["accumulation_steps"] = passes // steps
            found["batch_size"] = max(shape[0] for shape in self.shapes)
            if steps == passes == 1:
                found["n_images"] = found["batch_size"]
        return found

    def input(self) -> InputSpec | None:
        """An image as the network saw it; None unless all were alike."""
        kinds = {shape[1:] for shape in self.shapes}
        if len(kinds) != 1 or len(shape := next(iter(kinds))) not in (3, 4):
            return None
        return InputSpec.model_validate({"channels": shape[0], "spatial_size": shape[1:]})


@contextlib.contextmanager
def _watched(model: "nn.Module") -> Iterator[_Seen]:
    """What the block does with ``model``: its steps, and its passes with gradients."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    seen = _Seen()
    own = {id(p) for p in model.parameters()}

    def step(optimizer: Any, _args: Any, _kwargs: Any) -> None:
        groups = [g for g in optimizer.param_groups if any(id(p) in own for p in g["params"])]
        if groups:
            seen.settings.append(_settings(type(optimizer).__name__.lower(), groups))

    def forward(_module: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        # Of named inputs (pixel_values, labels) labels are whole numbers.
        tensors = [v for v in args[:1] or named.values() if isinstance(v, torch.Tensor)]
        images = [v for v in tensors if args or v.is_floating_point()]
        if torch.is_grad_enabled() and images:
            seen.shapes.append(tuple(images[0].shape))

    handles = [
        register_optimizer_step_post_hook(step),
        model.register_forward_pre_hook(forward, with_kwargs=True),
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _settings(name: str, groups: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Of a step, as far as all groups of parameters have the same."""
    found: dict[str, Any] = {"optimizer": name}
    for field in _NUMBERS:
        values = [g.get(field) for g in groups]
        plain = [tuple(map(float, v)) if isinstance(v, tuple) else v for v in values]
        if plain[0] is not None and all(v == plain[0] for v in plain):
            found[field] = plain[0] if isinstance(plain[0], tuple) else float(plain[0])
    return found

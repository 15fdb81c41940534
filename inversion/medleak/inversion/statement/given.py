"""What an auditor says of a record: network, loss, images, schedule. It goes before the site's."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from medleak.custom.networks.weights import read_state, unwrapped
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    Record,
    TaskSpec,
    UpdateInfo,
    read_info,
    read_manifest,
    read_model,
    read_record,
)
from medleak.custom.record.tensors import as_arrays
from medleak.custom.record.texts import first_error
from medleak.inversion.networks import build_network
from medleak.inversion.observation import network_channels, normalisation


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The auditor's word; what is left out stays as the record has it.

    Attributes:
        schedule: Fields of `medleak.custom.record.UpdateInfo`, of all updates.
        model: The network's factory.
        task: Its loss.
        input: Size and channels of an image.
        mean: Of the normalisation, one value a network channel, or one for all.
        std: Likewise.
        base: File of the weights that sites do not send and do not train: of a partial update
            (a head, adapters) all others than the record's. What did come, it does not change.
    """

    schedule: Mapping[str, Any] = field(default_factory=dict)
    model: ModelSpec | None = None
    task: TaskSpec | None = None
    input: InputSpec | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    base: Path | None = None

    def manifest(self, records: Path) -> Manifest:
        """The manifest of ``records`` with what is given.

        Raises:
            RecordError: It cannot be read.
            ValueError: What is given does not fit together.
        """
        return self.of_manifest(read_manifest(records))

    def of_manifest(self, manifest: Manifest) -> Manifest:
        """``manifest`` with what is given."""
        said = {"model": self.model, "task": self.task, "input": self._input(manifest)}
        found = {k: v for k, v in said.items() if v is not None}
        if not found:
            return manifest
        text = manifest.model_dump()
        text |= {k: v.model_dump() for k, v in found.items()}
        return Manifest.model_validate(
            text | {"sources": manifest.sources | dict.fromkeys(found, "given")}
        )

    def _input(self, manifest: Manifest) -> InputSpec | None:
        norm = {k: v for k in ("mean", "std") if (v := getattr(self, k)) is not None}
        if self.input is None and not norm:
            return None
        base = self.input or manifest.known_input()
        before = manifest.input.model_dump() if manifest.input is not None else {}
        kept = {k: before.get(k) for k in ("mean", "std") if k not in norm}
        most = max([base.channels, *(len(v) for v in (*norm.values(), *kept.values()) if v)])
        norm = {k: v * most if len(v) == 1 else v for k, v in norm.items()}
        try:
            return InputSpec.model_validate(base.model_dump() | kept | norm)
        except ValidationError as error:
            raise ValueError(f"--input, --mean and --std: {first_error(error)}.") from None

    def require_fitting(self, manifest: Manifest, allowed_prefixes: Sequence[str] = ()) -> None:
        """Refuse a mean or std that is given and of another number of channels than the network.

        Of a network that is not known, or cannot be built, nothing is said here: whoever attacks it
        will say it.

        Args:
            manifest: With what is given, see `of_manifest`.
            allowed_prefixes: See `medleak.inversion.networks.build_network`.

        Raises:
            ValueError: It says how many channels the network takes.
        """
        given = {"--mean": self.mean, "--std": self.std}
        if not any(given.values()) or manifest.model is None:
            return
        model = manifest.model
        try:
            network = build_network(model.path, model.args, allowed_prefixes=allowed_prefixes)
        except (ValueError, ArithmeticError, RuntimeError):
            return
        takes = network_channels(network)
        for option, values in given.items():
            if takes and values and len(values) not in (1, takes):
                raise ValueError(
                    f"{option} has {len(values)} values and the network takes {takes} channels, so "
                    f"it is known of no image. Give one value for all channels, or {takes}."
                )
        normalisation(manifest.known_input(), network)

    def info(self, records: Path, round: int, site: str) -> UpdateInfo:
        """What is known of an update without its tensors."""
        return self.of_info(read_info(records, round, site))

    def of_info(self, info: UpdateInfo) -> UpdateInfo:
        """``info`` with what is given."""
        return info.with_schedule("given", **self.schedule) if self.schedule else info

    def kept_model(self, records: Path, round: int) -> dict[str, np.ndarray]:
        """A model that is kept without its updates; see `medleak.custom.record.read_model`."""
        found = read_model(records, round)
        fixed = {} if self.base is None else base_state(self.base)
        return {**found, **{n: v for n, v in fixed.items() if n not in found}}

    def record(self, records: Path, round: int, site: str) -> Record:
        """An update with what is given; see `medleak.custom.record.read_record`.

        Weights that did not come count as unchanged: those in ``base`` by the auditor's word; the
        others are named as ``unsent``, with the values that the server has of them, as all that it
        can know. A site may have kept back what it trained (FedBN), or not trained it at all.
        """
        found = read_record(records, round, site)
        said = {"manifest": self.of_manifest(found.manifest), "info": self.of_info(found.info)}
        rest = {} if self.base is None else base_state(self.base)
        away = [n for n in {**found.global_state, **rest} if n not in found.update]
        fixed = {n: rest[n] for n in away if n in rest}
        unsent = tuple(n for n in away if n not in rest and not n.endswith(_RUNNING))
        sent = {**found.global_state, **fixed}
        still = {n: np.zeros_like(sent[n]) for n in away if not n.endswith(_RUNNING)}
        return dataclasses.replace(
            found, global_state=sent, update={**still, **found.update}, unsent=unsent, **said
        )


_RUNNING = ("running_mean", "running_var", "num_batches_tracked")


@functools.lru_cache(maxsize=1)
def base_state(path: Path) -> dict[str, np.ndarray]:
    """The weights in the file ``path``, read safely, as arrays.

    Raises:
        ValueError: It holds none that can be read.
    """
    return as_arrays(str(path), unwrapped(read_state(path)))

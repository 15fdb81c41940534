"""The model that is published, rebuilt from the run's record and a file of weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medleak.custom.networks.weights import read_state, unwrapped
from medleak.custom.record import Manifest, RecordError, read_record
from medleak.inversion.client.batch_norm import running_statistics
from medleak.inversion.final_model.references import Task
from medleak.inversion.networks import build_network, load_global_state
from medleak.inversion.observation import normalisation

_PERSISTED = ("app_server/FL_global_model.pt", "app_server/best_FL_global_model.pt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """Makes networks as a run had them.

    Attributes:
        manifest: Of the record.
        allowed_prefixes: Origins of model factories that are trusted beside the usual.
    """

    manifest: Manifest
    allowed_prefixes: tuple[str, ...] = ()

    def network(self, state: Mapping[str, Tensor] | None = None) -> nn.Module:
        """In evaluation mode, with the weights ``state``; None: the factory's own."""
        spec = self.manifest.known_model()
        made = build_network(spec.path, spec.args, allowed_prefixes=self.allowed_prefixes)
        if state is not None:
            load_global_state(made, {k: v.to(torch.float32) for k, v in state.items()})
        return made.eval()

    def task(self, initial: Path | None) -> Task:
        """What all models have in common; see `Task`. ``initial``: file of the first weights."""
        first = initial and unwrapped(read_state(initial))
        mean, std = normalisation(self.manifest.known_input(), self.network())

        def normalise(images: Tensor) -> Tensor:
            shape = (len(mean), *[1] * (images.ndim - 2))
            wide = images.expand(-1, len(mean), *[-1] * (images.ndim - 2))
            return (wide - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)

        return Task(
            build=lambda: self.network(first),
            normalise=normalise,
            criterion=self.manifest.known_task().criterion,
        )


def published(factory: Factory, place: Path, records: Path, sites: Sequence[str]) -> nn.Module:
    """The model in the file ``place``, in evaluation mode.

    Args:
        factory: Of the run.
        place: See `persisted`.
        records: Of the run; ``sites``: in it.

    Raises:
        ValueError: Nothing could be said of what the sites trained: it is of another network, holds
            no numbers, lacks what it is evaluated with, or is the model before they trained.
    """
    state = unwrapped(read_state(place))
    network = factory.network(state)
    if bad := [n for n, v in state.items() if not bool(torch.isfinite(v).all())]:
        raise ValueError(
            f"The model {place} holds NaN or inf in {bad[0]!r} ({len(bad)} tensors in all): it "
            "tells nothing of any image, and that is no finding. Name the model that is published."
        )
    if missing := [n for n in running_statistics(network) if n not in state]:
        raise ValueError(
            f"The model {place} lacks {missing[0]!r} ({len(missing)} running statistics in all), "
            "without which nobody can evaluate it: what it makes of an image is not known. Name a "
            "file that holds the buffers as well."
        )
    if _began_with(network, records, sites):
        raise ValueError(
            f"The model {place} is the one that sites were sent in round 0, before anything of "
            "theirs was in it: nothing could be found. Name the model after the last round."
        )
    return network


def persisted(records: Path) -> Path:
    """Where NVFlare's server keeps the last model of the run.

    Raises:
        ValueError: There is none.
    """
    places = [records.resolve().parent / name for name in _PERSISTED]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ValueError(
            f"There is no {_PERSISTED[0]} beside {records}: name the final model by --model FILE."
        )
    return found


def _began_with(network: nn.Module, records: Path, sites: Sequence[str]) -> bool:
    """Whether all that ``network`` trained is as a site was sent it in round 0, if that is kept."""
    weights = dict(network.named_parameters())
    for site in sites:
        try:
            sent = read_record(records, 0, site).global_state
        except RecordError:
            continue
        return all(
            n in sent and torch.equal(v.detach(), torch.as_tensor(sent[n]).to(v.dtype))
            for n, v in weights.items()
        )
    return False

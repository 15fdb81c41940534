"""The client of the jobs: receive the global model, train on the site's images, send the update.

NVFlare runs :func:`main` anew in every round of a simulation with fewer threads than sites, so
nothing is kept in memory between rounds, and the costly imports are done while it connects to the
server and fetches the first model.
"""

import argparse
import hashlib
import importlib
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from medleak.custom.data.datalist import DataError, Item
from medleak.custom.sites.table import batch_size_of
from medleak.custom.training import REPORT
from medleak.custom.training.arguments import parse
from medleak.custom.training.first_look import look_once
from medleak.custom.training.site_data import Source, site_lists
from medleak.filters.imports import uncollected

if TYPE_CHECKING:
    from nvflare.app_common.abstract.fl_model import FLModel
    from torch import Tensor, nn

    from medleak.custom.training.dp_sgd import DPSGD
    from medleak.custom.training.planting import Planted
    from medleak.custom.training.sgd import LocalSGD, Normalisation

MASK_CLASSES = ("background", "foreground")  # of the pixels, under --masks


def main(argv: list[str] | None = None) -> None:
    """Serve training and evaluation tasks until the run ends."""
    args = parse(argv)
    import nvflare.client as flare

    flare.init()
    libraries = threading.Thread(target=_import_libraries, daemon=True)
    libraries.start()  # seconds, in which NVFlare waits for the server and the first model
    site = LocalTrainer(args, flare.get_site_name())
    while flare.is_running():
        model = flare.receive()
        if model is None:
            break
        libraries.join()
        try:
            answer = site.evaluate(model) if flare.is_evaluate() else site.train(model)
        except (DataError, OSError) as error:
            # One line for the user; raised, it would drown in three tracebacks of NVFlare's. The
            # executor notices that the script ended and aborts the run (simulator: exit code 2).
            _say(site.name, error)
            raise SystemExit(2) from None
        flare.send(answer)


def _import_libraries() -> None:
    # What cannot be imported fails again where there is a task to say so with.
    with suppress(Exception), uncollected():
        importlib.import_module("medleak.custom.training.sgd")


class LocalTrainer:
    """One site: its images, loaded once a process, and the network that it is sent."""

    def __init__(self, args: argparse.Namespace, name: str) -> None:
        """Take the job's arguments; nothing is read before the first task."""
        self.args = args
        self.name = name
        self._images: dict[str, tuple[Tensor, Tensor]] = {}

    def train(self, model: "FLModel") -> "FLModel":
        """Validate the global model, train it locally, return it with the schedule."""
        from nvflare.app_common.abstract.fl_model import FLModel

        from medleak.custom.training.sgd import evaluate

        args, round = self.args, int(model.current_round or 0)
        batch_size = self._batch_size()  # first: without one there is nothing to load images for
        network = self._network(model.params)
        validation = evaluate(network, *self._load("validation"), self._normalisation())
        images, labels = self._load("training")
        looked = {name: self._load(name)[0] for name in ("training", "validation")}
        look_once(self.name, looked, args.run_dir)
        schedule = self._schedule(round, batch_size or len(images))
        mechanism = self._mechanism(len(images), schedule.batch_size)
        planted = self._planted(network, images, round)
        if mechanism is None:
            meta = model.meta or {}
            losses = self._train(network, images, labels, schedule, round, meta, planted)
        else:
            losses = self._train_dp_sgd(network, images, labels, schedule, mechanism, planted)
        known = [loss for loss in losses if loss == loss]  # Poisson batches may be empty: NaN
        loss = sum(known) / len(known) if known else float("nan")
        print(
            f"round {round}: {len(images)} images, {len(losses)} steps, training loss {loss:.4f}, "
            "validation of the global model: "
            + ", ".join(f"{name} {value:.3f}" for name, value in validation.items())
        )
        shares_metrics = mechanism is None or args.share_metrics
        if shares_metrics:
            _track(round, {"training_loss": loss} if known else {}, validation)
        penalised = _fedprox_mu(model.meta or {}) and len(losses) > 1
        meta = {
            # FedAvg weighs sites by this; the papers weigh them by their number of images.
            "NUM_STEPS_CURRENT_ROUND": len(images),
            "hp": _declared(schedule, len(images), len(losses), mechanism)
            | ({"optimizer": "sgd_fedprox"} if penalised else {})
            | self._mark(planted),
        }
        if mechanism is not None:
            meta["dp_sgd"] = mechanism.declaration(schedule.local_epochs)
        return FLModel(
            params={name: v.cpu() for name, v in network.state_dict().items()},
            metrics=validation if shares_metrics else None,
            meta=meta,
        )

    def evaluate(self, model: "FLModel") -> "FLModel":
        """Scores of a selected global model on the test images, and the report on them."""
        from nvflare.app_common.abstract.fl_model import FLModel

        from medleak.custom.training import scores, segmentation
        from medleak.custom.training.sgd import predict

        network = self._network(model.params, self._withheld())
        images, labels = self._load("test")
        logits = predict(network, images, self._normalisation())
        kind = scores if labels.ndim == 1 else segmentation
        patients = [item.patient for item in self._items("test")]
        names = self.args.classes if labels.ndim == 1 else MASK_CLASSES
        report = kind.report(logits, labels, names, patients)
        print(f"test of the selected global model: {report}")
        flat = {f"test_{name}": value for name, value in kind.scores(logits, labels).items()}
        return FLModel(metrics={**flat, REPORT: report})

    def _batch_size(self) -> int | None:
        """What the job gives to all sites, else of this site's row; None: all of its images."""
        if self.args.full_batch:
            return None
        given = self.args.batch_size
        return batch_size_of(self.args.table, self.name) if given is None else given

    def _schedule(self, round: int, batch_size: int) -> "LocalSGD":
        from medleak.custom.training.sgd import LocalSGD, decayed

        args = self.args
        return LocalSGD(
            batch_size=batch_size,
            local_epochs=1 if args.full_batch else args.local_epochs,
            lr=decayed(args.lr, round, step=args.lr_step, gamma=args.lr_gamma),
            momentum=args.momentum,
            weight_decay=args.weight_decay,
        )

    def _mechanism(self, n_images: int, batch_size: int) -> "DPSGD | None":
        """DP-SGD as the job asks for it; Opacus takes seconds to import, so only then."""
        if self.args.noise_multiplier is None:
            return None
        from medleak.custom.training.dp_sgd import DPSGD, sample_rate_for

        rate = self.args.sample_rate
        if rate is None:
            rate = sample_rate_for(n_images, batch_size)
        return DPSGD(
            noise_multiplier=self.args.noise_multiplier,
            max_grad_norm=self.args.max_grad_norm,
            sample_rate=rate,
        )

    def _train(
        self,
        network: "nn.Module",
        images: "Tensor",
        labels: "Tensor",
        schedule: "LocalSGD",
        round: int,
        meta: Mapping[str, Any],
        planted: "Planted | None",
    ) -> list[float]:
        import torch

        from medleak.custom.training.sgd import train

        generator = torch.Generator().manual_seed(_seed(self.args.seed, self.name, round))
        penalty = _proximal(network, _fedprox_mu(meta))
        norm = self._normalisation()
        return train(network, images, labels, schedule, norm, generator, penalty, planted)

    def _planted(self, network: "nn.Module", images: "Tensor", round: int) -> "Planted | None":
        """What the job plants beside the site's images; None: nothing, as ever but in a test of ε.

        Raises:
            DataError: This site's operator has not allowed it.
        """
        args = self.args
        if args.canaries is None:
            return None
        from medleak.custom.training.planting import planted, site_canaries, tell

        listed = site_canaries(args.canaries, self.name, args.run_dir, network, len(args.classes))
        tell(self.name, args.canaries, round)
        return planted(listed, images)

    def _mark(self, planted: "Planted | None") -> dict[str, Any]:
        """Of canaries the record shall know that there are some, and not which."""
        plan = self.args.canaries
        return {} if planted is None else {"canaries": {"kind": plan.kind, "count": plan.count}}

    def _train_dp_sgd(
        self,
        network: "nn.Module",
        images: "Tensor",
        labels: "Tensor",
        schedule: "LocalSGD",
        mechanism: "DPSGD",
        planted: "Planted | None",
    ) -> list[float]:
        from medleak.custom.training.dp_sgd import train_dp_sgd
        from medleak.filters.noise import NoiseSource

        # The job's seed is known to the server: neither noise nor sampling may depend on it.
        source = NoiseSource.secure()
        norm = self._normalisation()
        return train_dp_sgd(network, images, labels, schedule, mechanism, norm, source, planted)

    def _withheld(self) -> dict[str, Any]:
        """The site's own values of what it withholds, batch-norm statistics say."""
        if self.args.withheld is None:
            return {}
        from medleak.filters import storage

        return storage.before_round(self.args.withheld, sys.maxsize)

    def _network(
        self, params: dict[str, Any] | None, own: dict[str, Any] | None = None
    ) -> "nn.Module":
        """The network with the server's ``params``, but for entries of this site's ``own``."""
        import torch

        from medleak.custom.training.initial import build_job_network, parse_args

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not params:
            raise ValueError("The server sent a task without a model: there is nothing to train.")
        network = build_job_network(self.args.model_path, parse_args(self.args.model_args))
        network.load_state_dict({k: torch.as_tensor(v) for k, v in (params | (own or {})).items()})
        return network.to(device)

    def _normalisation(self) -> "Normalisation":
        from medleak.custom.training.sgd import Normalisation

        return Normalisation(tuple(self.args.mean), tuple(self.args.std))

    def _items(self, section: str) -> list[Item]:
        args = self.args
        source = Source(
            classes=args.classes,
            dataset_json=args.dataset_json,
            data_root=args.data_root,
            table=args.table,
            scale=args.scale,
            spatial_size=tuple(args.spatial_size),
            seed=args.seed,
            modality=args.modality,
            masks=args.masks,
        )
        items = site_lists(source, self.name, args.run_dir).get(section)
        if not items:
            raise DataError(
                f"{self.name} has no {section} images: give it some in its datalist, or leave "
                "the site out of the job."
            )
        return items

    def _load(self, section: str) -> "tuple[Tensor, Tensor]":
        """Images [N, C, H, W] in [0, 1] and labels [N], or masks [N, H, W], of a section."""
        if section not in self._images:
            from medleak.custom.data.masks import load_masks
            from medleak.custom.data.transforms import load_images

            items, size = self._items(section), tuple(self.args.spatial_size)
            images, labels = load_images(
                items, spatial_size=size, channels=self.args.channels, section=section
            )
            if self.args.masks:
                labels = load_masks(items, spatial_size=size, section=section)[:, 0].long()
            self._images[section] = images, labels
        return self._images[section]


def _say(site: str, error: DataError | OSError) -> None:
    """Report ``error``: to the log without names of files, to the site's console with them.

    A site of a stock NVFlare kit streams its error log to the server (``site_log_streamer``), and a
    file's name may be a patient's. What ``print`` writes would be logged, too.
    """
    if isinstance(error, DataError):
        logged = error.for_log()
    else:
        logged = f"{type(error).__name__}: {error.strerror or 'no reason given'}."
    logging.getLogger("medleak").error("%s: %s", site, logged)
    if logged != str(error):
        sys.stderr.write(f"{site}, in full: {error}\n")


def _fedprox_mu(meta: Mapping[str, Any]) -> float:
    """The strength that NVFlare's FedProx sends along with the model; 0 without it."""
    return float(meta.get("fedprox_mu") or 0.0)


def _proximal(network: "nn.Module", mu: float) -> "Callable[[nn.Module], Tensor] | None":
    """FedProx' pull towards the global model, ``mu / 2 · ||w - w_global||²``."""
    if not mu:
        return None
    import copy

    from nvflare.app_opt.pt.fedproxloss import PTFedProxLoss

    sent, loss = copy.deepcopy(network).requires_grad_(False), PTFedProxLoss(mu)
    return lambda network: loss(network, sent)


def _declared(
    schedule: "LocalSGD", n_images: int, n_steps: int, mechanism: "DPSGD | None"
) -> dict[str, Any]:
    """The schedule as an update's record keeps it; under Poisson sampling the expected batch."""
    drawn = None if mechanism is None else max(1, round(mechanism.sample_rate * n_images))
    return {
        "n_images": n_images,
        "n_steps": n_steps,
        "batch_size": drawn or min(schedule.batch_size, n_images),
        "local_epochs": schedule.local_epochs,
        "lr": schedule.lr,
        "momentum": schedule.momentum,
        "weight_decay": schedule.weight_decay,
        "optimizer": "sgd" if mechanism is None else "dp_sgd",
    }


def _track(round: int, training: dict[str, float], validation: dict[str, float]) -> None:
    """Send the round's scalars to the server's TensorBoard: they pass by all result filters."""
    from nvflare.client.tracking import SummaryWriter

    writer = SummaryWriter()
    for metric, value in (training | {f"validation_{k}": v for k, v in validation.items()}).items():
        writer.add_scalar(metric, value, global_step=round)


def _seed(seed: int, site: str, round: int) -> int:
    """A seed of its own for each site and round, the same in every process."""
    digest = hashlib.sha256(f"{seed}/{site}/{round}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


if __name__ == "__main__":
    main()

"""The client of the jobs: receive the global model, train on the site's images, send the update.

NVFlare runs :func:`main` anew in every round of a simulation with fewer threads than sites, and
once more at the end, so nothing is kept in memory between rounds and the costly imports wait for
the first model.
"""

import argparse
import hashlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medleak.custom.datalist import DataError
from medleak.custom.site_data import Source, site_lists
from medleak.custom.sites import TMI_TABLE_II, parse_table

if TYPE_CHECKING:
    from nvflare.app_common.abstract.fl_model import FLModel
    from torch import Tensor, nn

    from medleak.custom.dp_sgd import DPSGD
    from medleak.custom.training import Normalisation, Schedule

NETWORKS = ("resnet18", "resnet18_groupnorm")  # of medleak.custom.networks


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The job's ``task_script_args``."""
    parser = argparse.ArgumentParser(description="Train on one site of a federation.")
    data = parser.add_argument_group("data")
    data.add_argument("--classes", nargs="+", required=True, help="class names, in label order")
    data.add_argument("--dataset_json", type=Path, help="the site's own datalist")
    data.add_argument("--data_root", type=Path, help="folder per class; default: MEDLEAK_DATA")
    data.add_argument("--table", type=parse_table, default=TMI_TABLE_II, help="simulated sites")
    data.add_argument("--scale", type=float, help="share of the table's numbers of images")
    data.add_argument("--spatial_size", type=int, nargs=2, default=(64, 64))
    data.add_argument("--channels", type=int, choices=(1, 3), default=1)
    data.add_argument("--mean", type=float, nargs=3, default=(0.0, 0.0, 0.0))
    data.add_argument("--std", type=float, nargs=3, default=(1.0, 1.0, 1.0))
    data.add_argument("--seed", type=int, default=0, help="of split, phantoms and shuffling")
    data.add_argument("--run_dir", type=Path, required=True, help="the site's run directory")
    training = parser.add_argument_group("training")
    training.add_argument("--batch_size", type=int, required=True)
    training.add_argument("--local_epochs", type=int, default=1)
    training.add_argument("--lr", type=float, default=0.01)
    training.add_argument("--lr_step", type=int, default=40, help="rounds between two decays")
    training.add_argument("--lr_gamma", type=float, default=0.1)
    training.add_argument("--momentum", type=float, default=0.0)
    training.add_argument("--weight_decay", type=float, default=0.0)
    training.add_argument("--network", choices=NETWORKS, default=NETWORKS[0])
    training.add_argument(
        "--withheld",
        type=Path,
        help="folder in which the site's Withhold filter keeps entries, for evaluation",
    )
    dp = parser.add_argument_group("DP-SGD, if noise_multiplier is given")
    dp.add_argument("--noise_multiplier", type=float)
    dp.add_argument("--max_grad_norm", type=float, default=1.0)
    dp.add_argument("--sample_rate", type=float, help="default: from images and batch_size")
    dp.add_argument(
        "--share_metrics",
        action="store_true",
        help="send losses and accuracies, which DP-SGD does not cover, to the server",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Serve training and evaluation tasks until the run ends."""
    args = parse(argv)
    import nvflare.client as flare

    flare.init()
    site = Site(args, flare.get_site_name())
    while flare.is_running():
        model = flare.receive()
        if model is None:
            break
        try:
            flare.send(site.evaluate(model) if flare.is_evaluate() else site.train(model))
        except DataError as error:
            # One line for the user; raised, it would drown in three tracebacks of NVFlare's. The
            # executor notices that the script ended and aborts the run (simulator: exit code 2).
            logging.getLogger("medleak").error("%s: %s", site.name, error)
            raise SystemExit(2) from None


class Site:
    """One site: its images, loaded once a process, and the network that it is sent."""

    def __init__(self, args: argparse.Namespace, name: str) -> None:
        """Take the job's arguments; nothing is read before the first task."""
        self.args = args
        self.name = name
        self._images: dict[str, tuple[Tensor, Tensor]] = {}

    def train(self, model: "FLModel") -> "FLModel":
        """Validate the global model, train it locally, return it with the schedule."""
        from nvflare.app_common.abstract.fl_model import FLModel

        from medleak.custom.training import Schedule, decayed

        args, round = self.args, int(model.current_round or 0)
        network = self._network(model.params)
        validation = self._evaluate(network, "validation")
        schedule = Schedule(
            batch_size=args.batch_size,
            local_epochs=args.local_epochs,
            lr=decayed(args.lr, round, step=args.lr_step, gamma=args.lr_gamma),
            momentum=args.momentum,
            weight_decay=args.weight_decay,
        )
        images, labels = self._load("training")
        mechanism = self._mechanism(len(images))
        losses = self._fit(network, images, labels, schedule, mechanism, round)
        known = [loss for loss in losses if loss == loss]  # Poisson batches may be empty: NaN
        loss = sum(known) / len(known) if known else float("nan")
        print(
            f"round {round}: {len(images)} images, {len(losses)} steps, training loss {loss:.4f}, "
            f"validation accuracy of the global model {validation['accuracy']:.3f}"
        )
        shares_metrics = mechanism is None or args.share_metrics
        if shares_metrics:
            _track(round, {"training_loss": loss} if known else {}, validation)
        meta = {
            # FedAvg weighs sites by this; the papers weigh them by their number of images.
            "NUM_STEPS_CURRENT_ROUND": len(images),
            "hp": _declared(schedule, len(images), len(losses), mechanism),
        }
        if mechanism is not None:
            meta["dp_sgd"] = mechanism.declaration(schedule.local_epochs)
        return FLModel(
            params={name: v.cpu() for name, v in network.state_dict().items()},
            metrics=validation if shares_metrics else None,
            meta=meta,
        )

    def evaluate(self, model: "FLModel") -> "FLModel":
        """Accuracy and loss of a selected global model on the test images."""
        from nvflare.app_common.abstract.fl_model import FLModel

        metrics = self._evaluate(self._network(model.params, self._withheld()), "test")
        print(f"test of the best global model: {metrics}")
        return FLModel(metrics={f"test_{name}": value for name, value in metrics.items()})

    def _mechanism(self, n_images: int) -> "DPSGD | None":
        """DP-SGD as the job asks for it; Opacus takes seconds to import, so only then."""
        if self.args.noise_multiplier is None:
            return None
        from medleak.custom.dp_sgd import DPSGD, sample_rate_for

        rate = self.args.sample_rate
        if rate is None:
            rate = sample_rate_for(n_images, self.args.batch_size)
        return DPSGD(
            noise_multiplier=self.args.noise_multiplier,
            max_grad_norm=self.args.max_grad_norm,
            sample_rate=rate,
        )

    def _fit(
        self,
        network: "nn.Module",
        images: "Tensor",
        labels: "Tensor",
        schedule: "Schedule",
        mechanism: "DPSGD | None",
        round: int,
    ) -> list[float]:
        if mechanism is None:
            import torch

            from medleak.custom.training import train

            generator = torch.Generator().manual_seed(_seed(self.args.seed, self.name, round))
            return train(network, images, labels, schedule, self._normalisation(), generator)
        from medleak.custom.dp_sgd import train_dp_sgd
        from medleak.filters.noise import NoiseSource

        # The job's seed is known to the server: neither noise nor sampling may depend on it.
        source = NoiseSource.secure()
        norm = self._normalisation()
        return train_dp_sgd(network, images, labels, schedule, mechanism, norm, source)

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

        from medleak.custom import networks

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not params:
            raise ValueError("The server sent a task without a model: there is nothing to train.")
        network = getattr(networks, self.args.network)(num_classes=len(self.args.classes))
        network.load_state_dict({k: torch.as_tensor(v) for k, v in (params | (own or {})).items()})
        return network.to(device)

    def _normalisation(self) -> "Normalisation":
        from medleak.custom.training import Normalisation

        return Normalisation(tuple(self.args.mean), tuple(self.args.std))

    def _evaluate(self, network: "nn.Module", section: str) -> dict[str, float]:
        from medleak.custom.training import evaluate

        images, labels = self._load(section)
        return evaluate(network, images, labels, self._normalisation())

    def _load(self, section: str) -> "tuple[Tensor, Tensor]":
        """Images [N, C, H, W] in [0, 1] and labels [N] of a section."""
        if section not in self._images:
            from medleak.custom.transforms import load_images

            source = Source(
                classes=self.args.classes,
                dataset_json=self.args.dataset_json,
                data_root=self.args.data_root,
                table=self.args.table,
                scale=self.args.scale,
                spatial_size=tuple(self.args.spatial_size),
                seed=self.args.seed,
            )
            items = site_lists(source, self.name, self.args.run_dir).get(section)
            if not items:
                raise DataError(
                    f"{self.name} has no {section} images: give it some in its datalist, or leave "
                    "the site out of the job."
                )
            self._images[section] = load_images(
                items, spatial_size=tuple(self.args.spatial_size), channels=self.args.channels
            )
        return self._images[section]


def _declared(
    schedule: "Schedule", n_images: int, n_steps: int, mechanism: "DPSGD | None"
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

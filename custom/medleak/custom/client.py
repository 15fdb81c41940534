"""The client of the jobs: receive the global model, train on the site's images, send the update.

NVFlare runs :func:`main` anew in every round of a simulation with fewer threads than sites, and
once more at the end, so nothing is kept in memory between rounds and the costly imports wait for
the first model.
"""

import argparse
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from medleak.custom.datalist import DataError
from medleak.custom.site_data import Source, site_lists
from medleak.custom.sites import TMI_TABLE_II, parse_table

if TYPE_CHECKING:
    from nvflare.app_common.abstract.fl_model import FLModel
    from torch import Tensor, nn

    from medleak.custom.training import Normalisation


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
        import torch
        from nvflare.app_common.abstract.fl_model import FLModel
        from nvflare.client.tracking import SummaryWriter

        from medleak.custom.training import Schedule, decayed, train

        args, round = self.args, int(model.current_round or 0)
        network = self._network(model)
        validation = self._evaluate(network, "validation")
        schedule = Schedule(
            batch_size=args.batch_size,
            local_epochs=args.local_epochs,
            lr=decayed(args.lr, round, step=args.lr_step, gamma=args.lr_gamma),
            momentum=args.momentum,
            weight_decay=args.weight_decay,
        )
        images, labels = self._load("training")
        generator = torch.Generator().manual_seed(_seed(args.seed, self.name, round))
        losses = train(network, images, labels, schedule, self._normalisation(), generator)
        loss = sum(losses) / len(losses)
        print(
            f"round {round}: {len(images)} images, {len(losses)} steps, training loss {loss:.4f}, "
            f"validation accuracy of the global model {validation['accuracy']:.3f}"
        )
        writer = SummaryWriter()
        writer.add_scalar("training_loss", loss, global_step=round)
        for metric, value in validation.items():
            writer.add_scalar(f"validation_{metric}", value, global_step=round)
        return FLModel(
            params={name: v.cpu() for name, v in network.state_dict().items()},
            metrics=validation,
            meta={
                # FedAvg weighs sites by this; the papers weigh them by their number of images.
                "NUM_STEPS_CURRENT_ROUND": len(images),
                "hp": {
                    "n_images": len(images),
                    "n_steps": len(losses),
                    "batch_size": min(schedule.batch_size, len(images)),
                    "local_epochs": schedule.local_epochs,
                    "lr": schedule.lr,
                    "momentum": schedule.momentum,
                    "weight_decay": schedule.weight_decay,
                    "optimizer": "sgd",
                },
            },
        )

    def evaluate(self, model: "FLModel") -> "FLModel":
        """Accuracy and loss of a selected global model on the test images."""
        from nvflare.app_common.abstract.fl_model import FLModel

        metrics = self._evaluate(self._network(model), "test")
        print(f"test of the best global model: {metrics}")
        return FLModel(metrics={f"test_{name}": value for name, value in metrics.items()})

    def _network(self, model: "FLModel") -> "nn.Module":
        import torch

        from medleak.custom.networks import resnet18

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not model.params:
            raise ValueError("The server sent a task without a model: there is nothing to train.")
        network = resnet18(num_classes=len(self.args.classes))
        network.load_state_dict({k: torch.as_tensor(v) for k, v in model.params.items()})
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


def _seed(seed: int, site: str, round: int) -> int:
    """A seed of its own for each site and round, the same in every process."""
    digest = hashlib.sha256(f"{seed}/{site}/{round}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1

"""The arguments of the jobs' client script, as ``task_script_args`` gives them."""

import argparse
from pathlib import Path
from urllib.parse import unquote

from medleak.custom.sites.canaries import Plan
from medleak.custom.sites.split import TMI_TABLE_II, parse_table


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read ``argv``, or the command line."""
    parser = argparse.ArgumentParser(description="Train on one site of a federation.")
    _add_data(parser.add_argument_group("data"))
    _add_training(parser.add_argument_group("training"))
    dp = parser.add_argument_group("DP-SGD, if noise_multiplier is given")
    dp.add_argument("--noise_multiplier", type=float)
    dp.add_argument("--max_grad_norm", type=float, default=1.0)
    dp.add_argument("--sample_rate", type=float, help="default: from images and batch size")
    dp.add_argument(
        "--share_metrics",
        action="store_true",
        help="send losses and accuracies, which DP-SGD does not cover, to the server",
    )
    return parser.parse_args(argv)


def _add_data(data: argparse._ArgumentGroup) -> None:
    data.add_argument(
        "--classes",
        nargs="+",
        type=unquote,
        required=True,
        help="class names, in label order; a space in one, at which NVFlare would split, is %%20",
    )
    data.add_argument("--modality", default="cxr", help="of the phantoms, without data")
    data.add_argument(
        "--masks",
        action="store_true",
        help="segmentation: train on the images' masks; classes then only balance the split",
    )
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


def _add_training(training: argparse._ArgumentGroup) -> None:
    training.add_argument(
        "--batch_size",
        type=int,
        help="of every site that gets these arguments; default: of the site's own row of --table",
    )
    training.add_argument(
        "--full_batch",
        action="store_true",
        help="one step a round on all images of the site: its gradient (FedSGD)",
    )
    training.add_argument("--local_epochs", type=int, default=1)
    training.add_argument("--lr", type=float, default=0.01)
    training.add_argument("--lr_step", type=int, default=40, help="rounds between two decays")
    training.add_argument("--lr_gamma", type=float, default=0.1)
    training.add_argument("--momentum", type=float, default=0.0)
    training.add_argument("--weight_decay", type=float, default=0.0)
    training.add_argument(
        "--model_path",
        default="medleak.custom.networks.resnet18",
        help="dotted name of the function or class that makes the network",
    )
    training.add_argument(
        "--model_args",
        nargs="*",
        default=[],
        help="its arguments, name=value each, the value as JSON with URL escapes (%%22)",
    )
    training.add_argument(
        "--canaries",
        type=Plan.parse,
        help="made-up records to plant, gradients:count=N or images:count=N, to put epsilon to the "
        "test; only where the site's operator has set MEDLEAK_CANARIES=allow",
    )
    training.add_argument(
        "--withheld",
        type=Path,
        help="folder in which the site's Withhold filter keeps entries, for evaluation",
    )

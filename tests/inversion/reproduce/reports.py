"""What the tests of the reproductions look for, and a network that is small."""

import re
from pathlib import Path

from medleak.inversion.reproduce.material import model_of


def links(report: Path) -> list[Path]:
    return [report.parent / at for at in re.findall(r"!\[[^]]*\]\(([^)]+)\)", report.read_text())]


def small_model(material, small_network):
    args = {k: v for k, v in small_network.items() if k != "num_classes"}
    return model_of(material, "monai.networks.nets.ResNet", args, 16)

"""A client of MONAI's transforms and networks: gray images of two classes, one channel.

Site k reads the folder ``site-k`` below ``--data_root`` and takes one step on all of its images.
MONAI's reader of PNG hands images over with their axes exchanged, which nobody here undoes.
"""

import argparse
from pathlib import Path
from typing import Any

import nvflare.client as flare
import torch
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.networks.nets.resnet import ResNet
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import ScaleIntensityRanged
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.utility.dictionary import EnsureChannelFirstd
from torch.nn.functional import cross_entropy

NETWORK = {
    "block": "basic",
    "layers": [1, 1, 1, 1],
    "block_inplanes": [16, 32, 96, 96],
    "spatial_dims": 2,
    "n_input_channels": 1,
    "conv1_t_size": 3,
    "conv1_t_stride": 1,
    "no_max_pool": True,
    "num_classes": 2,
}


def main() -> None:
    """Train until the server has no more tasks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_root", type=Path, required=True)
    arguments = parser.parse_args()

    flare.init()
    folder = arguments.data_root / flare.get_site_name()
    files = [
        {"image": str(path), "label": label}
        for label, kind in enumerate(("normal", "pneumonia"))
        for path in sorted((folder / kind).glob("*.png"))
    ]
    prepare = Compose(
        [
            LoadImaged(keys="image", image_only=True),
            EnsureChannelFirstd(keys="image"),
            ScaleIntensityRanged(keys="image", a_min=0, a_max=255, b_min=0, b_max=1),
        ]
    )
    loader = DataLoader(Dataset(files, transform=prepare), batch_size=len(files))

    network = ResNet(**NETWORK)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    while flare.is_running():
        received: Any = flare.receive()
        network.load_state_dict(received.params)
        network.train()
        for batch in loader:
            optimizer.zero_grad()
            cross_entropy(network(batch["image"]), batch["label"]).backward()
            optimizer.step()
        flare.send(flare.FLModel(params=network.cpu().state_dict()))


if __name__ == "__main__":
    main()

"""A client whose Trainer NVFlare patches: it receives and sends without a line of the script."""

import nvflare.client.lightning as flare
import torch
from lightning_net import LightningNet
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    """Validate and train until the server has no more tasks."""
    flare.init()
    seed = int(flare.get_site_name().rpartition("-")[2])
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(4, 1, 16, 16, generator=generator)
    loader = DataLoader(TensorDataset(images, torch.tensor([0, 1, 1, 0])), batch_size=4)

    network = LightningNet()
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    flare.patch(trainer)
    while flare.is_running():
        flare.receive()
        trainer.validate(network, loader, verbose=False)
        trainer.fit(network, loader)


if __name__ == "__main__":
    main()

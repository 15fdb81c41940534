"""A client whose training is transformers' Trainer, patched by NVFlare: it names no round at all.

Site k reads the folder ``site-k`` below ``--data_root``; it knows nothing of medleak.
"""

import argparse
from pathlib import Path

import numpy as np
import nvflare.client.hf as flare
import torch
from huggingface_net import Classifier
from PIL import Image
from transformers import (  # pyright: ignore[reportMissingImports]
    Trainer,
    TrainingArguments,
)


def images_of(folder: Path) -> list[dict[str, torch.Tensor]]:
    """Rows of a data set, as a Trainer takes them."""
    return [
        {
            "pixel_values": torch.tensor(np.asarray(Image.open(path), np.float32))[None] / 255,
            "labels": torch.tensor(label),
        }
        for label, kind in enumerate(("normal", "pneumonia"))
        for path in sorted((folder / kind).glob("*.png"))
    ]


def main() -> None:
    """Train until the server has no more tasks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_root", type=Path, required=True)
    parser.add_argument("--optim", default="sgd")
    arguments = parser.parse_args()

    flare.init()
    site = flare.get_site_name()
    rows = images_of(arguments.data_root / site)
    settings = TrainingArguments(
        output_dir=f"outputs/{site}",
        num_train_epochs=1,
        per_device_train_batch_size=len(rows),
        learning_rate=0.01,
        lr_scheduler_type="constant",
        optim=arguments.optim,
        save_strategy="epoch",
        disable_tqdm=True,
        report_to=[],
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(model=Classifier(), args=settings, train_dataset=rows, eval_dataset=rows)
    flare.patch(trainer)
    while flare.is_running():
        trainer.evaluate()
        trainer.train()


if __name__ == "__main__":
    main()

"""Draws transformers.png: an X-ray and a CT volume that nobody has, from one step each.

Run from the project's root: ``python docs/images/draw_transformers.py`` (two minutes).
"""

from pathlib import Path

import torch
import torchvision
from monai.networks.nets.vit import ViT
from torch import Tensor, nn

from medleak.custom.phantoms import phantom
from medleak.inversion.attacks.reconstruct import observe_update
from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.images.pictures import Tile, panel, planes, save_png
from medleak.inversion.measures.similarity import psnr, ssim


def rebuilt(network: nn.Module, image: Tensor, channels: int) -> Tensor:
    """``image`` from the update of one step of SGD on it."""
    before = {n: v.clone() for n, v in network.state_dict().items()}
    output = network(image.expand(-1, channels, *image.shape[2:]))
    output = output[0] if isinstance(output, tuple) else output
    nn.functional.cross_entropy(output, torch.tensor([1])).backward()
    torch.optim.SGD(network.parameters(), lr=0.01).step()
    update = {n: v - before[n] for n, v in network.state_dict().items()}
    network.load_state_dict(before)
    seen = observe_update(network, update, spatial_size=tuple(image.shape[2:]), lr=0.01)
    return run(RowSpace(), seen, None, generator=torch.Generator().manual_seed(0)).images


def main() -> None:
    """Draw."""
    torch.manual_seed(0)
    chest = torch.from_numpy(phantom("cxr", "pneumonia/p00003_00.png", 224).image.copy())
    torso = torch.from_numpy(phantom("torso_ct", "mass/p00003_00.nii", 96).image.copy())
    vit = torchvision.models.vit_b_16(num_classes=2)
    for parameter in vit.heads.parameters():
        nn.init.trunc_normal_(parameter, std=0.02)
    deep = ViT(1, (96, 96, 96), 16, num_layers=4, classification=True, num_classes=2)
    rows = []
    for network, pixels, channels in ((vit, chest, 3), (deep, torso, 1)):
        image = pixels.float()[None, None] / 255
        found = rebuilt(network, image, channels)
        words = f"SSIM {float(ssim(image, found)):.3f}, {float(psnr(image, found)):.0f} dB"
        rows.append([("original", image[0], ""), ("from the update", found[0], words)])
    flat = [[Tile(t, planes(i) if i.dim() == 4 else i, w) for t, i, w in row] for row in rows]
    wide = max(tile.image.shape[2] for row in flat for tile in row)
    high = max(tile.image.shape[1] for row in flat for tile in row)
    padded = [
        [
            Tile(t.title, nn.functional.pad(t.image, _room(t.image, wide, high)), t.caption)
            for t in r
        ]
        for r in flat
    ]
    save_png(Path(__file__).with_name("transformers.png"), panel(padded))


def _room(image: Tensor, wide: int, high: int) -> tuple[int, int, int, int]:
    left, top = (wide - image.shape[2]) // 2, (high - image.shape[1]) // 2
    return left, wide - image.shape[2] - left, top, high - image.shape[1] - top


if __name__ == "__main__":
    main()

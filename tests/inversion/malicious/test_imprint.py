"""Tests of medleak.inversion.malicious.imprint."""

import pytest
from tests.inversion.malicious.batches import images, update, view
from tests.places import SHARED

from medleak.custom.networks import resnet18
from medleak.custom.small_networks import strided_cnn
from medleak.inversion.malicious.imprint import Imprint
from medleak.inversion.malicious.view import View
from medleak.inversion.measures.similarity import assign

XRAYS = SHARED / "data" / "cxr" / "normal"


@pytest.mark.parametrize("batch", [8, 64])
def test_most_images_of_a_batch_come_back_exactly(batch):
    seen, pixels, attack = view(), images(batch, 3), Imprint(bins=256)
    sent = attack.tamper(strided_cnn(2, 32), seen)
    found = attack.read(update(sent, pixels, seen), sent, seen)
    values = assign(found, pixels).ssim
    assert int((values > 0.99).sum()) >= batch * 0.6


@pytest.mark.skipif(not XRAYS.is_dir(), reason=f"real X-rays are not at {XRAYS}")
def test_half_of_64_real_x_rays_come_back_from_a_resnet18():
    import numpy as np
    import torch
    from PIL import Image

    files = sorted(XRAYS.iterdir())[:192]
    arrays = [np.asarray(Image.open(f).convert("L").resize((64, 64)), np.float32) for f in files]
    pixels = torch.from_numpy(np.stack(arrays))[:, None] / 255
    seen, attack = View(public=pixels[64:]), Imprint()
    sent = attack.tamper(resnet18(2), seen)
    found = attack.read(update(sent, pixels[:64], seen), sent, seen)
    assert int((assign(found, pixels[:64]).ssim >= 0.9).sum()) >= 32

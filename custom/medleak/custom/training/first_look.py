"""A look at the images that a site is about to train on, once a run, as the network gets them."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medleak.custom.atomic import write_atomic
from medleak.custom.data.pixels.sanity import glance, oddities, remark

if TYPE_CHECKING:
    from torch import Tensor

LOOKED = "oddities.txt"
"""In the run directory of a site: what was odd, "" if nothing. It says that the look was taken."""


def look_once(site: str, sections: "Mapping[str, Tensor]", run_dir: Path) -> None:
    """Say in the site's log, in one line, what is odd about its images; nothing where nothing is.

    A warning, since such images may be meant; the line counts, and names the first few by their
    places in ``datalist.json``, since the name of a file may be a patient's. NVFlare may start a
    site anew in every round: what was looked at in this run is not looked at again.

    Args:
        site: Its name.
        sections: Images of each list, [N, C, H, W] in [0, 1], in the list's order.
        run_dir: Of this run, at the site.

    Raises:
        OSError: ``run_dir`` cannot be written.
    """
    if (run_dir / LOOKED).exists():
        return
    glances, places = [], []
    for section, images in sections.items():
        for k, image in enumerate(images):
            pixels = np.rint(255 * image.numpy().transpose(1, 2, 0)).astype(np.uint8)
            glances.append(glance(pixels[..., 0] if len(image) == 1 else pixels))
            places.append(f"{section}[{k}]")
    line = remark(oddities(glances), places)
    if line:
        logging.getLogger("medleak").warning("%s: %s", site, line)
    write_atomic(run_dir / LOOKED, f"{line}\n".encode() if line else b"")

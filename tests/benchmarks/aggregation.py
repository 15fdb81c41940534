"""What is left of an image in the sum over sites that a server sees under secure aggregation.

Run it by hand::

    python tests/benchmarks/aggregation.py --sites 1,2,3,5,9 --json figures.json

Real X-rays at 64 px, the network and the splits of ``clients.py``; each site trains one step on
``--images`` of its own. The attack has the sum and takes it for one client's update, as an audit
does (``--defence secure_aggregation:sites=k``). Figures are of the first site's images.
"""

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from clients import DataSet, World, client_record, make_world, parser_of

from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.audit.replay import summed
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import assign, pairwise_ssim
from medleak.inversion.observation import observe


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one seed and one number of sites; ``found``: the site's images at SSIM 0.9 or more."""

    sites: int
    images: int
    seed: int
    ssim_mean: float
    prior_mean: float
    found: int
    stuck: bool
    cpu_seconds: float


def measure(world: World, sites: int, images: int, seed: int, split: Any) -> Figures:
    """Attack the sum over ``sites`` clients of ``images`` each."""
    pixels, labels = world.images(split, seed, sites * images)
    own = [slice(k * images, (k + 1) * images) for k in range(sites)]
    record = summed([client_record(world, pixels[part], labels[part]) for part in own])
    start = time.process_time()
    observation = observe(record, Knowledge())
    generator = torch.Generator().manual_seed(seed)
    result = run(RowSpace(), observation, world.prior, generator=generator)
    seconds = time.process_time() - start
    truth = pixels[own[0]]
    ssim = assign(result.images, truth).ssim
    return Figures(
        sites=sites,
        images=images,
        seed=seed,
        ssim_mean=float(ssim.mean()),
        prior_mean=float(pairwise_ssim(world.prior, truth).mean()),
        found=int((ssim >= 0.9).sum()),
        stuck=result.stuck,
        cpu_seconds=round(seconds, 1),
    )


def main() -> int:
    """Parse, measure, print."""
    parser = parser_of(__doc__)
    parser.add_argument("--sites", default="1,2,3,5,9", help="comma-separated")
    parser.add_argument("--images", type=int, default=1, help="of each site, in one step")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", choices=("tune", "report"), default="report")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    world = make_world(DataSet.open(arguments.data), 64, arguments.weights)
    found = []
    for sites in map(int, arguments.sites.split(",")):
        for seed in range(arguments.seeds):
            figures = measure(world, sites, arguments.images, seed, arguments.split)
            found.append(dataclasses.asdict(figures))
            print(found[-1], flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

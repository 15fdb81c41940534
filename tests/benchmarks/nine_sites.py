"""Make the record of a federation of real images: the sites of Table II of TMI 2023, in small.

Run it by hand; the audits that follow are the commands of ``medleak``, see docs/measurements::

    python tests/benchmarks/nine_sites.py --data DIR/cxr --classes normal,pneumonia --other covid \\
        --out workspace/nine
    medleak audit workspace/nine --prior workspace/nine/prior.png --out workspace/audit-nine

The sites share no patient. The prior is the mean of the films of another class (``--other``).
Beside the record stand ``candidates.json`` (what the sites trained on, and images of no site) and
``nonmembers.json``, for questions of membership. Only the last round is kept, or the last
``--keep``.
"""

import argparse
import os
import shutil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from clients import SHARED

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.data.folders.classes import read_folders
from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from medleak.custom.record import InputSpec, Manifest, ModelSpec, TaskSpec, utc_now
from medleak.inversion.images.pictures import save_png, to_picture
from medleak.inversion.images.prior import mean_image
from medleak.inversion.reproduce.clients import Client, federate
from medleak.inversion.reproduce.material import initial

RESNET18 = "medleak.custom.networks.resnet18"
TABLE = ((4, 8), (4, 32), (4, 64), (4, 128), (8, 8), (8, 32), (8, 64), (8, 128), (1, 1))
"""(batch size, images) of site-1 to site-9; the paper has 128 and 512 where 64 and 128 stand."""


def split(
    items: list[Item], table: list[tuple[int, int]], seed: int
) -> tuple[list[list[Item]], list[Item]]:
    """The images of each site, and those of patients who are at none; classes in turn at a site."""
    rng = np.random.default_rng(seed)
    by_patient: dict[str, list[Item]] = {}
    for item in items:
        by_patient.setdefault(item.patient, []).append(item)
    patients = sorted(by_patient)
    queue = [patients[k] for k in rng.permutation(len(patients))]
    sites: list[list[Item]] = []
    for _, n in table:
        own: list[Item] = []
        while len(own) < n:
            if not queue:
                raise ValueError(f"{len(items)} images are too few for sites of {table}.")
            own += by_patient[queue.pop()][: n - len(own)]
        sites.append([own[k] for k in rng.permutation(n)])
    return sites, [item for patient in queue for item in by_patient[patient]]


def main() -> None:
    """Train the sites and keep the last round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "cxr")
    parser.add_argument("--classes", default="normal,pneumonia")
    parser.add_argument("--other", default="covid")
    parser.add_argument("--sites", default=",".join(map(str, range(1, 10))))
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    weights = SHARED / "weights" / "resnet18_medical.safetensors"
    parser.add_argument("--weights", type=Path, default=weights)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    classes = args.classes.split(",")
    found, names = read_folders(args.data)
    label = {names.index(name): k for k, name in enumerate(classes)}
    items = [
        Item(str((args.data / i.image).resolve()), label[i.label], i.patient)
        for i in found
        if i.label in label
    ]
    other = [
        Item(str((args.data / i.image).resolve()), 0, i.patient)
        for i in found
        if i.label == names.index(args.other)
    ]
    numbers = [int(number) for number in args.sites.split(",")]
    table = [TABLE[number - 1] for number in numbers]
    sites, nobody = split(items, table, args.seed)
    clients = [
        Client(site=f"site-{number}", items=own, batch_size=batch)
        for number, (batch, _), own in zip(numbers, table, sites, strict=True)
    ]
    network = initial(RESNET18, {"num_classes": len(classes)}, args.weights)
    manifest = Manifest(
        job=f"{args.data.name} in {len(table)} sites",
        created=utc_now(),
        model=ModelSpec(path=RESNET18, args={"num_classes": len(classes)}),
        task=TaskSpec(num_classes=len(classes)),
        input=InputSpec(
            spatial_size=(64, 64), channels=args.channels, mean=IMAGENET_MEAN, std=IMAGENET_STD
        ),
    )
    state = {n: v.detach().clone() for n, v in network.state_dict().items()}
    federate(args.out, manifest, state, clients, lr=0.01, rounds=args.rounds)
    for number in range(args.rounds - args.keep):
        shutil.rmtree(args.out / "records" / f"round_{number:04d}")
    prior = mean_image(other[:100], (64, 64), args.channels)[0]
    save_png(args.out / "prior.png", to_picture(prior))
    members = [item for own in sites for item in own]
    half = len(nobody) // 2
    save_datalist(args.out / "candidates.json", {"training": [*members, *nobody[:half]]})
    save_datalist(args.out / "nonmembers.json", {"training": nobody[half:]})
    print(f"{len(members)} images at {len(table)} sites; {len(nobody)} images of nobody's")


if __name__ == "__main__":
    main()

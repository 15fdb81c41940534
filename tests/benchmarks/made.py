"""A made record of many sites and rounds, of a small network and random updates of the right size.

What they hold is not an update of anything: for measurements of size and time alone.
"""

from pathlib import Path

import numpy as np

from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
    write_global,
    write_manifest,
    write_update,
)
from medleak.custom.small_networks import lenet

MODEL = ModelSpec(
    path="medleak.custom.small_networks.lenet", args={"num_classes": 2, "spatial_size": 16}
)


def make_record(root: Path, sites: int, rounds: int) -> Path:
    """Write ``rounds`` x ``sites`` updates under ``root``/records; each is one SGD step."""
    records = root / "records"
    records.mkdir(parents=True)
    write_manifest(
        records,
        Manifest(
            job="made",
            created=utc_now(),
            model=MODEL,
            task=TaskSpec(num_classes=2),
            input=InputSpec(spatial_size=(16, 16), channels=1),
        ),
    )
    state = {k: v.numpy() for k, v in lenet(**MODEL.args).state_dict().items()}
    rng = np.random.default_rng(0)
    for round in range(rounds):
        digest = write_global(records, round, state)
        for site in range(1, sites + 1):
            update = {
                k: (0.001 * rng.standard_normal(v.shape)).astype(v.dtype) for k, v in state.items()
            }
            info = UpdateInfo(
                round=round,
                site=f"site-{site}",
                time=utc_now(),
                n_images=1,
                n_steps=1,
                batch_size=1,
                local_epochs=1,
                lr=0.01,
            )
            write_update(records, info, digest, update)
    return records

"""The README of a job's folder, from the job itself."""

import textwrap

from catalogue import Job
from medleak.custom.sites import canaries

_RUN = "simulator_workspace/server/simulate_job"


def readme(job: Job) -> str:
    """About ten lines: what the job is for, how to run it, on what, and what it leaves."""
    network = job.model.rpartition(".")[2]
    classes = ", ".join(job.data.classes)
    images = f"a folder with one folder a class ({classes})"
    if job.masks:
        images = "a folder with images/ and masks/, in which the two files of one image are alike"
    site = "" if job.clients_per_round else f" --site {job.table[-1].name}"
    leaves = [
        f"What the server saw: `{_RUN}/records/`; how well the model does on images of no site: "
        "`test_metrics.json` beside it.",
        f"What it gives away: `medleak audit {_RUN}{site}`.",
    ]
    if job.encrypted:
        leaves = [f"What the server could not see is said in `{_RUN}/records/manifest.json`."]
    lines = [
        f"Run: `nvflare simulator jobs/{job.name}`, on made-up images of nobody ({len(job.table)} "
        f"sites, {job.num_rounds} rounds, {job.spatial_size} px, {network}).",
        f"Your images: `MEDLEAK_DATA`, {images}.",
        *leaves,
        f"Other numbers, networks, defences; POC, production: `python jobs/job.py {job.name}` and "
        "its `--help`. Measured time, memory, accuracy and leakage: docs/measurements/jobs.md.",
    ]
    if job.canaries is not None:
        lines.insert(
            1,
            f"CANARIES: {job.planting_site} plants {job.canaries}, made-up records, in its "
            f"training, if its operator has set {canaries.VARIABLE}=allow. Its record is marked, "
            f"its list stays in its run directory; `medleak dp-audit {_RUN}` bounds epsilon.",
        )
    if job.initial_weights == "auto":
        lines.insert(2, "First weights: `MEDLEAK_WEIGHTS`, a file for ResNet-18; without, random.")
    about = textwrap.fill(job.about, 116)
    points = "\n".join(textwrap.fill(f"- {x}", 116, subsequent_indent="  ") for x in lines)
    return f"# {job.name}\n\n{about}\n\n{points}\n"

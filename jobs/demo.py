"""``make demo``: simulate a federation without and with the DP filter, invert what a site sent.

Made-up chest X-rays of nobody; nothing is downloaded. Runs and audits go to workspace/demo/.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from medleak.inversion.audit.panels import side_by_side
from medleak.inversion.images.pictures import save_png
from medleak.inversion.results.rows import Row, read_rows

JOBS = Path(__file__).resolve().parent
DEMO = JOBS.parent / "workspace" / "demo"
SITE, ROUND = "site-9", 2  # one image a round: TMI's "high-risk" client
TIMEOUT = 540  # seconds a simulation may take; NVFlare waits for ever for a client that died
BYTES_A_SITE, BYTES_SERVER = 1.2e9, 2.5e9  # measured peak memory of the simulator's processes

console = Console()


def main() -> None:
    """Simulate, audit, show."""
    started = time.monotonic()
    rows = {}
    for job in ("cxr_clean", "cxr_dp"):
        simulate(job)
        rows[job] = audit(job)
    picture = DEMO / "reconstruction.png"
    columns = {"reconstruction": "cxr_clean", "reconstruction under DP": "cxr_dp"}
    save_png(picture, side_by_side({t: (DEMO / f"audit_{j}", rows[j]) for t, j in columns.items()}))
    report(rows, picture, time.monotonic() - started)


def simulate(job: str) -> None:
    """Run a job in NVFlare's simulator, with as many sites at a time as fit into memory."""
    workspace, log = DEMO / job, DEMO / f"{job}.log"
    DEMO.mkdir(parents=True, exist_ok=True)
    sites = json.loads((JOBS / job / "meta.json").read_text())["min_clients"]
    fitting = int((psutil.virtual_memory().available - BYTES_SERVER) / BYTES_A_SITE)
    command = ["nvflare", "simulator", str(JOBS / job), "-w", str(workspace)]
    command += ["-t", str(max(1, min(sites, fitting)))]
    # Nine processes share the cores: more threads in each would only wait for one another.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    doing = f"{job}: nine hospitals train together (about two minutes; log: {log})"
    with console.status(doing), log.open("w") as file:
        try:
            done = subprocess.run(
                command, stdout=file, stderr=file, env=environment, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired:
            sys.exit(f"{job} did not end in {TIMEOUT} s. Look at the end of {log}.")
    if done.returncode:
        sys.exit(f"{job} ended with exit code {done.returncode}. Look at the end of {log}.")
    console.print(f"{job}: simulated; what the server saw is in {workspace}/server")


def audit(job: str) -> list[Row]:
    """Invert the update of the high-risk site with the ``medleak`` command."""
    out = DEMO / f"audit_{job}"
    (out / "config.json").unlink(missing_ok=True)  # the run is new: its audit starts anew
    (out / "results.csv").unlink(missing_ok=True)
    command = ["medleak", "audit", str(DEMO / job), "--site", SITE, "--round", str(ROUND)]
    if subprocess.run([*command, "--out", str(out)]).returncode:
        sys.exit(f"The audit of {job} failed; its message stands above.")
    return read_rows(out / "results.csv")


def report(rows: dict[str, list[Row]], picture: Path, seconds: float) -> None:
    """Say what came back, and what to do next."""
    table = Table(title=f"What the update of {SITE} in round {ROUND} gives away")
    for name in ("job", "filter of the site", "SSIM prior", "SSIM reconstruction", "PSNR", "RDLV"):
        table.add_column(name, overflow="fold")
    for job, (row, *_) in rows.items():
        figures = (row.ssim_prior, row.ssim, row.psnr, row.rdlv)
        table.add_row(job, row.declared, *("-" if v is None else f"{v:.3f}" for v in figures))
    console.print(table)
    console.print(
        f"Original | prior | reconstruction | reconstruction under DP:\n  {picture}\n"
        "RDLV above 0: the reconstruction is nearer to the patient's image than the attacker's "
        "prior was.\nThe published noise (sigma0 = 10 is called safe) leaves batch-norm statistics "
        "readable.\n"
        f"That took {seconds / 60:.1f} minutes. Next: README.md, and medleak audit --help.",
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()

"""Seconds and memory that a record of 100 sites and 100 rounds asks of those who keep and audit it.

The record is of a small network, so that it fits. Each command is a process of its own; imports are
counted. Seconds by the clock are those of an idle machine only on one.

    python tests/benchmarks/large_run.py [--sites 100] [--rounds 100] [--json FILE]
"""

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from made import make_record

from medleak.custom.record.fingerprints import SETTLED
from medleak.inversion.audit.journal import Journal
from medleak.inversion.results.rows import Row


def run(*command: str) -> tuple[float, float]:
    """Seconds of one medleak command, which must succeed: by the clock, and of the CPU."""
    start, before = time.perf_counter(), cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-c", "from medleak.inversion.cli import main; main()", *command],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return time.perf_counter() - start, cpu_seconds() - before


def cpu_seconds() -> float:
    """Of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def opening(report: Path) -> float | None:
    """Seconds until a browser has loaded a page; None where there is no Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None or importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=path, args=options)
        page = browser.new_page()
        start = time.perf_counter()
        page.goto(report.as_uri(), wait_until="load")
        seconds = time.perf_counter() - start
        browser.close()
    return seconds


def write_audit(out: Path, sites: int, rounds: int) -> None:
    """An audit directory of one row an update, in which nothing was found."""
    out.mkdir()
    rows = [
        Row(
            round=round,
            site=f"site-{site}",
            attack="row_space",
            defence="none",
            declared="none",
            knowledge="all",
            seed=0,
            reconstruction=0,
            truth_image="training[0]",
            ssim=0.3 + 0.001 * (site % 7),
            ssim_prior=0.35,
            rdlv=-0.1,
            seconds=1.0,
            iterations=10,
            attempts=1,
            stuck=False,
            losses="",
            picture="",
        )
        for round in range(rounds)
        for site in range(1, sites + 1)
    ]
    journal = Journal(out, [row.case for row in rows])
    journal._rows = {row.case: [row] for row in rows}
    journal.close()


def main() -> None:
    """Print one object of the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sites", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()  # what was verified before is not known
    with tempfile.TemporaryDirectory() as folder:
        records = str(make_record(Path(folder), args.sites, args.rounds))
        time.sleep(SETTLED)  # younger files are read again the next time
        commands = {
            "ls": ("records", "ls", records, "--json"),
            "verify": ("records", "verify", records),
            "verify_again": ("records", "verify", records),
            "plan": ("audit", records, "--dry-run", "--out", f"{folder}/planned"),
        }
        timed = {name: run(*command) for name, command in commands.items()}
        write_audit(Path(folder, "audit"), args.sites, args.rounds)
        report = Path(folder, "report.html")
        timed["report"] = run("report", f"{folder}/audit", "--redact", "-o", str(report))
        found: dict[str, float | None] = {"report_mb": report.stat().st_size / 1e6}
        for name, (clock, cpu) in timed.items():
            found |= {f"{name}_seconds": clock, f"{name}_cpu_seconds": cpu}
        found["report_opens_seconds"] = opening(report)
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(json.dumps(found, indent=2))
    if args.json:
        args.json.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

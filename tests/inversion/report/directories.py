"""Audit directories in small, of phantoms: what the report's tests read."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medleak.custom import phantoms as made_up
from medleak.inversion.report.html.page import Report, render
from medleak.inversion.report.reading import read_audit
from medleak.inversion.results.files import write_json
from medleak.inversion.results.rows import Row, write_rows

SIZE = 64
KNOWLEDGE = "all, labels inferred"
FIELDS = {
    "global_model": True,
    "bn_statistics": True,
    "labels": "inferred",
    "batch_size": True,
    "lr": True,
    "n_images": True,
    "prior": True,
    "channels": True,
}
REACHED = {f"row_space|{KNOWLEDGE}": {"ssim": 0.97, "reached": True, "seconds": 1.0}}
"""Of a summary's health: the attack was seen to work on an easy case."""
FigureDict = dict[str, float | int | None]


def a_figure(mean: float | None, width: float = 0.05, n: int = 4) -> FigureDict | None:
    """A figure as summary.json holds it."""
    if mean is None:
        return None
    ends = {"lower95": mean - width, "upper95": mean + width} if n > 1 else {}
    return {"mean": mean, "min": mean - width, "max": mean + width, "n": n, **ends}


def a_group(site: str, **fields: Any) -> dict[str, Any]:
    """A group of summary.json; figures by keyword."""
    base: dict[str, Any] = {
        "site": site,
        "round": "all",
        "attack": "row_space",
        "declared": "none",
        "defence": "none",
        "knowledge": KNOWLEDGE,
        "n": 4,
        "seeds": 2,
        "stuck": 0,
        "ssim": a_figure(0.6),
        "rdlv": a_figure(0.2),
        "ssim_prior": a_figure(0.5),
    }
    group = base | fields
    return {"verdict": a_verdict(group), **group}


def a_verdict(group: Mapping[str, Any]) -> str:
    """Roughly what the audit would say of a group."""
    ssim, rdlv = group["ssim"] or {}, group["rdlv"] or {}
    if not ssim:
        return "not measured: no truth to compare with; look at the pictures (row_space)"
    if not isinstance(ssim, dict) or not isinstance(rdlv, dict):
        return ""
    if (ssim.get("max") or 0) >= 0.9 or (rdlv.get("lower95", rdlv.get("mean", -1)) or 0) > 0:
        return "leaks: 1 of 4 reconstructions (row_space)"
    if not rdlv or (rdlv.get("upper95") or 0) > 0:
        return "inconclusive: RDLV does not exclude a leak (row_space)"
    return "no leak found by row_space (RDLV at most 0)"


def a_row(site: str, **fields: Any) -> Row:
    base: dict[str, Any] = {
        "round": 0,
        "site": site,
        "attack": "row_space",
        "defence": "none",
        "declared": "none",
        "knowledge": KNOWLEDGE,
        "seed": 0,
        "reconstruction": 0,
        "seconds": 1.0,
        "iterations": 100,
        "attempts": 1,
        "stuck": False,
        "losses": "span=0.1",
        "picture": "images/none.png",
    }
    return Row(**(base | fields))


def grid(
    sites: Sequence[str],
    rounds: int = 2,
    defences: Sequence[str] = ("none",),
    images: int = 1,
    leak: Mapping[str, float] | None = None,
) -> list[Row]:
    """Rows of every combination; ``leak``: share of the original that comes back, by site."""
    rows = []
    for site in sites:
        for round_ in range(rounds):
            for strength, defence in enumerate(defences):
                for k in range(images):
                    share = (leak or {}).get(site, 0.9) / (1 + strength)
                    ssim = 0.4 + 0.58 * share - 0.01 * k
                    row = a_row(
                        site,
                        round=round_,
                        defence=defence,
                        reconstruction=k,
                        truth_image=f"training[{k}]",
                        ssim=round(ssim, 4),
                        ssim_tmi=round(ssim, 4),
                        psnr=round(20 * ssim, 2),
                        mse=round((1 - ssim) / 10, 4),
                        ssim_prior=0.5,
                        rdlv=round((ssim - 0.5) / 0.5, 4),
                        label=0,
                        truth_label=0,
                        truth_picture=f"images/truth_{site}_{k}.png",
                    )
                    name = f"images/{row.case.name}_{k}.png"
                    rows.append(dataclasses.replace(row, picture=name))
    return rows


def groups_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Overall groups of ``rows``, with intervals that are wide enough to be seen."""
    members: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        members.setdefault((row.site, row.defence), []).append(row)
    found = []
    for (site, defence), some in members.items():
        names = ("ssim", "rdlv", "psnr", "mse", "ssim_prior")
        values = {n: [v for r in some if (v := getattr(r, n)) is not None] for n in names}
        figures = {n: a_figure(float(np.mean(v)), 0.03, len(v)) for n, v in values.items() if v}
        figures["ssim"] = (figures.get("ssim") or {}) | {"max": max(values["ssim"], default=None)}
        found.append(a_group(site, defence=defence, n=len(some), **figures))
    return found


@dataclasses.dataclass(frozen=True)
class Directory:
    """An audit directory that tests write piece by piece."""

    path: Path
    phantoms: np.ndarray

    def write(
        self,
        rows: Sequence[Row],
        groups: Sequence[Mapping[str, Any]] | None = None,
        *,
        refused: Sequence[Mapping[str, Any]] = (),
        left: Sequence[Mapping[str, Any]] = (),
        settled: Sequence[Mapping[str, Any]] = (),
        health: Mapping[str, Any] | None = None,
        pictures: bool = True,
        config: Mapping[str, Any] | None = None,
        membership: Sequence[Mapping[str, Any]] = (),
    ) -> Path:
        """results.csv, summary.json, config.json and the pictures."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_rows(self.path / "results.csv", rows)
        listed = groups_of(rows) if groups is None else list(groups)
        summary = {"sites": listed, "refused": list(refused), "left": list(left)}
        summary |= {"settled": list(settled)} if settled else {}
        summary["health"] = dict(health or {})
        summary |= {"membership": list(membership)} if membership else {}
        write_json(self.path / "summary.json", {"format_version": 2, **summary})
        write_json(self.path / "config.json", _config(rows) | dict(config or {}))
        if pictures:
            self.draw(rows)
        return self.path

    def draw(self, rows: Sequence[Row]) -> None:
        """Originals, prior, and reconstructions as blurred as their SSIM says."""
        prior = self.phantoms.mean(0)
        self.save("images/prior.png", prior)
        rng = np.random.default_rng(0)
        for number, row in enumerate(rows):
            place = 0 if row.truth_image is None else int(row.truth_image[9:-1])
            truth = self.phantoms[(place + sum(map(ord, row.site))) % len(self.phantoms)]
            share = min(1.0, max(0.0, ((row.ssim or 0.5) - 0.4) / 0.58))
            noise = rng.normal(0, 30 * (1 - share) + 1, truth.shape)
            found = share * truth + (1 - share) * prior + noise + 0.01 * number
            self.save(row.picture, found)
            if row.truth_picture:
                self.save(row.truth_picture, truth)

    def save(self, name: str, pixels: np.ndarray) -> Path:
        """A gray PNG of ``pixels`` in 0 … 255."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8)).save(path)
        return path


def _config(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "format_version": 2,
        "record": {"job": "phantom_job", "manifest_sha256": "ab" * 32},
        "prior": {"source": "phantoms", "sha256": "cd" * 32},
        "updates": {f"{r.round}/{r.site}": {"global": "1" * 64, "update": "2" * 64} for r in rows},
        "attacks": {"row_space": {"seconds": None, "attempts": 3}},
        "knowledge": {KNOWLEDGE: FIELDS},
        "truth": {r.site: "/data/of/patient-17/datalist.json" for r in rows},
        "defences": sorted({r.defence for r in rows}),
        "seeds": [0],
        "runs": [
            {
                "started": "2026-01-01T00:00:00+00:00",
                "command": ["medleak", "audit", "RUN", "--out", "here now"],
                "device": "cpu",
                "versions": {"python": "3.11", "medleak": "0.1.0"},
            }
        ],
    }


def report_of(*folders: Path, **options: Any) -> Report:
    return render([read_audit(f) for f in folders], **options)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> np.ndarray:
    """Twelve made-up chest X-rays [12, H, W], 8 bits."""
    items = made_up.listing(12, seed=3)
    root = made_up.render(items, tmp_path_factory.mktemp("phantoms"), SIZE, seed=3)
    return np.stack([np.asarray(Image.open(root / item.image).convert("L")) for item in items])


@pytest.fixture
def directory(tmp_path, phantoms) -> Directory:
    return Directory(tmp_path / "audit", phantoms)


@pytest.fixture
def another(tmp_path, phantoms) -> Directory:
    return Directory(tmp_path / "audit2", phantoms)

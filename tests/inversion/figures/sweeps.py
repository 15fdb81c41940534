"""Audit directories made by hand: rows whose figures are known, and small phantom pictures."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medleak.custom.phantoms import listing, phantom
from medleak.inversion.audit.panels import PRIOR_PICTURE
from medleak.inversion.images.pictures import save_png
from medleak.inversion.results.rows import Row, write_rows

STRENGTHS = (0.0, 1.0, 10.0, 25.0)
SIZE = 32
MakeAudit = Callable[..., Path]


def row(
    site: str = "site-9",
    image: int = 0,
    *,
    round: int = 0,
    seed: int = 0,
    defence: str = "none",
    attack: str = "row_space",
    ssim: float = 0.9,
    prior: float = 0.5,
    **more: object,
) -> Row:
    """One attacked image; RDLV follows from ``ssim`` and ``prior``."""
    stem = f"{abs(hash((site, image, round, seed, defence, attack))) % 10**8:08d}"
    made = Row(
        round=round,
        site=site,
        attack=attack,
        defence=defence,
        declared="none",
        knowledge="all, labels inferred",
        seed=seed,
        reconstruction=image,
        truth_image=f"training[{image}]",
        ssim=ssim,
        ssim_prior=prior,
        rdlv=(ssim - prior) / prior,
        mse=0.01,
        psnr=20.0,
        seconds=1.0,
        iterations=10,
        attempts=1,
        stuck=False,
        losses="",
        picture=f"images/{stem}_{image}.png",
        truth_picture=f"images/truth_{image}.png",
    )
    return replace(made, **more)


def defence_of(strength: float, scope: str = "update") -> str:
    return "none" if strength == 0 else f"percentile_gaussian:sigma0={strength:g},scope={scope}"


def sweep(
    sites: Sequence[str] = ("site-1", "site-9"),
    scopes: Sequence[str] = ("update", "group"),
    images: int = 3,
    seeds: int = 2,
    rounds: Sequence[int] = (0, 4),
) -> list[Row]:
    """Rows that leak less under more noise, faster with scope=group."""
    rng = np.random.default_rng(0)
    found = []
    for s, site in enumerate(sites):
        for strength in STRENGTHS:
            for scope in scopes if strength else scopes[:1]:
                fall = 0.10 if scope == "update" else 0.20
                level = 0.95 - 0.1 * s / len(sites) - fall * np.log1p(strength)
                for round in rounds:
                    for seed in range(seeds):
                        for image in range(images):
                            ssim = float(np.clip(level + 0.04 * rng.standard_normal(), 0.05, 1))
                            found.append(
                                row(
                                    site,
                                    image,
                                    round=round,
                                    seed=seed,
                                    defence=defence_of(strength, scope),
                                    ssim=round_(ssim),
                                    iip_match=bool(ssim > 0.6),
                                    cosine=round_(min(1.0, ssim + 0.1)),
                                )
                            )
    return found


def round_(value: float) -> float:
    return float(f"{value:.6g}")


@pytest.fixture
def make_audit(tmp_path) -> MakeAudit:
    """Write an audit directory of ``rows`` with a phantom behind every picture."""

    def make(rows: Sequence[Row], name: str = "audit") -> Path:
        out = tmp_path / name
        (out / "images").mkdir(parents=True)
        write_rows(out / "results.csv", rows)
        items = listing(8, seed=1)
        films = [phantom("cxr", item.image, SIZE, 1).image for item in items]
        rng = np.random.default_rng(0)
        save_png(out / PRIOR_PICTURE, Image.fromarray(np.mean(films, axis=0).astype(np.uint8)))
        for one in rows:
            film = films[int(one.reconstruction) % len(films)]
            if one.truth_picture and not (out / one.truth_picture).exists():
                save_png(out / one.truth_picture, Image.fromarray(film))
            noise = 255 * (1 - (one.ssim or 0)) * 0.6 * rng.standard_normal(film.shape)
            found = np.clip(film + noise, 0, 255).astype(np.uint8)
            save_png(out / one.picture, Image.fromarray(found))
        return out

    return make

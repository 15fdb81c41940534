"""Made-up axial slices of the head in magnetic resonance: skull, folds, ventricles, tumour.

The tumours differ as they do in T1 images after contrast: a glioma is an irregular ring around a
dark core, in dark oedema; a meningioma a smooth bright mass on the skull or the falx; a pituitary
tumour a small bright mass in the middle, below the frontal lobes. The numbers were set by eye
beside real slices; none has another source.
"""

from dataclasses import dataclass

import numpy as np

from medleak.custom.phantoms.canvas import (
    Map,
    Phantom,
    averaged,
    draw_pose,
    smooth_noise,
    step,
    supersampled,
    tissue_noise,
    to_uint8,
)

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


@dataclass(frozen=True, slots=True)
class Head:
    """What stays the same between two slices of one patient."""

    half: tuple[float, float]  # half axes of the head, across and along
    scalp: float
    fold: float  # width of the sulci: wide in the old
    cortex: int  # cells of the folds' noise: how tight they are
    ventricle: tuple[float, float]  # half length and half width of one lateral ventricle
    spread: float  # angle between the ventricles, radians
    contrast: float  # white over gray matter
    fluid: float  # brightness of fluid: dark in T1, bright in T2
    fold_seed: int
    texture_seed: int
    tumour_seed: int


def draw_head(rng: np.random.Generator) -> Head:
    """A head without a tumour."""
    between = rng.uniform
    width = between(0.66, 0.78)
    return Head(
        half=(width, between(0.82, 0.92)),
        scalp=between(0.035, 0.075),
        fold=between(0.03, 0.08),
        cortex=int(rng.integers(17, 23)),
        ventricle=(between(0.20, 0.30), between(0.035, 0.085)),
        spread=between(0.18, 0.42),
        contrast=between(0.07, 0.15),
        fluid=between(0.08, 0.20) if rng.random() < 0.75 else between(0.75, 0.95),
        fold_seed=int(rng.integers(2**32)),
        texture_seed=int(rng.integers(2**32)),
        tumour_seed=int(rng.integers(2**32)),
    )


def brain_mri(
    kind: str, patient: np.random.Generator, visit: np.random.Generator, size: tuple[int, int]
) -> Phantom:
    """A slice of ``patient`` at a ``visit`` and its tumour's mask, uint8 [H, W] each.

    ``kind`` is of CLASSES; the mask of ``notumor`` is empty. The mask is the tumour proper, without
    the oedema around it.
    """
    head = draw_head(patient)
    pose = draw_pose(visit, (0.93, 1.07), 0.06, 0.025)
    grid, scale = supersampled(size)
    x, y = pose.coordinates(grid)
    inside = _inside(head, x, y)
    brain = _brain(head, x, y, inside)
    brain, share = _tumour(head, kind, brain, inside, x, y)
    image = _skull(head, brain, inside, x, y)
    mask = 255 * (averaged(share, scale) >= 0.5).astype(np.uint8)
    return Phantom(to_uint8(_scan(averaged(image, scale), visit)), mask)


def _inside(head: Head, x: Map, y: Map) -> Map:
    """Signed distance, about half image sides, to the outline of the head; positive inside."""
    a, b = head.half
    narrow = 1 - 0.10 * np.clip(-y, 0, 1)  # the forehead is narrower than the back of the head
    away = (np.abs(x / (a * narrow)) ** 2.2 + np.abs(y / b) ** 2.2) ** (1 / 2.2)
    return a * (1 - away)


def _brain(head: Head, x: Map, y: Map, inside: Map) -> Map:
    """Brightness of gray and white matter, folds, deep nuclei and ventricles."""
    rng = np.random.default_rng(head.fold_seed)
    # Both halves fold alike, but not the same.
    winding = 0.65 * tissue_noise(rng, head.cortex, np.abs(x), y)
    winding += 0.35 * tissue_noise(rng, head.cortex, x, y)
    depth = inside - head.scalp - 0.09
    from_sulcus = np.abs(winding - 0.5) / 1.6  # about the distance to a level line of the noise
    shallow = step(0.24 - depth, 0.20)
    ribbon = step(0.06 - np.minimum(from_sulcus + 0.5 * (1 - shallow), depth), 0.05)
    texture = 0.05 * (tissue_noise(np.random.default_rng(head.texture_seed), 40, x, y) - 0.5)
    matter = 0.50 + head.contrast * (1 - 2 * ribbon) + texture
    nuclei = np.hypot((np.abs(x) - 0.20) / 0.095, (y + 0.02) / 0.19)
    matter -= 0.9 * head.contrast * step(1 - nuclei, 0.4)
    fluid = step(0.35 * head.fold - from_sulcus, 0.025) * shallow
    fluid = np.maximum(fluid, 0.8 * step(0.011 - np.abs(x), 0.014) * step(np.abs(y) - 0.28, 0.1))
    fluid = np.maximum(fluid, _ventricles(head, x, y))
    return matter + fluid * (head.fluid - matter)


def _ventricles(head: Head, x: Map, y: Map) -> Map:
    """The lateral ventricles, front and back horns apart, and the third between them."""
    length, width = head.ventricle
    side = np.abs(x)
    fluid = step(0.016 + 0.2 * width - side, 0.02) * step(0.15 - np.abs(y - 0.02), 0.04)
    for along, sign in ((-0.16, -1), (0.20, 1)):
        # A horn leans away from the midline, the front one less.
        lean = head.spread * (1.0 if sign > 0 else 0.6)
        px, py = side - (0.06 + 0.35 * width + 0.25 * lean * length), y - along
        forth = np.cos(lean) * py * sign + np.sin(lean) * px
        across = np.cos(lean) * px - np.sin(lean) * py * sign
        horn = np.hypot(forth / (0.75 * length), across / width)
        fluid = np.maximum(fluid, step(1 - horn, 0.35))
    return fluid


def _tumour(head: Head, kind: str, brain: Map, inside: Map, x: Map, y: Map) -> tuple[Map, Map]:
    """``brain`` with the tumour of ``kind``, and the tumour's share of each point."""
    rng = np.random.default_rng(head.tumour_seed)
    side = rng.choice([-1, 1])
    if kind == "glioma":
        at = side * rng.uniform(0.18, 0.36), rng.uniform(-0.42, 0.42)
        radius = rng.uniform(0.14, 0.24)
        away = _away(rng, x, y, at, radius, 0.38)
        oedema = step(1.55 - away, 0.6)
        brain = brain + 0.45 * oedema * ((0.30 if head.fluid < 0.5 else 0.72) - brain)
        solid = step(1 - away, 0.12)
        rind = rng.uniform(0.55, 0.75)
        core = step(rind - away, 0.18)
        patchy = 0.75 + 0.22 * tissue_noise(rng, 30, x, y)
        inner = 0.24 + 0.18 * tissue_noise(rng, 20, x, y)
        brain = brain + solid * (patchy + core * (inner - patchy) - brain)
    elif kind == "meningioma":
        angle = rng.uniform(0, 2 * np.pi)
        radius = rng.uniform(0.13, 0.22)
        reach = 0.86 - 0.75 * radius
        at = head.half[0] * reach * np.cos(angle), head.half[1] * reach * np.sin(angle)
        if rng.random() < 0.3:  # on the falx
            at = side * 0.85 * radius, rng.choice([-1, 1]) * rng.uniform(0.40, 0.60)
        away = _away(rng, x, y, at, radius, 0.08)
        solid = step(1 - away, 0.10) * step(inside - head.scalp - 0.08, 0.02)
        brain = brain + solid * (rng.uniform(0.82, 0.92) - brain)
    elif kind == "pituitary":
        at = rng.normal(0, 0.02), rng.uniform(-0.30, -0.20)
        radius = rng.uniform(0.085, 0.14)
        away = _away(rng, x, y, at, radius, 0.10)
        cistern = step(1.5 - np.hypot((x - at[0]) / 1.35, y - at[1]) / radius, 0.25)
        brain = brain + cistern * (head.fluid - brain)
        solid = step(1 - away, 0.14)
        brain = brain + solid * (rng.uniform(0.70, 0.86) - brain)
    else:
        solid = np.zeros_like(x)
    return brain, solid


def _away(
    rng: np.random.Generator,
    x: Map,
    y: Map,
    at: tuple[float, float],
    radius: float,
    rough: float,
) -> Map:
    """Distance to ``at`` over the radius of a blob: 1 on its outline, uneven by ``rough``."""
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(0.85, 1.18)
    dx, dy = x - at[0], y - at[1]
    across = (np.cos(turn) * dx + np.sin(turn) * dy) * stretch
    along = (np.cos(turn) * dy - np.sin(turn) * dx) / stretch
    uneven = 2 * rough * (tissue_noise(rng, 14, x, y) - 0.5)
    return np.hypot(across, along) / radius + uneven


def _skull(head: Head, brain: Map, inside: Map, x: Map, y: Map) -> Map:
    """``brain`` in its skull and scalp, on air."""
    rng = np.random.default_rng(head.texture_seed + 1)
    fat = 0.45 + 0.40 * tissue_noise(rng, 12, x, y)
    image = fat * step(inside, 0.015)
    bone = head.scalp, head.scalp + 0.055
    image = image + step(inside - bone[0], 0.018) * (0.07 - image)
    marrow = 0.30 * step(0.011 - np.abs(inside - np.mean(bone)), 0.014)
    image = image + marrow * (0.6 + 0.4 * tissue_noise(rng, 9, x, y))
    image = image + step(inside - bone[1], 0.015) * (min(head.fluid, 0.25) - image)
    return image + step(inside - bone[1] - 0.02, 0.02) * (brain - image)


def _scan(image: Map, visit: np.random.Generator) -> Map:
    """The scanner's picture: uneven coil, gain, noise of the magnitude (Rician)."""
    coil = 0.88 + 0.24 * smooth_noise(visit, 3, image.shape)
    film = visit.uniform(0.80, 1.10) * image * coil
    noise = visit.uniform(0.006, 0.018)
    real = film + visit.normal(0, noise, film.shape)
    return np.hypot(real, visit.normal(0, noise, film.shape))

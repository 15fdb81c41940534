"""Made-up photographs of the back of the eye: disc, cup, vessel tree, macula, lesions.

Glaucoma is what excavates the disc: a larger, paler cup, its rim thinned most above and below, and
often a pale crescent beside it. The numbers were set by eye beside real photographs; none has
another source.
"""

from dataclasses import dataclass

import numpy as np

from medleak.custom.phantoms.canvas import (
    Map,
    Phantom,
    Pose,
    Stroke,
    averaged,
    draw_pose,
    draw_strokes,
    pixel_coordinates,
    smooth_noise,
    step,
    supersampled,
    tissue_noise,
    to_uint8,
    walk,
)

CLASSES = ("normal", "glaucoma")

# Background colours of real eyes, red to green to blue: orange, brown, pale, dark red.
_PIGMENTS = np.array(
    [[0.86, 0.36, 0.13], [0.60, 0.36, 0.22], [0.80, 0.55, 0.36], [0.55, 0.20, 0.10]]
)


@dataclass(frozen=True, slots=True)
class Eye:
    """What stays the same between two visits: a right eye, or a left one as its mirror image."""

    side: int  # 1: disc on the right of the image, -1: on the left
    pigment: Map  # [3]
    disc: tuple[float, float]
    disc_radius: tuple[float, float]
    cup: float  # diameter over the disc's
    crescent: float  # width of the pale ring beside the disc, 0 for none
    fovea: tuple[float, float]
    tessellation: float  # how far the vessels under the retina show
    drusen: int
    bleeds: int
    vessel_seed: int
    texture_seed: int


def draw_eye(rng: np.random.Generator, glaucoma: bool) -> Eye:
    """An eye with or without glaucoma."""
    between = rng.uniform
    side = int(rng.choice([-1, 1]))
    disc = side * between(0.36, 0.58), between(-0.10, 0.10)
    radius = between(0.125, 0.175)
    return Eye(
        side=side,
        pigment=rng.dirichlet([0.4] * len(_PIGMENTS)) @ _PIGMENTS,
        disc=disc,
        disc_radius=(radius, radius * between(1.0, 1.18)),
        cup=between(0.62, 0.86) if glaucoma else between(0.15, 0.42),
        crescent=max(0.0, between(-0.03, 0.07) if glaucoma else between(-0.10, 0.04)),
        fovea=(disc[0] - side * between(0.62, 0.74), disc[1] + between(0.02, 0.12)),
        tessellation=between(0.0, 1.0) ** 2,
        drusen=int(rng.choice([0, 0, 0, 8, 30])),
        bleeds=int(rng.choice([0, 0, 0, 3, 8])),
        vessel_seed=int(rng.integers(2**32)),
        texture_seed=int(rng.integers(2**32)),
    )


def fundus(
    kind: str, patient: np.random.Generator, visit: np.random.Generator, size: tuple[int, int]
) -> Phantom:
    """The fundus of an eye of ``patient`` at a ``visit``: uint8 [H, W, 3]; ``kind`` of CLASSES."""
    eye = draw_eye(patient, kind == "glaucoma")
    pose = draw_pose(visit, (0.94, 1.06), 0.05, 0.03)
    grid, scale = supersampled(size)
    x, y = pose.coordinates(grid)
    colour = _retina(eye, x, y)
    colour = _disc(eye, colour, x, y)
    colour = _vessels(eye, colour, pose, grid)
    colour = _lesions(eye, colour, x, y)
    return Phantom(to_uint8(_photograph(averaged(colour, scale), visit)))


def _retina(eye: Eye, x: Map, y: Map) -> Map:
    """Colour [H, W, 3] of the retina, with the vessels behind it and the macula."""
    rng = np.random.default_rng(eye.texture_seed)
    shade = 0.90 + 0.22 * tissue_noise(rng, 6, x, y)
    ridges = np.abs(tissue_noise(rng, 44, x, 0.7 * y) - 0.5)
    shade += 0.20 * eye.tessellation * (step(0.12 - ridges, 0.20) - 0.4)
    macula = np.exp(-((np.hypot(x - eye.fovea[0], y - eye.fovea[1]) / 0.20) ** 2))
    shade *= 1 - 0.32 * macula
    # Nerve fibres make the retina around the disc paler.
    shade += 0.16 * np.exp(-((np.hypot(x - eye.disc[0], y - eye.disc[1]) / 0.42) ** 2))
    return eye.pigment.astype(np.float32) * shade[..., None]


def _disc(eye: Eye, colour: Map, x: Map, y: Map) -> Map:
    """``colour`` with disc, cup and crescent."""
    rng = np.random.default_rng(eye.texture_seed + 1)
    dx, dy = (x - eye.disc[0]) / eye.disc_radius[0], (y - eye.disc[1]) / eye.disc_radius[1]
    away = np.hypot(dx, dy)
    if eye.crescent:
        ring = np.hypot(dx + 0.35 * eye.side, dy) - 1
        pale = 0.75 * step(eye.crescent / eye.disc_radius[0] + 0.25 - ring, 0.25)
        colour = _blend(colour, (0.93, 0.76, 0.52), pale)
    rim = np.array([1.0, 0.64, 0.36]) * rng.uniform(0.92, 1.05) + rng.normal(0, 0.03, 3)
    colour = _blend(colour, rim, 0.92 * step(1 - away, 0.22))
    # The cup grows up and down first; it lies a little towards the temple.
    across, along = dx + 0.10 * eye.side, dy / (1.0 + 0.16 * eye.cup)
    depth = step(eye.cup - np.hypot(across, along), 0.26)
    pallor = np.array([1.0, 0.90, 0.68]) + rng.normal(0, 0.02, 3)
    colour = _blend(colour, pallor, depth)
    return colour * (1 - 0.10 * step(0.16 - np.abs(away - eye.cup), 0.2) * depth)[..., None]


def _blend(colour: Map, other: Map | tuple[float, ...], share: Map) -> Map:
    return colour + share[..., None] * (np.asarray(other, np.float32) - colour)


def _vessels(eye: Eye, colour: Map, pose: Pose, grid: tuple[int, int]) -> Map:
    """``colour`` with four arcades of an artery and a vein each, their branches, and twigs."""
    rng = np.random.default_rng(eye.vessel_seed)
    strokes: list[Stroke] = []
    for up in (-1, 1):
        for nasal in (False, True):
            for vein in (False, True):
                strokes += _tree(eye, rng, up, nasal, vein)
    for _ in range(6):
        heading = rng.uniform(-np.pi, np.pi)
        strokes.append(walk(rng, eye.disc, heading, 0.0, rng.uniform(0.2, 0.5), (0.010, 0.004))[0])
    coverage = draw_strokes(strokes, pose, grid)
    blood = np.array([0.62, 0.26, 0.24], np.float32)
    return colour * (1 - coverage[..., None] * (1 - blood))


def _tree(eye: Eye, rng: np.random.Generator, up: int, nasal: bool, vein: bool) -> list[Stroke]:
    """One main vessel from the disc and its branches; ``up`` is -1 above the disc, 1 below."""
    thick = rng.uniform(0.026, 0.034) if vein else rng.uniform(0.017, 0.023)
    darkness = 0.95 if vein else 0.70
    spread = rng.normal(0, 0.12) + (0.18 if vein else -0.05)
    towards = 0.75 if nasal else 1.65  # radians from the nasal side
    bend = rng.uniform(-0.2, 0.2) if nasal else rng.uniform(1.1, 1.8)
    heading, bend = towards + spread, bend - (0 if nasal else spread)
    length = rng.uniform(0.7, 0.95) if nasal else rng.uniform(1.3, 1.6)
    start = np.add(eye.disc, rng.normal(0, 0.018, 2))
    trunk, headings = walk(rng, (0.0, 0.0), heading, bend, length, (thick, 0.25 * thick), 0.07)
    found = [trunk]
    for k in rng.choice(len(headings) * 4 // 5, size=2 if nasal else 4, replace=False) + 1:
        turn = rng.choice([-1, 1]) * rng.uniform(0.4, 0.8)
        width = 0.62 * float(trunk.widths[k])
        branch, further = walk(
            rng,
            trunk.points[k],
            headings[k] + turn,
            -0.7 * turn,
            rng.uniform(0.3, 0.7),
            (width, 0.3 * width),
        )
        found.append(branch)
        j = len(further) // 2
        twig = rng.choice([-1, 1]) * rng.uniform(0.5, 0.9)
        found.append(
            walk(rng, branch.points[j], further[j] + twig, 0.0, 0.2, (0.6 * width, 0.2 * width))[0]
        )
    # Drawn for a vessel that leaves downwards in an eye whose nasal side is on the right.
    flip = np.array([eye.side, up])
    return [Stroke(start + flip * s.points, s.widths, darkness) for s in found]


def _lesions(eye: Eye, colour: Map, x: Map, y: Map) -> Map:
    """``colour`` with drusen about the macula and small bleeds, which both classes may have."""
    rng = np.random.default_rng(eye.texture_seed + 2)
    for count, spread, radius, ink, strength in (
        (eye.drusen, 0.22, (0.012, 0.030), (0.98, 0.84, 0.45), 0.8),
        (eye.bleeds, 0.40, (0.015, 0.040), (0.35, 0.06, 0.05), 0.75),
    ):
        share = np.zeros_like(x)
        for px, py in rng.normal(eye.fovea, spread, (count, 2)).tolist():
            r = rng.uniform(*radius)
            np.maximum(share, step(r - np.hypot(x - px, y - py), 0.02), out=share)
        if count:
            colour = _blend(colour, ink, strength * share)
    return colour


def _photograph(colour: Map, visit: np.random.Generator) -> Map:
    """The camera's picture of ``colour``: flash, haze, round field on black, grain."""
    size = colour.shape[:2]
    u, v = pixel_coordinates((size[0], size[1]))
    away = np.hypot(u, v)
    tilt, falloff = visit.uniform(0, 2 * np.pi), visit.uniform(0.10, 0.40)
    light = visit.uniform(0.80, 1.12) * (1 - falloff * away**2)
    light += 0.14 * (np.cos(tilt) * u + np.sin(tilt) * v) * visit.uniform(0, 1)
    film = colour * light[..., None]
    haze = visit.uniform(0, 0.22) * smooth_noise(visit, 3, size)
    film += haze[..., None] * (np.array([0.72, 0.62, 0.45]) - film)
    field = step(visit.uniform(0.94, 1.0) - away, 2.5 / min(size))
    if visit.random() < 0.35:  # many cameras cut the circle above and below
        field = field * step(visit.uniform(0.80, 0.95) - np.abs(v), 2.5 / min(size))
    film = film * field[..., None] + visit.uniform(0.0, 0.03)
    return film + visit.normal(0, visit.uniform(0.003, 0.012), film.shape)

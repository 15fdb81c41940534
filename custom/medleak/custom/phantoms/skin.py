"""Made-up dermoscopy: a lesion on skin, hairs, ruler, the rim of the instrument.

The classes follow dermatology's ABCD: a malignant lesion is asymmetric, its border notched, it has
several colours (black, red, blue-gray veil, white scar) and streaks; a benign one is round, even
and brown. The numbers were set by eye beside real images; none has another source.
"""

from dataclasses import dataclass

import numpy as np

from medleak.custom.phantoms.canvas import (
    Map,
    Phantom,
    Pose,
    averaged,
    draw_pose,
    draw_strokes,
    pixel_coordinates,
    step,
    supersampled,
    tissue_noise,
    to_uint8,
    walk,
)

CLASSES = ("benign", "malignant")

_SKINS = np.array([[0.93, 0.80, 0.70], [0.86, 0.62, 0.58], [0.80, 0.60, 0.46], [0.92, 0.88, 0.78]])
_BROWNS = np.array([[0.55, 0.33, 0.18], [0.66, 0.42, 0.24], [0.42, 0.24, 0.15], [0.62, 0.36, 0.30]])
_ALARMS = np.array([[0.16, 0.10, 0.10], [0.62, 0.30, 0.26], [0.42, 0.41, 0.45], [0.82, 0.72, 0.68]])


@dataclass(frozen=True, slots=True)
class Lesion:
    """What stays the same between two visits: a lesion and the skin about it."""

    skin: Map  # [3]
    brown: Map  # [3]
    radius: float
    stretch: float
    turn: float
    notches: float  # depth of the border's unevenness over the radius
    softness: float  # width of the border over the radius
    mesh: float  # how far the pigment network shows
    globules: int
    alarms: Map  # [4], strength of each further colour
    hairs: int
    seed: int


def draw_lesion(rng: np.random.Generator, malignant: bool) -> Lesion:
    """A lesion, malignant or not."""
    between = rng.uniform
    alarms = rng.permutation([1.0, between(0.6, 1.0), between(0.0, 0.7), 0.0])
    return Lesion(
        skin=rng.dirichlet([0.8] * 4) @ _SKINS,
        brown=rng.dirichlet([0.8] * 4) @ _BROWNS,
        radius=between(0.34, 0.68) if malignant else between(0.24, 0.60),
        stretch=between(1.10, 1.55) if malignant else between(1.0, 1.25),
        turn=between(0, np.pi),
        notches=between(0.35, 0.65) if malignant else between(0.04, 0.16),
        softness=between(0.10, 0.25) if malignant else between(0.15, 0.45),
        mesh=between(0.2, 1.0),
        globules=int(rng.choice([0, 6, 25])),
        alarms=alarms if malignant else np.zeros(4),
        hairs=int(rng.choice([0, 0, 3, 8])),
        seed=int(rng.integers(2**32)),
    )


def dermoscopy(
    kind: str, patient: np.random.Generator, visit: np.random.Generator, size: tuple[int, int]
) -> Phantom:
    """The lesion of ``patient`` at a ``visit``, uint8 [H, W, 3], and its mask; ``kind`` of CLASSES.

    The mask is the lesion, pigmented or not.
    """
    lesion = draw_lesion(patient, kind == "malignant")
    pose = draw_pose(visit, (0.90, 1.10), 0.35, 0.05)
    grid, scale = supersampled(size)
    x, y = pose.coordinates(grid)
    colour, share = _pigment(lesion, _skin(lesion, x, y), x, y)
    colour = _hairs(lesion, colour, pose, grid)
    colour = _ruler(colour, visit, grid)
    mask = 255 * (averaged(share, scale) >= 0.5).astype(np.uint8)
    return Phantom(to_uint8(_photograph(averaged(colour, scale), visit)), mask)


def _skin(lesion: Lesion, x: Map, y: Map) -> Map:
    """Colour [H, W, 3] of the skin: blotches, fine furrows."""
    rng = np.random.default_rng(lesion.seed)
    shade = 0.94 + 0.10 * tissue_noise(rng, 5, x, y)
    shade += 0.05 * (tissue_noise(rng, 60, x, y) - 0.5)
    flush = 0.10 * tissue_noise(rng, 9, x, y)[..., None] * np.array([0.2, -0.8, -0.6])
    return (lesion.skin * shade[..., None] + flush).astype(np.float32)


def _pigment(lesion: Lesion, colour: Map, x: Map, y: Map) -> tuple[Map, Map]:
    """``colour`` with the lesion, and the lesion's share of each point."""
    rng = np.random.default_rng(lesion.seed + 1)
    cos, sin = np.cos(lesion.turn), np.sin(lesion.turn)
    along, across = (cos * x + sin * y) / lesion.stretch, (cos * y - sin * x) * lesion.stretch**0.5
    # Noise along the border's bearing and not its distance notches it; a lean makes it lopsided.
    border = 0.6 * tissue_noise(rng, 7, x, y) + 0.4 * tissue_noise(rng, 16, x, y)
    lean = lesion.notches * rng.uniform(-0.5, 0.5) * along / lesion.radius
    away = np.hypot(along, across) / lesion.radius + 2 * lesion.notches * (border - 0.5) + lean
    share = step(1 - away, max(lesion.softness, 0.06))
    depth = np.clip(1 - away, 0, 1)
    ink = lesion.brown * (1.18 - 0.42 * depth[..., None] ** 0.7)
    for strength, alarm in zip(lesion.alarms, _ALARMS, strict=True):
        patch = tissue_noise(rng, 6, x, y) + 0.25 * tissue_noise(rng, 24, x, y)
        ink = _blend(ink, alarm, 0.8 * strength * step(patch - 0.72, 0.30))
    mesh = np.abs(tissue_noise(rng, 56, x, y) - 0.5)
    mottle = 0.35 * (tissue_noise(rng, 28, x, y) - 0.5)
    mottle = mottle + 0.32 * lesion.mesh * (step(mesh - 0.09, 0.16) - 0.6)
    ink = ink * (1 + mottle)[..., None]
    colour = _blend(colour, ink, share)
    dots = np.zeros_like(x)
    for px, py in (lesion.radius * rng.normal(0, 0.5, (lesion.globules, 2))).tolist():
        dots = np.maximum(dots, step(rng.uniform(0.012, 0.03) - np.hypot(x - px, y - py), 0.02))
    return _blend(colour, 0.45 * lesion.brown, 0.75 * dots * share), share


def _blend(colour: Map, other: Map, share: Map) -> Map:
    return colour + share[..., None] * (other - colour)


def _hairs(lesion: Lesion, colour: Map, pose: Pose, grid: tuple[int, int]) -> Map:
    """``colour`` under the patient's hairs."""
    if not lesion.hairs:
        return colour
    rng = np.random.default_rng(lesion.seed + 2)
    strokes = []
    lie = rng.uniform(0, 2 * np.pi)
    for _ in range(lesion.hairs):
        start, heading = rng.uniform(-1, 1, 2), lie + rng.normal(0, 0.5)
        width = rng.uniform(0.010, 0.018)
        length, bend = rng.uniform(0.8, 2.0), rng.normal(0, 0.5)
        strokes.append(walk(rng, start, heading, bend, length, (width, 0.4 * width), 0.02)[0])
    return _blend(colour, np.array([0.18, 0.12, 0.09]), 0.85 * draw_strokes(strokes, pose, grid))


def _ruler(colour: Map, visit: np.random.Generator, grid: tuple[int, int]) -> Map:
    """``colour`` under the instrument's ruler, in some images."""
    if visit.random() > 0.35:
        return colour
    u, v = pixel_coordinates(grid)
    angle = visit.choice([0.0, visit.uniform(-0.9, 0.9)])
    along, across = np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u
    across = across - visit.uniform(0.70, 0.85)
    marks = np.abs((along / 0.11) % 1 - 0.5) < 0.09
    within = np.abs(along) < 0.62
    line = (np.abs(across) < 0.012) | (marks & (across < 0) & (across > -0.07))
    return _blend(colour, np.array([0.12, 0.10, 0.10]), 0.8 * (line & within).astype(np.float32))


def _photograph(colour: Map, visit: np.random.Generator) -> Map:
    """The instrument's picture of ``colour``: white balance, light, dark rim, grain."""
    u, v = pixel_coordinates((colour.shape[0], colour.shape[1]))
    away = np.hypot(u, v)
    light = visit.uniform(0.88, 1.06) * (1 - visit.uniform(0.02, 0.14) * away**2)
    film = colour * light[..., None] * visit.normal(1, 0.03, 3)
    if visit.random() < 0.25:
        rim = step(visit.uniform(1.02, 1.22) - away, 0.10)
        film = film * (0.06 + 0.94 * rim)[..., None]
    return film + visit.normal(0, visit.uniform(0.004, 0.012), film.shape)

"""The made-up patient behind a phantom: anatomy as a map of X-ray attenuation.

Attenuation is in units of the mediastinum's. Coordinates are the patient's, in half image sides:
x to the patient's left (the right of the image), y down, the origin in the middle of the chest.
The numbers were set by eye beside real films; none has another source.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from medleak.custom.phantoms.canvas import Map, smooth_noise
from medleak.custom.phantoms.canvas import step as _step

_SURNAMES = (
    "ABEL BRANDT CASTRO DUVAL EKMAN FABER GRECO HOLM IVES JANSEN KOVAC LINDEN MARLOW NOVAK "
    "ORTEGA PALMER QUIROZ RENARD SATO TANAKA ULRICH VARGA WEBER YILDIZ ZIMMER"
)
_FORENAMES = (
    "ADA BEN CLEO DAN EVA FINN GUS HANA IDA JON KIRA LEO MIA NILS OLGA PIA RUTH SAM TESS UMA "
    "VERA WIM YARA ZOE"
)


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What stays the same between two visits of one patient."""

    name: str
    birth: str
    lung_width: float
    lung_top: float
    diaphragm: tuple[float, float]  # height of the right and the left dome
    heart: tuple[float, float]  # half axes
    heart_angle: float  # of the long axis below the horizontal, radians
    mediastinum: float  # half width
    fat: float  # 0 to 1: how much of the ray through a lung is chest wall
    breasts: float  # attenuation
    ribs: float  # spacing
    rib_phase: float
    clavicle: float  # slope
    shoulders: float
    gastric_bubble: float  # radius, 0 for none
    vessel_seed: int
    disease_seed: int


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """A patient, with a made-up name and date of birth."""
    between = rng.uniform
    right, shoulders = between(0.34, 0.50), between(0.92, 1.12)
    return Anatomy(
        name=f"{rng.choice(_SURNAMES.split())}, {rng.choice(_FORENAMES.split())}",
        birth=f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.{rng.integers(1931, 2004)}",
        lung_width=shoulders * between(0.32, 0.38),
        lung_top=between(-0.80, -0.66),
        diaphragm=(right, right + between(-0.01, 0.10)),
        heart=(between(0.33, 0.44), between(0.23, 0.30)),
        heart_angle=between(0.45, 0.95),
        mediastinum=between(0.085, 0.135),
        fat=between(0.0, 1.0),
        breasts=max(0.0, between(-0.10, 0.14)),
        ribs=between(0.135, 0.175),
        rib_phase=between(0.0, 1.0),
        clavicle=between(-0.05, 0.28),
        shoulders=shoulders,
        gastric_bubble=max(0.0, between(-0.10, 0.13)),
        vessel_seed=int(rng.integers(2**32)),
        disease_seed=int(rng.integers(2**32)),
    )


def attenuation(a: Anatomy, x: Map, y: Map, opacity: float) -> Map:
    """Attenuation along the ray through each point: 0 in the open, about 1 at the spine.

    Args:
        a: The patient.
        x: Patient coordinates, any shape.
        y: Likewise.
        opacity: Attenuation of the patient's consolidations at their densest; 0 for clear lungs.
    """
    air = _air(a, x, y)
    density = _soft_tissue(a, x, y, air) + _bones(a, x, y) + air * _vessels(a, x, y)
    if opacity:
        density += opacity * air * _consolidations(a, x, y)
    return density


def _air(a: Anatomy, x: Map, y: Map) -> Map:
    """Thickness of air along the ray, 0 to 1: two lungs less mediastinum, heart, diaphragm."""
    side = np.abs(x)
    upper = np.clip((0.12 - y) / (0.12 - a.lung_top), 0, None)
    outline = np.sqrt(np.clip(1 - upper**2.6, 0, None)) - 3 * np.clip(upper - 1, 0, None)
    inside = a.lung_width * outline - np.abs(side - 0.33 + 0.05 * upper)
    inside += 0.06 * np.clip(y, 0, None)
    lung = _step(inside, 0.03) * (0.62 + 0.38 * np.clip(inside / 0.2, 0, 1))
    outer, inner = np.clip(side - 0.30, 0, None), np.clip(0.30 - side, 0, None)
    dome = np.where(x < 0, *map(np.float32, a.diaphragm))
    floor = dome + 1.5 * outer**2 + 0.5 * inner**2
    lung *= _step(floor - y, 0.045)
    hila = 0.03 * np.exp(-(((y + 0.02) / 0.14) ** 2))
    lung *= _step(side - a.mediastinum * (1 + 0.35 * np.clip(y + 0.1, 0, None)) - hila, 0.05)
    lung *= _step(np.hypot(x - 0.08, y + 0.34) - 0.105, 0.05)  # aortic knob
    hx, hy, cos, sin = x - 0.12, y - 0.27, math.cos(a.heart_angle), math.sin(a.heart_angle)
    heart = np.hypot((cos * hx + sin * hy) / a.heart[0], (cos * hy - sin * hx) / a.heart[1])
    return lung * _step(0.27 * (heart - 1), 0.05)


def _soft_tissue(a: Anatomy, x: Map, y: Map, air: Map) -> Map:
    """Attenuation of neck, shoulders, arms, trunk, breasts and abdomen, less the air."""
    side = np.abs(x)
    height = (-1.6, -1.0, -0.90, -0.80, -0.70, -0.5, -0.3, -0.05, 0.3, 0.8, 1.6)
    reach = (0.21, 0.22, 0.30, 0.55, 0.80, 0.92, 0.86, 0.79, 0.78, 0.82, 0.86)
    half = a.shoulders * np.interp(y, height, reach).astype(np.float32)
    trunk = np.clip(1 - (side / half) ** 2, 0, None) ** 0.35
    off_axis = side - (0.93 + 0.10 * np.clip(y, -0.5, None)) * a.shoulders
    arm = np.hypot(off_axis, np.clip(-0.5 - y, 0, None)) / 0.16
    body = np.maximum(trunk, 0.62 * np.sqrt(np.clip(1 - arm**2, 0, None)))
    body *= 0.80 + 0.20 * np.clip(y + 0.3, 0, 1)
    body *= 1 + 0.16 * np.exp(-((side / 0.22) ** 2))
    body += a.breasts * _step(0.30 - np.hypot(side - 0.42, y - 0.24), 0.12)
    body -= 0.16 * _step(0.045 - side, 0.04) * _step(-0.22 - y, 0.2)  # trachea
    if a.gastric_bubble:
        bubble = np.hypot((x - 0.34) / 1.6, y - a.diaphragm[1] - 0.14)
        body -= 0.22 * _step(a.gastric_bubble - bubble, 0.03)
    return np.clip(body, 0, None) - (0.52 - 0.18 * a.fat) * air


def _bones(a: Anatomy, x: Map, y: Map) -> Map:
    """Attenuation of ribs, clavicles, spine, shoulder joints and upper arms."""
    side = np.abs(x)
    back = (y + 0.30 * side - 0.95 * side**2) / a.ribs + a.rib_phase  # up, then down outwards
    front = (y - 0.55 * side + 0.15) / (1.15 * a.ribs) + a.rib_phase  # down inwards
    ribs = _rib(back) * _step(side - 0.05, 0.1)
    ribs += 0.5 * _rib(front) * _step(side - 0.28, 0.25) * _step(0.25 - y, 0.3)
    ribs *= _step(0.72 - side, 0.06) * _step(y - a.lung_top, 0.1) * _step(0.75 - y, 0.5)
    shaft = y + 0.66 + a.clavicle * (side - 0.1) - 0.10 * np.sin(4.2 * side)
    clavicle = np.clip(1 - (shaft / 0.045) ** 2, 0, None)
    clavicle *= _step(side - 0.09, 0.04) * _step(0.78 * a.shoulders - side, 0.05)
    vertebrae = 0.7 + 0.3 * np.clip(2 * np.cos(2 * np.pi * (y / 0.13 + a.rib_phase)), -1, 1)
    spine = _step(0.075 - side, 0.03) * vertebrae
    joint = np.hypot(side - 0.82 * a.shoulders, y + 0.56)
    shoulder = np.sqrt(np.clip(1 - (joint / 0.12) ** 2, 0, None))
    humerus = _step(0.05 - np.abs(side - (0.88 + 0.1 * y) * a.shoulders), 0.03)
    humerus *= _step(y + 0.5, 0.1)
    return 0.13 * ribs + 0.17 * clavicle + 0.10 * spine + 0.16 * shoulder + 0.12 * humerus


def _rib(phase: Map) -> Map:
    """Profile of ribs one phase apart: a band with denser edges, as cortical bone shows."""
    across = np.abs(phase - np.floor(phase) - 0.5) / 0.26
    return _step(1 - across, 0.35) * (0.62 + 0.38 * np.minimum(across, 1) ** 2)


def _vessels(a: Anatomy, x: Map, y: Map) -> Map:
    """Attenuation of the vessel trees of both lungs: thick at the hila, thin outwards."""
    rng = np.random.default_rng(a.vessel_seed)
    canvas = Image.new("L", (192, 192))
    draw = ImageDraw.Draw(canvas)
    side = np.repeat([-1.0, 1.0], 9)
    angle = np.tile(np.linspace(-1.7, 1.6, 9), 2) + rng.normal(0, 0.22, 18)
    start = np.stack([0.13 * side, -0.03 + rng.normal(0, 0.05, 18)], 1)
    for width, brightness in ((3, 200), (2, 130), (1, 100), (1, 60)):
        length = rng.uniform(0.10, 0.22, len(angle))[:, None]
        end = start + length * np.stack([side * np.cos(angle), np.sin(angle)], 1)
        for line in (np.concatenate([start, end], 1) * 96 + 96).tolist():
            draw.line(line, brightness, width)
        angle = np.concatenate([angle, angle]) + rng.normal(0, 0.4, 2 * len(angle))
        start, side = np.concatenate([end, end]), np.concatenate([side, side])
    field = np.asarray(canvas.filter(ImageFilter.GaussianBlur(1.2)))
    # Patient coordinates [-1, 1] to canvas pixels; the blur makes the nearest one good enough.
    column = np.clip(96 * x + 96, 0, 191).astype(np.intp)
    row = np.clip(96 * y + 96, 0, 191).astype(np.intp)
    return (0.30 / 255) * field[row, column].astype(np.float32)


def _consolidations(a: Anatomy, x: Map, y: Map) -> Map:
    """One to three patchy consolidations, 0 to about 1, where this patient has them."""
    rng = np.random.default_rng(a.disease_seed)
    centres = []
    for _ in range(rng.choice([1, 2, 3], p=[0.45, 0.35, 0.2])):
        centre = rng.choice([-1, 1]) * rng.uniform(0.24, 0.5), rng.uniform(-0.4, 0.35)
        centres.append(rng.normal(centre, 0.09, (6, 2)))
    cloud = np.zeros_like(x)
    for px, py in np.concatenate(centres).tolist():
        falloff = -0.5 / rng.uniform(0.04, 0.09) ** 2
        cloud += np.exp(falloff * ((x - px) ** 2 + (y - py) ** 2))
    cloud *= 0.5 + smooth_noise(rng, 24, x.shape)
    return 1 - np.exp(-1.1 * np.clip(cloud, 0, None))

"""Made-up CT volumes of the torso: organs, vessels, spine, and in one class a mass in the liver.

Coordinates are in half volume sides: x to the right of the image (the patient's left), y to the
back, z towards the head, the origin in the middle. Rows of a volume [H, W, D] run from front to
back, columns from the patient's right to his left, slices from feet to head.
"""

from dataclasses import dataclass

import numpy as np

from medleak.custom.phantoms.canvas import Map, Phantom, step, to_uint8

CLASSES = ("normal", "mass")
_AIR, _LUNG, _FAT, _SOFT, _BLOOD, _BONE = 0.02, 0.14, 0.34, 0.50, 0.60, 0.92


@dataclass(frozen=True, slots=True)
class _Ellipsoid:
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    value: float

    def inside(self, at: "_Grid", rough: Map | float = 0.0) -> Map:
        """Coverage in [0, 1], with an edge as soft as a voxel is large."""
        parts = zip((at.x, at.y, at.z), self.centre, self.radii, strict=True)
        away = np.sqrt(sum(((axis - c) / r) ** 2 for axis, c, r in parts)) + rough
        return step((1 - away) * min(self.radii), at.voxel)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Patient coordinates of the voxels, to be broadcast, and the side of one."""

    x: Map
    y: Map
    z: Map
    voxel: float

    @classmethod
    def of(cls, size: tuple[int, int, int], visit: np.random.Generator) -> "_Grid":
        zoom, angle = visit.uniform(0.92, 1.06), visit.normal(0, 0.04)
        rows, columns, slices = (
            (np.arange(n, dtype=np.float32) + 0.5 - n / 2) / (n / 2) / zoom + shift
            for n, shift in zip(size, visit.normal(0, 0.03, 3), strict=True)
        )
        v, u, z = rows[:, None, None], columns[None, :, None], slices[None, None, :]
        x, y = np.cos(angle) * u - np.sin(angle) * v, np.sin(angle) * u + np.cos(angle) * v
        return cls(x, y, z, float(2 / min(size) / zoom))


def torso_ct(
    kind: str,
    patient: np.random.Generator,
    visit: np.random.Generator,
    size: tuple[int, int, int],
) -> Phantom:
    """The torso of ``patient`` at a ``visit``: uint8 [H, W, D]; ``kind`` of CLASSES.

    The mask is the liver.
    """
    build = patient.uniform(0.92, 1.08)
    grid = _Grid.of(size, visit)
    body = _Ellipsoid((0, 0, 0), (0.88 * build, 0.66 * build, 4.0), _FAT)
    wall = _Ellipsoid((0, 0.02, 0), (0.80 * build, 0.58 * build, 4.0), _SOFT)
    image = np.full(size, _AIR, np.float32)
    for shape in (body, wall):
        image = _laid(image, shape.inside(grid), shape.value)
    texture = _texture(patient, grid)
    image = image + 0.06 * (texture - 0.5) * (image > _LUNG)
    for lung in _lungs(patient):
        image = _laid(image, lung.inside(grid), _LUNG)
    liver = _Ellipsoid(
        (-0.34, -0.04, -0.30),
        (0.36 * patient.uniform(0.9, 1.1), 0.40 * patient.uniform(0.9, 1.1), 0.42),
        patient.uniform(0.55, 0.62),
    )
    cover = liver.inside(grid, 0.16 * (texture - 0.5))
    image = _laid(image, cover, liver.value)
    for organ in (*_organs(patient), *_vessels(patient)):
        image = _laid(image, organ.inside(grid), organ.value)
    image = _laid(image, *_spine(patient, grid))
    for mass in _masses(patient, liver, kind):
        image = _laid(image, mass.inside(grid, 0.3 * (texture - 0.5)), mass.value)
    image = image + visit.normal(0, visit.uniform(0.008, 0.02), size)
    return Phantom(
        to_uint8(image), to_uint8(np.broadcast_to(cover >= 0.5, size).astype(np.float64))
    )


def _laid(image: Map, cover: Map, value: Map | float) -> Map:
    return image + cover * (value - image)


def _lungs(patient: np.random.Generator) -> list[_Ellipsoid]:
    tall, wide = patient.uniform(0.52, 0.62), patient.uniform(0.25, 0.30)
    return [
        _Ellipsoid((side * 0.40, -0.02, 0.62), (wide, 0.40, tall), _LUNG) for side in (-1.0, 1.0)
    ]


def _organs(patient: np.random.Generator) -> list[_Ellipsoid]:
    heart = _Ellipsoid((0.14, -0.18, 0.48), (0.24, 0.24, 0.28), patient.uniform(0.52, 0.58))
    spleen = _Ellipsoid((0.50, 0.18, -0.18), (0.14, 0.22, 0.24), patient.uniform(0.50, 0.60))
    stomach = _Ellipsoid((0.32, -0.20, -0.26), (0.22, 0.18, 0.22), patient.uniform(0.30, 0.48))
    kidneys = [
        _Ellipsoid((side * 0.34, 0.30, -0.52), (0.11, 0.14, 0.24), patient.uniform(0.56, 0.68))
        for side in (-1.0, 1.0)
    ]
    bowel = [
        _Ellipsoid(
            (float(x), float(y), float(z)), (0.13, 0.12, 0.13), float(patient.uniform(0.28, 0.55))
        )
        for x, y, z in patient.uniform((-0.4, -0.4, -1.0), (0.4, 0.0, -0.65), (7, 3))
    ]
    return [heart, spleen, stomach, *kidneys, *bowel]


def _vessels(patient: np.random.Generator) -> list[_Ellipsoid]:
    """Aorta and vena cava along the spine, and a few branches in the lungs and the liver."""
    long = [
        _Ellipsoid((0.08, 0.24, 0.0), (0.07, 0.07, 3.0), patient.uniform(0.58, 0.70)),
        _Ellipsoid((-0.10, 0.18, -0.4), (0.07, 0.06, 0.9), _BLOOD),
    ]
    branches = [
        _Ellipsoid(
            (float(x), float(y), float(z)),
            (0.04, 0.04, float(patient.uniform(0.08, 0.2))),
            _BLOOD,
        )
        for x, y, z in patient.uniform((-0.55, -0.25, -0.5), (0.55, 0.25, 0.9), (16, 3))
    ]
    return [*long, *branches]


def _spine(patient: np.random.Generator, grid: _Grid) -> tuple[Map, Map]:
    """Coverage and value of vertebrae, discs between them, and the dark canal."""
    count, phase = patient.uniform(4.5, 6.0), patient.uniform(0, 1)
    radius = np.hypot(grid.x, grid.y - 0.42)
    cover = step(0.13 - radius, grid.voxel) + 0 * grid.z
    disc = step(np.abs(np.sin(np.pi * (count * grid.z + phase))) - 0.3, 0.3)
    value = _SOFT + disc * (_BONE - _SOFT) * (0.75 + 2.0 * radius)
    canal = step(0.05 - np.hypot(grid.x, grid.y - 0.54), grid.voxel)
    return np.maximum(cover, canal + 0 * grid.z), np.where(canal > 0.5, 0.44, value)


def _masses(patient: np.random.Generator, liver: _Ellipsoid, kind: str) -> list[_Ellipsoid]:
    found = []
    for _ in range(patient.integers(1, 3)):
        at = liver.centre + patient.uniform(-0.4, 0.4, 3) * liver.radii
        radius, value = patient.uniform(0.10, 0.18), patient.uniform(0.36, 0.44)
        found.append(_Ellipsoid((at[0], at[1], at[2]), (radius, radius, radius), value))
    return found if kind == "mass" else []


def _texture(patient: np.random.Generator, grid: _Grid) -> Map:
    """Smooth waves that lie still in the patient, about 0 to 1."""
    total = 0.5
    for _ in range(6):
        wave, phase = patient.normal(0, 5.0, 3), patient.uniform(0, 2 * np.pi)
        total = total + 0.14 * np.sin(
            wave[0] * grid.x + wave[1] * grid.y + wave[2] * grid.z + phase
        )
    return np.asarray(total, np.float32)

"""How the tests of commands run one, and what they expect of a refusal."""

from dataclasses import dataclass
from pathlib import Path

import torch
from typer.testing import CliRunner

from medleak.inversion.cli import app
from medleak.inversion.reconstruction import Progress, Reconstruction


@dataclass(frozen=True, kw_only=True)
class Flat:
    value: float = 0.5
    interrupt: bool = False


def flat(attack, observation, prior, *, generator, on_progress=None):
    if attack.interrupt:
        raise KeyboardInterrupt
    if on_progress is not None:
        on_progress(Progress(iteration=1, total=2, loss=0.25, seconds=0.1))
    shape = (observation.n_images, observation.image_channels, *observation.spatial_size)
    return Reconstruction(
        images=torch.full(shape, attack.value),
        labels=None,
        losses={"bn": 0.1},
        history=torch.zeros(1),
        iterations=1,
        seconds=0.5,
    )


def medleak(*args, columns=200):
    return CliRunner().invoke(app, [str(a) for a in args], env={"COLUMNS": str(columns)})


def refused(result, code):
    """The one line of an error: exit code as expected, no traceback, nothing else said."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("medleak: ")
    return lines[0]


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

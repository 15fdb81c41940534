"""Attacks on recorded updates, measures, audits, and the ``medleak`` command.

From a model and an update in memory to images: `reconstruct`. From a record of
:mod:`medleak.custom`: `observe`, then an attack's ``run``. A whole audit: ``audit(Plan(...))`` of
:mod:`medleak.inversion.audit`. What is named here is imported when it is first asked for: attacks
need torch, the help of a command does not.
"""

from typing import TYPE_CHECKING

from medleak.filters.imports import late

if TYPE_CHECKING:
    from medleak.inversion.attacks.reconstruct import observe_update, reconstruct
    from medleak.inversion.attacks.registry import attack_of
    from medleak.inversion.attacks.row_space import RowSpace
    from medleak.inversion.audit.plan import Plan
    from medleak.inversion.images.prior import load_prior
    from medleak.inversion.knowledge import Knowledge
    from medleak.inversion.measures.similarity import assign, psnr, ssim
    from medleak.inversion.observation import Observation, observe
    from medleak.inversion.reconstruction import Reconstruction
    from medleak.inversion.results.rows import Row, read_rows

__all__ = [
    "Knowledge",
    "Observation",
    "Plan",
    "Reconstruction",
    "Row",
    "RowSpace",
    "assign",
    "attack_of",
    "load_prior",
    "observe",
    "observe_update",
    "psnr",
    "read_rows",
    "reconstruct",
    "ssim",
]

__getattr__ = late(
    __name__,
    {
        "Knowledge": "knowledge",
        "Observation": "observation",
        "Plan": "audit.plan",
        "Reconstruction": "reconstruction",
        "Row": "results.rows",
        "RowSpace": "attacks.row_space",
        "assign": "measures.similarity",
        "attack_of": "attacks.registry",
        "load_prior": "images.prior",
        "observe": "observation",
        "observe_update": "attacks.reconstruct",
        "psnr": "measures.similarity",
        "read_rows": "results.rows",
        "reconstruct": "attacks.reconstruct",
        "ssim": "measures.similarity",
    },
)

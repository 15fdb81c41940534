"""NVFlare filters: JSON-able arguments in, one pure defence applied, its declaration sent along.

Use a class by its path, ``medleak.filters.adapters.PercentileGaussian``, in a job's
``task_result_filters`` (``"tasks": ["train"]``) or in a site's ``privacy.json``
(docs/deploy.md). Result filters take ``tasks``, the names of the tasks that they protect (all
others are refused); those that draw noise take ``seed`` too, for tests only: its use is logged as
unsafe.
"""

from medleak.filters.adapters.compression import Quantisation, RandomK, Sign, TopK
from medleak.filters.adapters.defence import GlobalModel
from medleak.filters.adapters.gate import LeakageGate
from medleak.filters.adapters.generated import filter_of
from medleak.filters.adapters.guard import Guard
from medleak.filters.adapters.incoming.minimum_batch import MinimumBatch, PlannedBatch
from medleak.filters.adapters.incoming.rehearsal import Rehearsal
from medleak.filters.adapters.incoming.sentinel import Sentinel, SentinelNotes
from medleak.filters.adapters.ledger import DeclareDPSGD, PrivacyBudget, PrivacyLedger
from medleak.filters.adapters.local import RestoreWithheld, Withhold
from medleak.filters.adapters.noise import (
    ClippedGaussian,
    ClippedLaplace,
    GaussianPerturbation,
    LaplacePerturbation,
    PercentileGaussian,
)
from medleak.filters.adapters.workflow import WorkflowGuard
from medleak.filters.registry import ROWS

__all__ = [
    "ClippedGaussian",
    "ClippedLaplace",
    "DeclareDPSGD",
    "GaussianPerturbation",
    "GlobalModel",
    "Guard",
    "LaplacePerturbation",
    "LeakageGate",
    "MinimumBatch",
    "PercentileGaussian",
    "PlannedBatch",
    "PrivacyBudget",
    "PrivacyLedger",
    "Quantisation",
    "RandomK",
    "Rehearsal",
    "RestoreWithheld",
    "Sentinel",
    "SentinelNotes",
    "Sign",
    "TopK",
    "Withhold",
    "WorkflowGuard",
]

# Defences for which nobody wrote a filter get one made from their row.
for _row in ROWS:
    if _row.make.__name__ not in __all__:
        globals()[_row.make.__name__] = filter_of(_row)
        __all__ += [_row.make.__name__]

# NVFlare's job exporter writes a class's module into the job: let it be the documented path.
for _name in __all__:
    globals()[_name].__module__ = __name__

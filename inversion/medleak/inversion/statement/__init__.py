"""What is said of an update beside its tensors, and by whom: the site, the auditor, or the update.

`Given` is the auditor's word, `complete` adds what the update itself tells, and `contradictions`
says where a word and the update do not agree.
"""

from medleak.inversion.statement.given import Given
from medleak.inversion.statement.inferred import (
    carries_momentum,
    complete,
    contradictions,
    inferred,
)
from medleak.inversion.statement.kept_state import without_kept_momentum
from medleak.inversion.statement.told import told

__all__ = [
    "Given",
    "carries_momentum",
    "complete",
    "contradictions",
    "inferred",
    "told",
    "without_kept_momentum",
]

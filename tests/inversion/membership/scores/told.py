"""How well the scores of a test tell members from others."""

from collections.abc import Mapping

import torch
from torch import Tensor

from medleak.inversion.membership.roc import auc


def told(parts: Mapping[str, Tensor], n: int) -> float:
    """AUC of the first ``n`` images against the others, by the mean over ``parts`` of a score."""
    values = torch.stack(list(parts.values())).mean(0).numpy()
    return auc(values[:n], values[n:])

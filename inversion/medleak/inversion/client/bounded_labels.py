"""Labels from a head's gradient of which large entries are known as signs and bounds alone.

After a step of Adam the head's gradient, the largest of the network, is mostly saturated, so that
least squares cannot solve for labels (:func:`medleak.inversion.client.labels.labels_of_features`).
But labels are few: each is chosen in turn so that the gradient that all of them make agrees best
with the signs and bounds of every entry.
"""

import torch
from torch import Tensor

from medleak.inversion.losses import Criterion
from medleak.inversion.optimisers.first_step import Undone

_SWEEPS = 10  # over all images; two or three settle


def bounded_label_scores(
    features: Tensor,
    outputs: Tensor,
    weight: Undone,
    bias: Undone,
    criterion: Criterion,
) -> Tensor:
    """Scores [N, C]: how well the head's gradient agrees if an image had this label, others theirs.

    With one output (BCE), [N, 2]: absent and present.

    Args:
        features: What enters the head [N, F].
        outputs: Softmax or sigmoid of the logits [N, C].
        weight: Of the head's weight [C, F], a mean over the N images.
        bias: Likewise, [C].
        criterion: The task loss.
    """
    classes = outputs.shape[1]
    ones = torch.ones(len(features), 1, dtype=torch.float64, device=features.device)
    design = torch.cat([features.double(), ones], 1)
    choices = max(classes, 2)
    targets = torch.eye(choices, dtype=torch.float64, device=features.device)
    targets = targets[:, 1:] if classes == 1 else targets
    scale = len(features) * (classes if criterion == "bce" else 1)
    seen = _Bounds(weight, bias)
    labels = outputs.argmax(1) if classes > 1 else (outputs[:, 0] > 0.5).long()
    scores = torch.zeros(len(features), choices, dtype=torch.float64, device=features.device)
    for _ in range(_SWEEPS):
        before = labels.clone()
        for i in range(len(features)):
            for c in range(choices):
                labels[i] = c
                gradient = (outputs.double() - targets[labels]).T @ design / scale
                scores[i, c] = -seen.disagreement(gradient)
            labels[i] = scores[i].argmax()
        if (labels == before).all():
            break
    return scores


class _Bounds:
    """What the entries of weight and bias may be."""

    def __init__(self, weight: Undone, bias: Undone) -> None:
        def both(name: str) -> Tensor:
            return torch.cat([getattr(weight, name), getattr(bias, name)[:, None]], 1)

        self._known = both("gradient")
        self._sign = both("sign")
        self._saturated = both("saturated")

    def disagreement(self, gradient: Tensor) -> Tensor:
        """Mean relative distance of ``gradient`` [C, F + 1] from what is possible, in [0, 1]."""
        beyond = self._saturated & (self._sign * gradient >= self._sign * self._known)
        gap = torch.where(beyond, 0.0, (gradient - self._known).abs())
        return (gap / (gradient.abs() + self._known.abs() + 1e-30)).mean()

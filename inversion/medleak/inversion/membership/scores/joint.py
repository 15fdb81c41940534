"""Row spaces and batch-norm statistics together: what one hides, the other may tell.

Each counts as much as the other, whatever its number of layers
(`medleak.inversion.membership.calibration.joined`). Where one examines nothing, the other is left.
"""

from collections.abc import Mapping

from torch import Tensor

from medleak.inversion.membership.scores import row_space, statistics
from medleak.inversion.observation import Observation


def score(
    observation: Observation, images: Tensor, labels: Tensor | None, background: Tensor
) -> Mapping[str, Tensor]:
    """[N] a layer and source; as of `row_space.score` and `statistics.score`.

    Raises:
        ValueError: Neither examines anything.
    """
    found: dict[str, Tensor] = {}
    errors = []
    for name, of in (("row_space", row_space.score), (statistics.SOURCE, statistics.score)):
        try:
            parts = of(observation, images, labels, background)
        except ValueError as error:
            errors.append(error)
            continue
        found |= {k if "/" in k else f"{name}/{k}": value for k, value in parts.items()}
    if not found:
        raise errors[0]
    return found

"""Planning DP-SGD at one site: sampling, steps, and the noise that a target ε needs.

Names are Opacus'. The guarantee of a plan is at record level, add or remove one image; see
:func:`medleak.filters.privacy.accounting.dp_sgd`.
"""

import math
from dataclasses import dataclass

from medleak.filters import checks
from medleak.filters.privacy import accounting
from medleak.filters.privacy.accounting import Guarantee


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan:
    """Poisson sampling of one round: each image is in each step's batch with ``sample_rate``.

    ``expected_batch_size`` is what the summed gradient is divided by. It may be fractional: Opacus
    1.6 divides by its whole part, which is another learning rate but no other privacy.
    """

    sample_rate: float
    steps: int
    expected_batch_size: float


def sampling_plan(*, n_images: int, batch_size: int, local_epochs: int = 1) -> SamplingPlan:
    """The plan that Opacus' Poisson loader makes of a loader with ``batch_size``.

    An epoch is ceil(n / batch_size) steps, and the sample rate is one over that, as in
    ``opacus.data_loader.DPDataLoader``. A site with one image, or with no more images than fit
    into a batch, has sample rate 1: right, but without any amplification, so that a given ε needs
    the noise of the plain Gaussian mechanism.

    Raises:
        ValueError: A number is not whole or below 1; the batch is larger than the site.
    """
    checks.require_whole("n_images", n_images, 1, 10**9, "it counts the site's images.")
    checks.require_whole("batch_size", batch_size, 1, 10**9, "it is the expected batch.")
    checks.require_whole("local_epochs", local_epochs, 1, 10**6, "it counts passes a round.")
    if batch_size > n_images:
        raise ValueError(
            f"batch_size {batch_size} is larger than the site's {n_images} images: the sum of "
            "gradients would be divided by images that do not exist. Lower batch_size."
        )
    steps = math.ceil(n_images / batch_size)
    return SamplingPlan(
        sample_rate=1 / steps, steps=steps * local_epochs, expected_batch_size=n_images / steps
    )


def guarantee(plan: SamplingPlan, noise_multiplier: float) -> Guarantee:
    """The guarantee of one round that follows ``plan``; raises as ``accounting.dp_sgd`` does."""
    return accounting.dp_sgd(
        noise_multiplier=noise_multiplier, sample_rate=plan.sample_rate, steps=plan.steps
    )


def noise_multiplier_for(
    plan: SamplingPlan, *, target_epsilon: float, target_delta: float, rounds: int
) -> float:
    """The least noise_multiplier with which ``rounds`` rounds of ``plan`` stay within the target.

    By the same accountant as the ledger, so that a job planned with it ends within its budget.

    Raises:
        ValueError: A target is out of range.
    """
    checks.require_positive("target_epsilon", target_epsilon, "it is the privacy loss allowed.")
    checks.require_fraction("target_delta", target_delta, "it is the probability of failure.")
    checks.require_whole("rounds", rounds, 1, 10**6, "it counts the releases.")

    def fits(multiplier: float) -> bool:
        spent = accounting.epsilon([guarantee(plan, multiplier).event] * rounds, target_delta)
        return spent <= target_epsilon

    return accounting.least(fits)

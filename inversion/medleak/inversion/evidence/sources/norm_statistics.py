"""Batch statistics that running ones give away: the mean and variance of a batch norm's input.

Of K local steps with momentum m, running statistics tell one weighted mean of the batches' own
(`Observation.bn_statistics`). Batch norms that ran in evaluation mode did not move theirs: they
tell nothing, and the signal through them does not sum to zero.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Source, Told
from medleak.inversion.evidence.steps import batch_weights
from medleak.inversion.losses import statistics_sizes


def norms(reading: Reading) -> tuple[str, ...]:
    """Norm layers whose statistics were observed and can be compared, in order of execution."""
    return tuple(n for n in reading.probe.norms if n in reading.statistics)


def mixing(reading: Reading) -> Mapping[str, Tensor]:
    """[steps] weights with which the steps' statistics mix, by norm layer."""
    return {n: batch_weights(reading.observation, n, len(reading.steps)) for n in norms(reading)}


def noise(reading: Reading, sigma: float) -> float:
    """What noise ``sigma`` on an entry of the update makes of the statistics term at the truth."""
    observed = reading.statistics
    layers = [
        sigma * reading.observation.bn_noise_gain(n) * len(pair[0]) ** 0.5 / float(size + 1e-8)
        for n, pair in observed.items()
        for size in statistics_sizes(pair)
    ]
    return sum(layers) / max(len(observed), 1)


def _tell(reading: Reading) -> Sequence[Told]:
    if reading.drifted:
        words = "weights moved so far within the round that its batches' statistics do not mix"
        return [
            Told(source=SOURCE.name, layer=n, useful=False, words=words)
            for n in reading.probe.norms
        ]
    steps = len(reading.steps)
    of = "the batch" if steps == 1 else f"a weighted mean of {steps} batches"
    told = [
        Told(
            source=SOURCE.name,
            layer=n,
            expected=2 * len(reading.statistics[n][0]),
            rank=2 * len(reading.statistics[n][0]),
            words=f"mean and variance of {len(reading.statistics[n][0])} channels, of {of}",
            exact=False,
        )
        for n in norms(reading)
    ]
    told += [
        Told(
            source=SOURCE.name,
            layer=n,
            useful=False,
            words="ran in evaluation mode: its running statistics did not move",
        )
        for n in reading.frozen
    ]
    return told


SOURCE = Source(
    name="norm_statistics",
    words="mean and variance of every batch norm's input, from its running statistics",
    needs=("a batch norm in training mode", "its running statistics in the update"),
    tell=_tell,
)

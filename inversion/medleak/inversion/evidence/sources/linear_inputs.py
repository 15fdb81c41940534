"""What entered a linear layer: features, from the update of its weight or of two thin factors.

The update of a weight is a sum of outer products of a signal and an input, one a position: its rows
are mixtures of the inputs. Of a low-rank adapter B A (LoRA) the same holds of A's rows; B's rows
are mixtures of the inputs' few products with A. While B is zero, as in LoRA's first step, A does
not move and only those products are told. Where an input is met as it is, it is known up to a
factor, which the update of a bias tells.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from medleak.custom.record import UnknownError
from medleak.inversion.evidence.algebra.rounding import rounding_variance
from medleak.inversion.evidence.algebra.row_spaces import Decomposed, decomposed
from medleak.inversion.evidence.linear.layers import LinearLayer
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Source, Told

_CLEAR = 3.0  # a gap from which on directions stand out of noise of unknown size
_SINGLE = 1e-5  # of the largest singular value: what float32 leaves of those that are zero
_DEVIATIONS = 3.0  # of rounding, below which a direction is none
_BOUNDS = 0.1  # share of a step's entries that are but bounds, from which on no rank is read


def _tell(reading: Reading) -> Sequence[Told]:
    if not any(u.ndim == 2 and u.any() for u in reading.update.values()):
        return []
    classes = _classes(reading)
    layers = [x for x in reading.linear_layers if not _told_elsewhere(reading, x, classes)]
    seconds = [x for x in layers if x.role == "second" and x.outputs == classes]
    head = seconds[-1] if seconds and seconds[-1] in layers[-2:] else None
    return [_told(reading, x, is_head=x is head) for x in layers]


def _told_elsewhere(reading: Reading, layer: LinearLayer, classes: int | None) -> bool:
    """Heads and entrances have sources of their own."""
    if layer.role != "whole":
        return False
    return layer.outputs == classes or (
        layer.takes_pixels and layer.positions == 1 and f"{layer.name}.bias" in reading.update
    )


def _classes(reading: Reading) -> int | None:
    try:
        return reading.observation.num_classes
    except UnknownError:
        return None


def _told(reading: Reading, layer: LinearLayer, *, is_head: bool) -> Told:
    update = reading.update[layer.parameter]
    told = Told(
        source=SOURCE.name,
        layer=layer.name,
        positions=layer.positions,
        useful=False,
        of="pixels" if layer.takes_pixels else "features",
        words="",
    )
    if not update.any():
        return replace(told, words=_still(reading, layer))
    if not reading.linear:
        how = f"the update of {reading.observation.optimizer} is no sum of gradients"
        return replace(told, words=how)
    count, room = _vectors(reading, layer), min(update.shape)
    if (why := _unreadable(reading, layer)) is not None:
        return replace(told, words=why)
    found = decomposed(update if len(update) <= update.shape[1] else update.T)
    rank, sigma = _rank(reading, layer, found, reading.weights[layer.parameter], count)
    if not rank:
        return replace(told, rank=0, expected=min(count, room), words="nothing stands out of noise")
    told = replace(
        told,
        rank=rank,
        expected=min(count, room),
        noise=min(1.0, sigma**2 * update.numel() / float(found.values.square().sum())),
    )
    if rank > count:
        said = f"its {count} inputs, if images, steps and optimiser are as said"
        words = f"{rank} directions stand out, more than {said}; or noise was added"
        return replace(told, exact=False, words=words)
    told = _of_inputs(reading, layer, told, rank, count)
    return _with_labels(reading, layer, told) if is_head else told


def _still(reading: Reading, layer: LinearLayer) -> str:
    if layer.partner and layer.role == "first" and not reading.weights[layer.partner].any():
        return "its update is zero, as the other factor was: it moves from the second step on"
    return "its update is zero: frozen, or cut off"


def _vectors(reading: Reading, layer: LinearLayer) -> int:
    """Inputs that the layer met in the round, at most: every pass at weights of its own."""
    visits = max(1, round(reading.observation.n_passes / len(reading.steps)))
    return reading.images * layer.positions * visits


def _unreadable(reading: Reading, layer: LinearLayer) -> str | None:
    error = reading.error.get(layer.parameter)
    if error is not None and (bounds := float(error.isinf().double().mean())) > _BOUNDS:
        name = reading.observation.optimizer
        return f"{bounds:.0%} of the entries of {name}'s step tell a sign and a bound alone"
    return None


def _rank(
    reading: Reading, layer: LinearLayer, found: Decomposed, weight: Tensor, count: int
) -> tuple[int, float]:
    """Directions that stand out, and the standard deviation of an entry's noise.

    Where the size of the noise is not known, all inputs' directions stand out, or none is said to.
    """
    rows, columns = found.flat.shape
    error = reading.error.get(layer.parameter)
    update = reading.update[layer.parameter]
    if error is not None:
        variance = error[~error.isinf()].square()
    else:
        variance = rounding_variance(weight, update)
    values = found.values
    if variance is None:
        if count >= rows or found.gap(count) < _CLEAR:
            return 0, 0.0
        rest = values[count:].square().sum() / ((rows - count) * (columns - count))
        return count, float(rest.sqrt())
    sigma = float(variance.double().mean().sqrt())
    floor = max(_DEVIATIONS * sigma * (rows**0.5 + columns**0.5), _SINGLE * float(values[0]))
    return int((values > floor).sum()), sigma


def _of_inputs(reading: Reading, layer: LinearLayer, told: Told, rank: int, count: int) -> Told:
    kind = "pixel values" if layer.takes_pixels else "features"
    what = f"{layer.inputs} {kind}"
    if layer.role == "second":
        what = f"{layer.inputs} products with the first factor"
    if count == 1:
        bias = reading.update.get(f"{layer.name}.bias")
        known = layer.role == "whole" and bias is not None and bool(bias.any())
        words = f"its input, {what}" + ("" if known else ", up to a factor")
        return replace(told, useful=True, exact=layer.role != "second", images=1, words=words)
    several = f"its inputs, {count} at most, of {what}"
    if count >= layer.inputs:
        fill = f"{count} inputs of {what}: any mixture of them is possible"
        return replace(told, exact=False, words=fill)
    if rank == count and count < layer.outputs:
        words = f"the span of {several}"
    else:
        words = f"{rank} mixture{'' if rank == 1 else 's'} of {several}"
    return replace(told, useful=True, exact=False, images=reading.images, words=words)


def _with_labels(reading: Reading, layer: LinearLayer, told: Told) -> Told:
    """Of the factor whose rows are the classes: its columns are mixtures of the images' signals."""
    if layer.positions > 1:
        return told
    label = f"labels of {reading.images} images, once these are found"
    if reading.images == 1:
        label = "the label" if layer.outputs > 2 else "the label, if no feature is negative"
    words = f"{told.words}; {label}" if told.useful else label
    return replace(told, useful=True, words=words)


SOURCE = Source(
    name="linear_inputs",
    words="features that entered a linear layer or a low-rank adapter; labels of an adapted head",
    needs=(
        "a linear layer, or two factors of one",
        "images x positions below its inputs",
    ),
    tell=_tell,
)

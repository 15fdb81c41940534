"""One image or volume from a transformer's patch embedding, in closed form.

:mod:`medleak.inversion.evidence.tokens` says how: it is found by what the network computes, and
solved for the patches. Where that does not apply, what is told says why.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from medleak.inversion.evidence.algebra.rounding import added_variance, rounding_variance
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Answer, Source, Told
from medleak.inversion.evidence.tokens.embedding import (
    PatchEmbedding,
    Projection,
    patch_embedding,
    projections,
)
from medleak.inversion.evidence.tokens.images import Solved, Units, solve_image

_STUCK = 0.1  # root mean square error, of pixels in [0, 1]: what a mean image has
_GRAY = 0.5
_BOUNDS = 0.1  # share of entries known as bounds alone from which on they are why it fails


class _UnusableError(Exception):
    """Why a layer gives no image, in words."""


def _tell(reading: Reading) -> Sequence[Told]:
    told = []
    for projection, embedding in _found(reading):
        places = len(projection.pixels)
        try:
            solved = _solved(reading, projection, embedding)
        except _UnusableError as why:
            told.append(_told(projection, useful=False, words=str(why)))
            continue
        rank, width = solved.patches.rank, _width(reading, projection)
        words = (
            f"{rank} of {places} patches' directions stand out: the image follows with an error of "
            f"{solved.patches.error:.2g} of its range"
        )
        if _stuck(solved):
            words = (
                f"its equations do not give an image (misfit {solved.patches.misfit:.2g}, {rank} "
                f"of {places} directions): {_likely(reading, projection, embedding)}"
            )
        told.append(
            _told(
                projection,
                useful=not _stuck(solved),
                words=words,
                rank=rank,
                expected=min(places, width),
                images=1,
                noise=min(solved.patches.error**2 / _STUCK**2, 1.0),
                exact=not _stuck(solved),
            )
        )
    return told


def _answer(reading: Reading) -> Answer | None:
    answers = []
    for projection, embedding in _found(reading):
        try:
            solved = _solved(reading, projection, embedding)
        except _UnusableError:
            continue
        answers.append(
            Answer(
                images=solved.image.clamp(0, 1),
                misfit=solved.patches.misfit,
                stuck=_stuck(solved),
            )
        )
    return min(answers, key=lambda a: (a.stuck, a.misfit), default=None)


def _found(reading: Reading) -> list[tuple[Projection, PatchEmbedding | None]]:
    observation = reading.observation
    network = observation.network().eval()
    shape = (len(observation.mean), *observation.spatial_size)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():  # a head of zeros, say, hides what is before it
                parameter.fill_(0.01)
    return [(p, patch_embedding(network, shape, p)) for p in projections(network, shape)]


def _solved(reading: Reading, projection: Projection, embedding: PatchEmbedding | None) -> Solved:
    """The image, or the reason why the layer gives none."""
    if embedding is None:
        raise _UnusableError(
            "its tokens have no position embedding of their own (or a norm stands between), which "
            "would tell each token's signal"
        )
    observation = reading.observation
    if not reading.linear:
        raise _UnusableError(
            f"the update of {observation.optimizer} is no sum of gradients: it tells no signal"
        )
    if not embedding.trained or not reading.update[embedding.position].any():
        signal = bool(reading.update[projection.weight].any())
        raise _UnusableError(
            f"the position embedding {embedding.position} did not move"
            + (
                ": it is fixed or frozen, so that each token's signal is not told"
                if signal
                else ", nor did the projection: frozen, or a first step from a head of zeros"
            )
        )
    if not reading.update[projection.weight].any():
        raise _UnusableError("its update is zero: the projection is frozen")
    if reading.images > 1:
        raise _UnusableError(
            f"the {reading.images} images share one signal a token: their patches do not follow "
            "from it alone"
        )
    position, of_position = _known(reading, embedding.position)
    weight, of_weight = _known(reading, projection.weight)
    if of_position is None or of_weight is None:
        bias = f"{projection.layer}.bias"
        known = _known(reading, bias)[0] if bias in reading.update else None
        noise = added_variance(embedding.signal(position), known)
        of_position, of_weight = (torch.full_like(u, noise) for u in (position, weight))
    shape = (1, observation.image_channels, *observation.spatial_size)
    guess = torch.full(shape, _GRAY, device=observation.device)
    units = Units(
        image_channels=observation.image_channels, mean=observation.mean, std=observation.std
    )
    return solve_image(embedding, (position, of_position), (weight, of_weight), guess, units)


def _known(reading: Reading, name: str) -> tuple[Tensor, Tensor | None]:
    """The update of a parameter without weight decay, and the variance of each entry, if known."""
    update, weight = reading.update[name], reading.weights[name]
    error = reading.error.get(name)
    variance = rounding_variance(weight, update)
    if error is not None:
        # Of an entry that is but a bound, hardly more than the size of the others is known.
        size = update.double().abs().max()
        variance = torch.where(error.isinf(), size, error.double()).square()
    observation = reading.observation
    if reading.undone is None and observation.knowledge.lr and observation.weight_decay:
        return update + _decay(reading) * weight, variance
    return update, variance


def _decay(reading: Reading) -> float:
    """What weight decay took off in all steps, as a share of the weights."""
    observation = reading.observation
    steps, momentum = observation.n_steps, observation.momentum
    times = sum((steps - k) * momentum**k for k in range(steps))
    return observation.lr * observation.weight_decay * times


def _likely(reading: Reading, projection: Projection, embedding: PatchEmbedding | None) -> str:
    """Why the equations are of no use."""
    names = [projection.weight, *([embedding.position] if embedding else [])]
    bounds = [float(reading.error[n].isinf().double().mean()) for n in names if n in reading.error]
    if max(bounds, default=0.0) > _BOUNDS:
        name = reading.observation.optimizer
        return f"{max(bounds):.0%} of the entries of {name}'s step tell a sign and a bound alone"
    return "noise, or not one image's plain gradient"


def _width(reading: Reading, projection: Projection) -> int:
    return len(reading.update[projection.weight])


def _stuck(solved: Solved) -> bool:
    values = solved.patches.values
    beyond = (values - values.clamp(0, 1)).square().mean().sqrt()
    near = solved.patches.error <= _STUCK and float(beyond) <= _STUCK
    return not (solved.patches.explained and near)


def _told(
    projection: Projection,
    *,
    useful: bool,
    words: str,
    rank: int | None = None,
    expected: int | None = None,
    images: int | None = None,
    noise: float | None = None,
    exact: bool | None = None,
) -> Told:
    return Told(
        source=SOURCE.name,
        layer=projection.layer,
        words=words,
        positions=len(projection.pixels),
        useful=useful,
        rank=rank,
        expected=expected,
        images=images,
        noise=noise,
        exact=exact,
    )


SOURCE = Source(
    name="patch_embedding",
    words="one image's patches, from the updates of position embedding and patch projection",
    needs=(
        "one image in all steps",
        "a trained position embedding, added to the patches' tokens as they are",
    ),
    tell=_tell,
    answer=_answer,
)

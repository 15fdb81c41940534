"""Share of a candidate's patches that lies in the row space of a late layer's update.

A layer's update is dW = S A^T: columns of A [D, N] are the input patches of every training image,
so that the rows of dW lie in their span, whatever labels, loss or optimiser made S (Adam bends the
span, and leaves most of it). A candidate that was trained on has its patches in there.

Two things make it sharp:

- Candidates are run with the weights half-way through the round and the batch statistics that
  the update reveals, so that their features are about those that the client computed.
- All radiographs share most of their energy: what lies in the span for that reason tells nothing.
  Patches and row space are whitened by patches of images that are certainly not in it, and what is
  left to compare is what makes an image itself.

Published nowhere that was looked; whitening is what matched filters do (Turin 1960).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medleak.inversion.membership.layers import (
    MOST_LAYERS,
    PatchLayer,
    patch_layers,
    patches,
    telling_layers,
)
from medleak.inversion.membership.networks import mean_progress, network_at
from medleak.inversion.observation import Observation

_LOOKED_AT = 2 * MOST_LAYERS  # layers whose row spaces are taken: the best four are compared
_CUT = 1e-3  # of the largest singular value: what lies below tells little, or is rounding
_ROUNDING = 2.0  # largest singular value of the weights' rounding, twice: batches differ in it
_LEAST_CUT = 1e-6  # of the largest singular value: double precision resolves no more here
_LARGEST = 1e12  # feature: the sum of the squares of such is still a number in float32
_RIDGE = 0.03  # of the background's mean variance a direction; .01 to .1 measured alike
_MOST_BACKGROUND = 1024  # patches: the Gram matrix of more costs more than it tells


def score(
    observation: Observation, images: Tensor, labels: Tensor | None, background: Tensor
) -> Mapping[str, Tensor]:
    """[N] a layer, in [0, 1], larger for members; ``labels`` are not used.

    Args:
        observation: The update.
        images: [N, C, ...] in [0, 1]: candidates.
        labels: Not used: the row space does not depend on them.
        background: [M, C, ...] in [0, 1], certainly not among the client's images, none a
            candidate, M >= 1.

    Raises:
        ValueError: No layer's update has a row space that tells anything.
    """
    network = network_at(observation, mean_progress(observation))
    layers = telling_layers(
        patch_layers(network, observation.normalise(background[:1])), at_most=_LOOKED_AT
    )
    update, weights = observation.parameter_update, dict(network.named_parameters())
    bases = _bases(layers, update, weights)
    if not bases:
        raise ValueError(
            "No convolution or linear layer of the update has a row space that tells images apart "
            "(more columns than rows, several positions, and changed): row_space examines nothing "
            "here. Choose another score."
        )
    layers = tuple(layer for layer in layers if layer.name in bases)
    x = observation.normalise(torch.cat([images, background]))
    seen = patches(network, x, layers)
    if not all(bool((each.abs() < _LARGEST).all()) for each in seen.values()):
        # Noise that is larger than the weights: an attacker takes the model as it was sent instead.
        network = observation.network().eval().requires_grad_(False)
        seen = patches(network, x, layers)
    found = {}
    for layer in layers:
        found[layer.name] = _share(bases[layer.name], seen[layer.name], len(images))
    return found


def _bases(
    layers: Sequence[PatchLayer], update: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """By name, of the layers with most room for images that rounding left, as `row_basis`.

    Late layers may have room for all images and a signal so faint that float32 kept few of its
    directions; an earlier layer with less room then tells more. Of equals the later ones.
    """
    found, room = {}, {}
    for layer in layers:
        name = f"{layer.name}.weight"
        if update[name].any():
            found[layer.name] = row_basis(update[name], rounding_of(weights[name]))
            room[layer.name] = found[layer.name].shape[1] / layer.positions
    best = sorted(reversed(room), key=room.__getitem__, reverse=True)[:MOST_LAYERS]
    return {name: found[name] for name in best}


def _share(basis: Tensor, seen: Tensor, n: int) -> Tensor:
    whitening = Whitening(seen[n:].flatten(0, 1))
    basis = torch.linalg.qr(whitening(basis.T).T).Q
    candidates = whitening(seen[:n])
    energy = candidates.square().sum((1, 2)).clamp_min(1e-20)
    return (candidates @ basis).square().sum((1, 2)) / energy


def rounding_of(weight: Tensor) -> float:
    """Largest singular value of what rounding to float32 adds to ``weight`` [C_out, ...].

    Errors are uniform in a spacing of the numbers, so that their matrix has about s (sqrt(m) +
    sqrt(n)) with the standard deviation s (Bai & Yin 1988).
    """
    flat = weight.detach().flatten(1).double().abs().clamp_min(1e-30)
    spacing = torch.exp2(torch.floor(torch.log2(flat)) - 23)
    deviation = (spacing.square().mean() / 12).sqrt()
    return float(deviation * (flat.shape[0] ** 0.5 + flat.shape[1] ** 0.5))


def row_basis(update: Tensor, rounding: float) -> Tensor:
    """[D, r] orthonormal columns that span the rows of ``update`` [C_out, ...], r <= C_out.

    Directions at the size of ``rounding`` are left out, and below a thousandth of the largest
    only those.
    """
    flat = update.flatten(1)
    exact = flat.double()
    values, left = torch.linalg.eigh(exact @ exact.T)
    values = values.flip(0).clamp_min(0).sqrt()
    floor = max(_ROUNDING * rounding, _LEAST_CUT * float(values[0]))
    kept = int((values > min(_CUT * float(values[0]), floor)).sum())
    return torch.linalg.qr(flat.T @ left.flip(1)[:, :kept].float()).Q


class Whitening:
    """Divides directions by their standard deviation among ``background`` patches [P, D].

    With a ridge, so that directions that the background has not at all keep their size; relative
    to those: x -> C^(-1/2) x up to a factor, C the background's second moments plus the ridge.
    """

    def __init__(self, background: Tensor, ridge: float = _RIDGE) -> None:
        """Decompose the background; of more than a thousand patches every so many.

        Args:
            background: Rows.
            ridge: Of their mean variance a direction.
        """
        stride = -(-len(background) // _MOST_BACKGROUND)
        some = background[::stride]
        values, vectors = torch.linalg.eigh((some.double() @ some.double().T) / len(some))
        kept = values > 1e-6 * values[-1].clamp_min(1e-30)
        values = values[kept]
        scale = (values * len(some)).sqrt()
        self._directions = ((vectors[:, kept] / scale).T @ some.double()).float()
        floor = ridge * values.mean() if len(values) else torch.ones(())
        self._taken = (1 - (floor / (values + floor)).sqrt()).float()

    def __call__(self, x: Tensor) -> Tensor:
        """Whiten rows [..., D]."""
        return x - ((x @ self._directions.T) * self._taken) @ self._directions

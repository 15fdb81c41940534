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

from collections.abc import Mapping

import torch
from torch import Tensor

from medleak.inversion.membership.layers import (
    PatchLayer,
    patch_layers,
    patches,
    telling_layers,
)
from medleak.inversion.membership.networks import mean_progress, network_at
from medleak.inversion.observation import Observation

_CUT = 1e-3  # of the largest singular value: below lies float32's rounding of the update
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
    layers = telling_layers(patch_layers(network, observation.normalise(background[:1])))
    update = observation.parameter_update
    layers = tuple(layer for layer in layers if update[f"{layer.name}.weight"].any())
    if not layers:
        raise ValueError(
            "No convolution or linear layer of the update has a row space that tells images apart "
            "(more columns than rows, several positions, and changed): row_space examines nothing "
            "here. Choose another score."
        )
    seen = patches(network, observation.normalise(torch.cat([images, background])), layers)
    return {layer.name: _share(update, layer, seen[layer.name], len(images)) for layer in layers}


def _share(update: Mapping[str, Tensor], layer: PatchLayer, seen: Tensor, n: int) -> Tensor:
    whitening = Whitening(seen[n:].flatten(0, 1))
    basis = row_basis(update[f"{layer.name}.weight"])
    basis = torch.linalg.qr(whitening(basis.T).T).Q
    candidates = whitening(seen[:n])
    energy = candidates.square().sum((1, 2)).clamp_min(1e-20)
    return (candidates @ basis).square().sum((1, 2)) / energy


def row_basis(update: Tensor) -> Tensor:
    """[D, r] orthonormal columns that span the rows of ``update`` [C_out, ...], r <= C_out."""
    flat = update.flatten(1)
    exact = flat.double()
    values, left = torch.linalg.eigh(exact @ exact.T)
    values = values.flip(0).clamp_min(0).sqrt()
    kept = int((values > _CUT * values[0]).sum())
    return torch.linalg.qr(flat.T @ left.flip(1)[:, :kept].float()).Q


class Whitening:
    """Divides directions by their standard deviation among ``background`` patches [P, D].

    With a ridge, so that directions that the background has not at all keep their size; relative
    to those: x -> C^(-1/2) x up to a factor, C the background's second moments plus the ridge.
    """

    def __init__(self, background: Tensor) -> None:
        """Decompose the background; of more than a thousand patches every so many."""
        stride = -(-len(background) // _MOST_BACKGROUND)
        some = background[::stride]
        values, vectors = torch.linalg.eigh((some.double() @ some.double().T) / len(some))
        kept = values > 1e-6 * values[-1].clamp_min(1e-30)
        values = values[kept]
        scale = (values * len(some)).sqrt()
        self._directions = ((vectors[:, kept] / scale).T @ some.double()).float()
        ridge = _RIDGE * values.mean() if len(values) else torch.ones(())
        self._taken = (1 - (ridge / (values + ridge)).sqrt()).float()

    def __call__(self, x: Tensor) -> Tensor:
        """Whiten rows [..., D]."""
        return x - ((x @ self._directions.T) * self._taken) @ self._directions

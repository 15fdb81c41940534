"""Linear layers as a pass meets them, and pairs of thin matrices whose product is applied.

Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685v2) keep a weight W and train B A beside
it. No name and no class tells them: of a product, the gradients are dA = B^T G and dB = G A^T with
one and the same G, so that dA A^T = B^T dB whatever G is. Two thin matrices of which that holds
are such a pair, whether they are modules of their own, bare parameters of a layer, or a
parametrisation of its weight.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from medleak.inversion.losses import first_output

Role = Literal["whole", "first", "second"]
"""A weight of its own; of a product B A, the factor A that takes the layer's input; or B."""

_SAME = 1e-3  # relative; float32 leaves 1e-5 of a difference that is zero
_SPREAD = 0.02  # of numbers in place of weights that are all zero, which no signal passes


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearLayer:
    """A matrix that a network applies to vectors.

    Attributes:
        name: The module that was met, as in ``named_modules()``.
        parameter: The matrix, [outputs, inputs].
        inputs: Length of the vectors; ``outputs`` likewise.
        positions: Vectors an image.
        takes_pixels: Whether its inputs are the network's own, in any order.
        role: Of the matrix.
        partner: The other factor, where it is one of two.
    """

    name: str
    parameter: str
    inputs: int
    outputs: int
    positions: int
    takes_pixels: bool
    role: Role = "whole"
    partner: str | None = None


def linear_layers(network: nn.Module, example: Tensor) -> tuple[LinearLayer, ...]:
    """Of ``network``, in order of execution; the two factors of a product follow each other.

    Args:
        network: Run once and sent back through; its parameters of zeros get other values, and all
            of them require gradients afterwards. Its dropout must be off.
        example: [B, C, ...] in the network's units.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(_SPREAD * noise)
    parameters = {n: p.requires_grad_() for n, p in network.named_parameters()}
    matrices = {n: p for n, p in parameters.items() if p.ndim == 2}
    met = _met(network, example, matrices)
    taken = {a: b for a, b in met.pairs} | {b: a for a, b in met.pairs}
    found = []
    for name, seen in met.inputs.items():
        weight = f"{name}.weight"
        if weight in matrices and weight not in taken:
            found.append(_layer(name, weight, matrices, seen, example))
    for first, second in met.pairs:
        owner = _owner(first, met.inputs)
        if owner is None:
            continue
        seen = met.inputs[owner]
        found += [
            _layer(owner, first, matrices, seen, example, role="first", partner=second),
            _layer(
                _owner(second, met.inputs) or owner, second, matrices, seen, example,
                role="second", partner=first,
            ),
        ]  # fmt: skip
    order = {name: k for k, name in enumerate(met.inputs)}
    return tuple(sorted(found, key=lambda layer: order[_of_pair(layer, met.inputs)]))


def _of_pair(layer: LinearLayer, inputs: Mapping[str, object]) -> str:
    """Where the first factor stands, so that a sort keeps the two together."""
    first = layer.partner if layer.role == "second" else layer.parameter
    return _owner(first or layer.parameter, inputs) or layer.name


@dataclass(frozen=True, slots=True)
class _Met:
    inputs: Mapping[str, Sequence[Tensor]]  # by module, of each of its calls, as they first ran
    pairs: Sequence[tuple[str, str]]  # names of A and B


def _met(network: nn.Module, example: Tensor, matrices: Mapping[str, Tensor]) -> _Met:
    inputs: dict[str, list[Tensor]] = {}

    def see(name: str, _: nn.Module, args: tuple[object, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            inputs.setdefault(name, []).append(args[0].detach())

    hooks = [
        module.register_forward_pre_hook(functools.partial(see, name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.enable_grad():
            output = first_output(network(example))
            drawn = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
            signal = (output.sigmoid() * drawn.to(output)).sum()
            wanted = list(matrices.values())
            sent = torch.autograd.grad(signal, wanted, allow_unused=True) if wanted else ()
    finally:
        for hook in hooks:
            hook.remove()
    known = {n: g for n, g in zip(matrices, sent, strict=True) if g is not None and g.any()}
    return _Met(inputs, _pairs(matrices, known))


def _pairs(
    matrices: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
) -> list[tuple[str, str]]:
    """Names of A [r, inputs] and B [outputs, r], r < inputs, r <= outputs, dA A^T = B^T dB."""
    with torch.no_grad():
        firsts = {
            n: (g @ matrices[n].T).double() for n, g in gradients.items() if len(g) < g.shape[1]
        }
        seconds = {
            n: (matrices[n].T @ g).double() for n, g in gradients.items() if g.shape[1] <= len(g)
        }
    found = []
    for second, right in seconds.items():
        size = float(right.norm())
        alike = [
            first
            for first, left in firsts.items()
            if left.shape == right.shape and float((left - right).norm()) <= _SAME * size
        ]
        if len(alike) == 1 and size > 0:
            found.append((alike[0], second))
    return found


def _owner(parameter: str, inputs: Mapping[str, object]) -> str | None:
    """The innermost module with ``parameter`` in it whose inputs were seen."""
    name = parameter
    while "." in name:
        name = name.rpartition(".")[0]
        if name in inputs:
            return name
    return None


def _layer(
    name: str,
    parameter: str,
    matrices: Mapping[str, Tensor],
    seen: Sequence[Tensor],
    example: Tensor,
    *,
    role: Role = "whole",
    partner: str | None = None,
) -> LinearLayer:
    outputs, inputs = matrices[parameter].shape
    vectors = sum(x.numel() // x.shape[-1] for x in seen)
    return LinearLayer(
        name=name,
        parameter=parameter,
        inputs=inputs,
        outputs=outputs,
        positions=max(1, vectors // len(example)),
        takes_pixels=role != "second" and _same_values(seen[0], example),
        role=role,
        partner=partner,
    )


def _same_values(x: Tensor, example: Tensor) -> bool:
    if x.numel() != example.numel():
        return False
    return bool(torch.equal(x.flatten().sort().values, example.flatten().sort().values))

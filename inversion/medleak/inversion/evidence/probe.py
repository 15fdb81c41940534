"""Run a network on candidate images and keep what an update reveals: norm statistics, conv inputs.

Works on any network of convolutions and norm layers, by replacing modules in a private copy; no
layer is known by name. A forward pass ends as soon as everything asked for has been seen.
"""

import contextlib
import copy
import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from medleak.inversion.evidence.branches import random_branches, set_branches
from medleak.inversion.evidence.fused_norm import BatchStatistics, NormWithStatistics
from medleak.inversion.evidence.layers import ConvLayer, survey
from medleak.inversion.losses import first_output
from medleak.inversion.networks import layout_of


@dataclass(frozen=True, slots=True)
class Trace:
    """What one forward pass showed.

    Attributes:
        statistics: Norm layer -> (mean [C], unbiased variance [C]) of its input.
        inputs: Convolution -> its input [B, C, ...].
        output: The network's output, if the pass ran to the end.
    """

    statistics: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    output: Tensor | None = None


class Probe:
    """A network at fixed weights, in training mode (dropout off), that shows what it computes.

    Where the input feeds one convolution alone, repetition and normalisation are folded into it
    (exact, zero padding included), so that a gray image costs a third there.

    Attributes:
        convs: The convolutions whose inputs it can show, in order of execution.
        norms: The norm layers whose statistics it can show, likewise.
    """

    convs: tuple[ConvLayer, ...]
    norms: tuple[str, ...]

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        image_shape: tuple[int, ...],
        frozen: Collection[str] = (),
        branches: Mapping[str, float] | None = None,
    ) -> None:
        """Copy ``network``; ``image_shape`` (C, H, W) or (C, D, H, W); C = 1 is repeated.

        ``mean`` and ``std`` (positive) have one value a network channel, for pixels in [0, 1].
        Batch norms named in ``frozen`` use their running statistics, as in evaluation mode.
        Branches that are skipped at random get the factors ``branches``, else 1.
        """
        self._network = _prepared(network)
        given = branches or {}
        named = {n: given.get(n, 1.0) for n in random_branches(self._network)}
        set_branches(self._network, named)
        for name in frozen:
            self._network.get_submodule(name).eval()
        device = next(self._network.parameters()).device
        self._mean, self._std = (
            torch.tensor(v, device=device).view(-1, *(1,) * (len(image_shape) - 1))
            for v in (mean, std)
        )
        example = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0)).to(device)
        self._layout = layout_of(self._network, self._normalise(example))
        for parameter in self._network.parameters():
            if parameter.ndim == example.ndim:
                parameter.data = parameter.data.contiguous(memory_format=self._layout)
        # The survey's pass moves buffers, and survey hooks want the modules as they are: on a copy.
        found = survey(copy.deepcopy(self._network), self._normalise(example))
        self.convs, self._order = found.convs, found.order
        self.norms = tuple(n for n in found.norms if n not in frozen)
        self._record = _Record()
        for name in self.norms:
            norm = cast(nn.modules.batchnorm._BatchNorm, self._network.get_submodule(name))
            _replace(self._network, name, _ShowingNorm(norm, name, self._record))
        for conv in self.convs:
            self._network.get_submodule(conv.name).register_forward_pre_hook(
                functools.partial(self._record.see_input, conv.name)
            )
        self._folded = False
        if found.entrance is not None:
            self._fold(found.entrance, example)

    def run(
        self,
        images: Tensor,
        *,
        statistics: Collection[str] = (),
        inputs: Collection[str] = (),
        output: bool = False,
    ) -> Trace:
        """Forward ``images`` [B, C, ...] in [0, 1] as one batch, no further than needed.

        Args:
            images: May require grad; what is returned is differentiable once.
            statistics: Norm layers to report, of ``norms``.
            inputs: Convolutions whose input to report, of ``convs``.
            output: Run to the end and report the output.

        Raises:
            ValueError: Nothing is asked for, or a layer that the network does not run.
        """
        wanted = {*statistics, *inputs}
        if unknown := wanted - self._order.keys():
            raise ValueError(f"The network runs no layer {sorted(unknown)}: nothing to report.")
        if not wanted and not output:
            raise ValueError("Nothing to report: name a norm layer, a convolution or the output.")
        self._record.begin(
            frozenset(statistics),
            frozenset(inputs),
            None if output else max(wanted, key=self._order.__getitem__),
        )
        x = images if self._folded else self._normalise(images)
        result = None
        with contextlib.suppress(_SeenEnough):
            result = first_output(self._network(x.contiguous(memory_format=self._layout)))
        return Trace(self._record.statistics, self._record.inputs, result if output else None)

    def _normalise(self, images: Tensor) -> Tensor:
        return (images.expand(-1, len(self._mean), *images.shape[2:]) - self._mean) / self._std

    def _fold(self, name: str, example: Tensor) -> None:
        with torch.no_grad():
            plain = self.run(example, output=True).output
            conv = cast(nn.Conv2d, self._network.get_submodule(name))
            _replace(
                self._network, name, _FoldedConv(conv, self._mean, self._std, example, self._layout)
            )
            self._folded = True
            # The survey cannot see a forward() that also reads its input outside of any module.
            try:
                folded = self.run(example, output=True).output
            except RuntimeError:
                folded = None
        if plain is None or folded is None or not torch.allclose(plain, folded, 1e-2, 1e-3):
            _replace(self._network, name, conv)
            self._folded = False
            return
        self.convs = tuple(c for c in self.convs if c.name != name)
        del self._order[name]


class _SeenEnough(Exception):
    """Ends a forward pass."""


class _Record:
    """What the hooks of one network have seen in the current pass."""

    def __init__(self) -> None:
        self.begin(frozenset(), frozenset(), None)

    def begin(self, statistics: frozenset[str], inputs: frozenset[str], last: str | None) -> None:
        self._statistics, self._inputs, self._last = statistics, inputs, last
        self.statistics: dict[str, tuple[Tensor, Tensor]] = {}
        self.inputs: dict[str, Tensor] = {}

    def see_input(self, name: str, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        if name in self._inputs:
            self.inputs[name] = args[0]
        if name == self._last:
            raise _SeenEnough

    def see_norm(self, name: str, x: Tensor, norm: "_ShowingNorm") -> Tensor:
        if name == self._last:
            self.statistics[name] = BatchStatistics.apply(x)  # pyright: ignore[reportArgumentType]
            raise _SeenEnough
        y, *statistics = NormWithStatistics.apply(x, norm.weight, norm.bias, norm.eps)  # pyright: ignore[reportGeneralTypeIssues]
        if name in self._statistics:
            self.statistics[name] = (statistics[0], statistics[1])
        return y


class _ShowingNorm(nn.Module):
    """Takes the place of a batch norm in training mode; has no running statistics."""

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, name: str, record: _Record) -> None:
        super().__init__()
        device = next(iter(norm.state_dict().values())).device if norm.state_dict() else None
        ones = torch.ones(norm.num_features, device=device)
        self.register_buffer("weight", norm.weight if norm.affine else ones)
        self.register_buffer("bias", norm.bias if norm.affine else torch.zeros_like(ones))
        self.eps, self._name, self._record = norm.eps, name, record

    def forward(self, x: Tensor) -> Tensor:
        return self._record.see_norm(self._name, x, self)


class _FoldedConv(nn.Module):
    """conv(normalise(repeat(x))) as one convolution of x plus a constant map."""

    weight: Tensor
    constant: Tensor

    def __init__(
        self,
        conv: nn.Conv2d,
        mean: Tensor,
        std: Tensor,
        example: Tensor,
        layout: torch.memory_format,
    ) -> None:
        super().__init__()
        self._layout = layout
        weight = conv.weight / std[None]
        if example.shape[1] == 1:
            weight = weight.sum(1, keepdim=True)
        black = (-mean / std).expand(1, -1, *example.shape[2:])
        self.register_buffer("weight", weight.contiguous())
        # Not a bias: zero padding is added after normalisation, so edges differ.
        self.register_buffer("constant", conv(black).contiguous(memory_format=layout))
        self._where = conv.stride, conv.padding, conv.dilation, conv.groups

    def forward(self, x: Tensor) -> Tensor:
        convolve = _CONVOLVE[x.ndim]
        y = convolve(x, self.weight, None, *self._where)  # pyright: ignore[reportArgumentType]
        return y.contiguous(memory_format=self._layout) + self.constant


_CONVOLVE: Mapping[int, Callable[..., Tensor]] = {
    3: functional.conv1d,
    4: functional.conv2d,
    5: functional.conv3d,
}


def _prepared(network: nn.Module) -> nn.Module:
    clone = copy.deepcopy(network).train().requires_grad_(False)
    for module in clone.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010  A captured tensor must stay as the layer saw it.
    return clone


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)

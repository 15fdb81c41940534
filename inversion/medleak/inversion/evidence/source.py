"""What a source of evidence is: one file that reads some layers of an update.

A source says what those layers tell (`Told`, in seconds and without attacking), and gives what an
attack can use: a closed-form `Answer`, or `Clue`s, differentiable and 0 at the truth. To add one,
write a file in ``sources/`` that defines a `Source`, and name it in ``sources/registry.py``.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from medleak.inversion.evidence.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one source can tell from one layer.

    Attributes:
        source: Its name.
        layer: As in ``named_modules()``.
        rank: Directions that stand out of rounding and noise; None where none is read here.
        expected: How many there should be, given images and positions; None likewise.
        positions: Places of an image in this layer.
        images: Images that the layer can tell apart, at most; None where there is no such limit.
        noise: Expected share (0 to 1) of what is read that is noise; None where it is not known.
        exact: Whether the layer's input is determined by algebra, up to what ``words`` say; None
            where that cannot be told without attacking.
        useful: Whether the source can use the layer; False: ``words`` say why not.
        of: What it tells of: pixels, features within the network, or labels.
        words: One sentence, for people.
    """

    source: str
    layer: str
    words: str
    rank: int | None = None
    expected: int | None = None
    positions: int | None = None
    images: int | None = None
    noise: float | None = None
    exact: bool | None = None
    useful: bool = True
    of: Literal["pixels", "features", "labels"] = "pixels"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answer:
    """Images from algebra alone.

    Attributes:
        images: [N, C, *size], in [0, 1].
        labels: [N], where the source tells them.
        misfit: Relative distance of what the images explain to what was observed; 0 at the truth.
        stuck: By its own misfit the source knows that this is no reconstruction.
    """

    images: Tensor
    misfit: float
    stuck: bool
    labels: Tensor | None = None


class Clue(Protocol):
    """What one layer asks of candidate images."""

    @property
    def inputs(self) -> Collection[str]:
        """Convolutions whose inputs `misfit` is given."""
        ...

    def misfit(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Scalar, differentiable; 0 at the truth, and about 1 far from it.

        ``inputs``: [N, C, ...] by module, images in the order of the client's steps.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A way to read an update.

    Attributes:
        name: Short, for tables and settings.
        words: What it reads and what comes of it, in a few plain words.
        needs: What it cannot do without, a phrase each.
        tell: What each layer tells; in seconds.
        answer: Images in closed form, or None where this update does not give them. Asked for
            before any descent.
        clues: By layer, in order of execution: what candidates are compared by.
    """

    name: str
    words: str
    needs: tuple[str, ...]
    tell: Callable[[Reading], Sequence[Told]]
    answer: Callable[[Reading], Answer | None] | None = None
    clues: Callable[[Reading], Mapping[str, Clue]] | None = None

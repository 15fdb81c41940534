"""Where originals and reconstructions lie in the space of a network's features (TMI Fig. 10)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from medleak.inversion.figures.audit_data import AuditData, MissingData, case_text
from medleak.inversion.figures.style import COLOURS, new_figure
from medleak.inversion.measures.embedding import EmbeddingError, load_embedding
from medleak.inversion.results.rows import Row
from medleak.inversion.results.strength import DEFAULT_PARAMETER, protection, strength_of

Embed = Callable[[Tensor], Tensor]
"""Images [N, 3, H, W] in [0, 1] to features [N, D]; see `medleak.inversion.measures.embedding`."""

_FEWEST = 4
_MOST = 2000
_SEED = 0


def embedding_map(
    audit: AuditData,
    *,
    embed: Embed | None = None,
    parameter: str = DEFAULT_PARAMETER,
) -> Figure:
    """t-SNE of features of originals and of reconstructions, coloured by ``parameter``.

    Args:
        audit: Its pictures are read.
        embed: The network; None: ResNet-18 with ImageNet weights, where torch's cache has them.
        parameter: Strength of the defence.

    Raises:
        MissingData: There is no network, or there are fewer than four pictures.
    """
    chosen = audit.one_attacker().compared()
    known = [
        r
        for r in chosen.measured
        if r.truth_picture and strength_of(protection(r), parameter).at is not None
    ]
    rows = _drawn(known)
    truths = list(dict.fromkeys(r.truth_picture for r in rows if r.truth_picture))
    if len(truths) + len(rows) < _FEWEST:
        raise audit.missing(
            f"{_FEWEST} or more pictures for a map", "medleak audit RUN --truth LISTS"
        )
    pictures = [audit.picture(name) for name in (*truths, *(r.picture for r in rows))]
    places = project((embed or _imagenet())(_batch(pictures)).numpy())
    left_out = f"{len(rows)} of {len(known)} reconstructions, drawn at random. "
    caption = f"{left_out if len(rows) < len(known) else ''}{case_text(rows)}"
    return _draw(places, len(truths), [_strength(r, parameter) for r in rows], caption)


def project(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Two-dimensional t-SNE [N, 2] of features [N, D], cosine distance, seed 0.

    Source: van der Maaten and Hinton 2008, by scikit-learn; as TMI 2023, section III-F.
    """
    from sklearn.manifold import TSNE

    perplexity = min(30.0, max(1.0, (len(features) - 1) / 3))
    map_ = TSNE(
        n_components=2, metric="cosine", init="random", perplexity=perplexity, random_state=_SEED
    )
    return np.asarray(map_.fit_transform(features.astype(np.float64)), dtype=np.float64)


def _drawn(rows: Sequence[Row]) -> Sequence[Row]:
    """At most so many as t-SNE takes minutes for; the same ones each time."""
    if len(rows) <= _MOST:
        return rows
    chosen = np.random.default_rng(_SEED).choice(len(rows), _MOST, replace=False)
    return [rows[k] for k in sorted(chosen)]


def _imagenet() -> Embed:
    try:
        return load_embedding()
    except EmbeddingError as error:
        raise MissingData(str(error)) from None


def _batch(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """[N, 3, H, W] in [0, 1]; an audit's pictures are of one size."""
    colour = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in pictures]
    return torch.from_numpy(np.stack(colour)).permute(0, 3, 1, 2).float() / 255


def _draw(
    places: NDArray[np.float64],
    originals: int,
    strengths: Sequence[float],
    caption: str,
) -> Figure:
    figure = new_figure(
        3.6,
        "t-SNE of the embedding network's features, cosine distance. Distances between far groups "
        f"mean nothing. {caption}",
        width_in=5.2,
    )
    axes = figure.add_subplot()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
    # By rank: on a linear scale 0 and 1 of 0, 1, 10, 25 would be one colour.
    levels = sorted(set(strengths))
    dots = axes.scatter(
        *places[originals:].T,
        c=[levels.index(s) for s in strengths],
        cmap=colormaps["cividis"].resampled(max(1, len(levels))),
        norm=Normalize(-0.5, max(1, len(levels)) - 0.5),
        s=16,
        linewidths=0.3,
        edgecolors="white",
        label="reconstruction",
    )
    axes.scatter(
        *places[:originals].T,
        marker="*",
        s=80,
        facecolors=COLOURS[1],
        edgecolors="white",
        linewidths=0.6,
        zorder=3,
        label="original",
    )
    if len(levels) > 1:
        bar = figure.colorbar(dots, ax=axes, label="strength of the defence", shrink=0.8)
        bar.set_ticks(range(len(levels)), labels=[f"{s:g}" for s in levels])
        bar.ax.tick_params(length=0)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _strength(row: Row, parameter: str) -> float:
    return strength_of(protection(row), parameter).at or 0.0

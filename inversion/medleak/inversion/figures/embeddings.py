"""Where originals and reconstructions lie in the space of a network's features (TMI Fig. 10)."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medleak.inversion.figures.audit_data import AuditData, case_text
from medleak.inversion.figures.protection import DEFAULT_PARAMETER, dose, protection
from medleak.inversion.figures.style import INK, new_figure
from medleak.inversion.results import Row

Embed = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]
"""Pictures, uint8 [H, W] or [H, W, 3], to features [N, D]."""

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
        embed: The network.
        parameter: Strength of the defence.

    Raises:
        MissingData: There is no network, or there are fewer than four pictures.
    """
    if embed is None:
        raise audit.missing("a network that embeds pictures", "medleak figures --embedding FILE")
    chosen = audit.one_attacker()
    rows = [
        r for r in chosen.measured if r.truth_picture and dose(protection(r), parameter) is not None
    ][:_MOST]
    truths = list(dict.fromkeys(r.truth_picture for r in rows if r.truth_picture))
    if len(truths) + len(rows) < _FEWEST:
        raise audit.missing(
            f"pictures for a map (at least {_FEWEST})", "medleak audit RUN --truth LISTS"
        )
    pictures = [audit.picture(name) for name in (*truths, *(r.picture for r in rows))]
    features = embed(pictures)
    places = project(features)
    shown = chosen.where(lambda r: r in rows)
    return _draw(places, len(truths), [_strength(r, parameter) for r in rows], shown)


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


def _draw(
    places: NDArray[np.float64],
    originals: int,
    strengths: Sequence[float],
    shown: AuditData,
) -> Figure:
    figure = new_figure(
        3.6,
        "t-SNE of the embedding network's features, cosine distance. Distances between far groups "
        "mean nothing. "
        f"{case_text(shown.rows)}",
        width_in=5.2,
    )
    axes = figure.add_subplot()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    top = max(strengths, default=0.0)
    dots = axes.scatter(
        *places[originals:].T,
        c=list(strengths),
        cmap="cividis",
        norm=Normalize(0, top if top > 0 else 1),
        s=16,
        linewidths=0.3,
        edgecolors="white",
        label="reconstruction",
    )
    axes.scatter(
        *places[:originals].T,
        marker="*",
        s=70,
        facecolors="none",
        edgecolors=INK,
        linewidths=0.9,
        label="original",
    )
    if top > 0:
        figure.colorbar(dots, ax=axes, label="strength of the defence", shrink=0.8)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _strength(row: Row, parameter: str) -> float:
    found = dose(protection(row), parameter)
    return found.strength if found else 0.0

"""Which stages fit a client: one function a kind of client, one line an attempt.

All the evidence at once leads into the right valley, the first layers alone sometimes astray;
there they are the sharpest, and L-BFGS runs down to their floor. Recovered features say more than
the row space that they come from, and lead there from further away.
"""

from dataclasses import replace
from typing import Literal

from medleak.inversion.attacks.row_space.stages import Stage
from medleak.inversion.descent.pyramid_descent import Descent, QuasiNewton
from medleak.inversion.evidence.several_rounds import Rounds

_CLEAR = 2e-3  # noise of rows (`Rows.noise`) up to which they help, whatever the noise is
_EARLY = 1  # row spaces that may lie before the first recovered features
_CLEAR_PARTIAL = 3e-3  # likewise, of rows that are known in part
_NEARLY_ALL = 0.8  # of a patch's values: as many patches
_BLUR, _BLUR_LARGE = 1 / 64, 1 / 56  # wrong valleys are wrong in detail and right in shape

_LEAST, _MOST = 0.02, 10.0  # weight of row spaces beside statistics of several visits
_EXACT = 0.006  # of these, a misfit from which on row spaces weigh more

Recipe = tuple[Stage, ...]


def sharp(iterations: int, *, levels: int = 3, history: int = 30, variation: float = 0.03) -> Stage:
    """The first row space, and the statistics that a pass up to it shows anyway."""
    return Stage(
        descent=QuasiNewton(
            iterations=iterations, levels=levels, history=history, variation=variation
        ),
        norms="shallow",
        spans="first",
        span_weight=(10.0, 10.0),
        squared=True,
    )


def all_evidence(
    iterations: int, *, levels: int = 3, weight: float = 10.0, blur: float = 0.0
) -> Stage:
    """All row spaces and all statistics."""
    stage = sharp(iterations, levels=levels)
    return replace(stage, norms="all", spans="all", span_weight=(weight, weight), blur=blur)


def by_features(iterations: int, *, levels: int = 3, history: int = 30, blur: float = 0.0) -> Stage:
    """Recovered features in the place of the row space."""
    stage = sharp(iterations, levels=levels, history=history)
    return replace(stage, spans="none", features=True, blur=blur)


def by_rows(
    iterations: int, *, layer: Literal["first", "second"] = "first", variation: float = 0.03
) -> Stage:
    """Rows that the patches must explain: finer detail, and flat from further away."""
    stage = sharp(iterations, history=80, variation=variation)
    return replace(stage, spans="none", covers=layer, span_weight=(1.0, 1.0))


def by_partial_rows(iterations: int, *, weight: float) -> Stage:
    """Rows of two layers that a step of Adam left readable in part, and the statistics.

    Rows of which little is known let the image drift at any ``weight`` but a small one.
    """
    stage = sharp(iterations, history=80)
    return replace(stage, spans="none", covers="two", cover_weight=weight, near=True)


STATISTICS = Stage(
    descent=Descent(iterations=600, lr=0.05, variation=(1.0, 0.03), levels=5), spans="none"
)
"""Where no row space stands out."""

VISITS = replace(sharp(120, variation=0.001, history=80), norms="all", spans="none")
"""Then, for a batch seen a few times; see :mod:`medleak.inversion.attacks.row_space.visits`."""

# Adam is slower, and survives the rough losses of random weights.
ROUGH = Stage(
    descent=Descent(iterations=500, lr=0.3, variation=(3.0, 0.1), levels=5),
    norms="shallow",
    spans="first",
    span_weight=(30.0, 30.0),
)
_BY_STATISTICS = Descent(iterations=500, lr=0.1, variation=(1.0, 0.03), levels=5)
_ROUGH_WITHHELD = Stage(
    descent=Descent(iterations=500, lr=0.2, variation=(1.0, 0.03), box=10.0, levels=5),
    norms="none",
    spans="first",
)
_COARSE = Stage(
    descent=Descent(iterations=100, lr=0.05, variation=(1.0, 0.1), levels=4, finest=0.5),
    spans="deep",
    span_weight=(3.0, 3.0),
    share=0.4,
)
_COARSE_LARGE = Stage(
    descent=Descent(iterations=150, lr=0.05, variation=(1.0, 0.1), levels=5),
    span_weight=(3.0, 10.0),
)
_BATCH = Stage(
    descent=Descent(iterations=120, lr=0.05, variation=(1.0, 0.003), levels=3, decay=0.6),
    span_weight=(0.1, 3.0),
    root=True,
)


def first_visit(misfit: float) -> Stage:
    """Last of a batch whose first visit alone has row spaces: statistics tell what these do not.

    Args:
        misfit: Distance of the first norm's statistics, fitted: as far as the weights of later
            visits are not known. The further, the more the row spaces count, which know these.
    """
    weight = min(max(_LEAST, _LEAST * (misfit / _EXACT) ** 2), _MOST)
    return replace(
        sharp(200, variation=0.001, history=80),
        norms="all",
        spans="all",
        span_weight=(weight, weight),
    )


def recipe(rounds: Rounds, n_images: int, *, large: bool, attempt: int = 0) -> Recipe:
    """The stages for what ``rounds`` show; for one image, each attempt goes another way.

    Stages that begin with a blur go on from the best attempt so far.

    Args:
        rounds: The evidence.
        n_images: Of the client.
        large: Images have so many pixels that their valley is long.
        attempt: From 0; the third way is the last.
    """
    if not rounds.spans:
        return (STATISTICS,)
    if n_images > 1:
        stages = several_images(rounds)
    else:
        stages = _one_image(rounds, min(attempt, 2), large=large)
    return stages if rounds.norms else tuple(_without_statistics(s) for s in stages)


def _one_image(rounds: Rounds, attempt: int, *, large: bool) -> Recipe:
    if large:
        return (*large_image(rounds, attempt), *last_stages(rounds))
    if lies_deep(rounds):
        return deep_network(rounds, attempt)
    if not rounds.norms and attempt == 1:
        return without_statistics()
    return (*small_image(rounds, attempt), *last_stages(rounds))


def lies_deep(rounds: Rounds) -> bool:
    """Whether statistics must lead: the first row space is far from the pixels.

    There features are recovered behind several row spaces, or nowhere (in ResNet-18, from the
    second).
    """
    first = next(iter(rounds.features), None)
    return bool(rounds.norms) and (first is None or list(rounds.spans).index(first) > _EARLY)


def deep_network(rounds: Rounds, attempt: int) -> Recipe:
    """One image in a DenseNet, an EfficientNet or a ResNet-50, all the way.

    Many layers make the losses rough: Adam on the statistics before the first row space comes
    where L-BFGS does not, and all there is finishes.
    """
    shallow = replace(ROUGH, descent=_BY_STATISTICS, span_weight=(10.0, 10.0))
    last: Recipe = ()
    if not rounds.covers:  # nothing but statistics tells detail, and variation must leave it
        shallow = replace(shallow, descent=replace(_BY_STATISTICS, iterations=1000))
        last = (everything(60, variation=0.004),)
    first = by_features(60) if rounds.features else all_evidence(30)
    return (
        (shallow, everything(150), *last),
        (replace(everything(80), blur=_BLUR), *last),
        (first, sharp(300, history=80), everything(100), *last),
    )[attempt]


def everything(iterations: int, *, variation: float = 0.015) -> Stage:
    """All statistics and row spaces, and the rows of all layers before them."""
    soft = sharp(iterations, variation=variation, history=80)
    return replace(soft, norms="all", spans="all", covers="shallow", span_weight=(1.0, 1.0))


def without_statistics() -> Recipe:
    """One image, where the first way failed: row spaces of all layers, then their rows.

    A U-Net with instance norm sees contrast by its short cuts, and needs all of them for it.
    """
    adam = Descent(iterations=400, lr=0.1, variation=(1.0, 0.03), levels=5)
    spans = replace(ROUGH, descent=adam, spans="all", span_weight=(10.0, 10.0))
    return (spans, everything(150))


def small_image(rounds: Rounds, attempt: int) -> Recipe:
    """One image of some 64 px, up to where `last_stages` go on."""
    if rounds.features:
        rough = ROUGH if rounds.norms else _ROUGH_WITHHELD
        adam = replace(rough, features=True, span_weight=(1.0, 1.0))
        return (
            (all_evidence(30), sharp(100)),
            (by_features(200), sharp(100)),
            (adam, by_features(200), sharp(100)),
        )[attempt]
    if attempt == 0:
        return (all_evidence(30), sharp(100))
    if attempt == 1:
        return (all_evidence(30, blur=_BLUR), sharp(50))
    if not rounds.norms:
        return (_ROUGH_WITHHELD, sharp(50))
    return (*((_COARSE,) if len(rounds.spans) > 1 else ()), ROUGH, sharp(50))


def large_image(rounds: Rounds, attempt: int) -> Recipe:
    """One image of some 224 px: a longer valley asks for more memory and coarser layers at first.

    Statistics weigh as much as row spaces there, which at weight 10 lead some images astray.
    """
    if rounds.features:
        finish = sharp(60, history=80)
        return (
            (by_features(80, levels=5, history=80), finish),
            (by_features(80, levels=5, history=80, blur=_BLUR_LARGE), sharp(200, history=80)),
            (_COARSE_LARGE, by_features(80, levels=5, history=80), finish),
        )[attempt]
    hop = (all_evidence(60, levels=5, blur=_BLUR_LARGE), sharp(60, levels=5, history=80))
    return (
        (all_evidence(40, levels=5, weight=1.0), sharp(200, history=80)),
        (_COARSE_LARGE, sharp(200, history=80)),
        (*hop, *hop, sharp(200, history=80)),
    )[attempt]


def last_stages(rounds: Rounds) -> Recipe:
    """One image: the rows of a layer before the first row space, where they are clear.

    That row space holds them back if it weighs more than a little; with none, they drift off, and
    what a result is judged by with it. Without statistics it holds back at any weight. Statistics
    alone bear noise better than row spaces (the soft stage).
    """
    first = next(iter(rounds.covers.values()), None)
    if first is not None and first.partial:
        return (by_partial_rows(250, weight=1.0 if first.rows.noise <= _CLEAR_PARTIAL else 0.1),)
    soft = replace(sharp(150, variation=0.015, history=80), span_weight=(1.0, 1.0))
    rows = replace(soft, covers="first", span_weight=(0.1, 0.1), near=True)
    if first is not None and first.rows.noise <= _CLEAR:
        return (rows if rounds.norms else replace(rows, spans="none"),)
    if not rounds.norms:
        drifted = any(s.visits > 1 for s in rounds.steps)
        fine = replace(sharp(80, variation=0.003, history=80), spans="all")
        return (fine if drifted else sharp(100),)
    return (soft,) if first is None else (soft, replace(rows, proven=True))


def several_images(rounds: Rounds) -> Recipe:
    """A batch, or several: features tell images apart at once, and who shared a step.

    Without features, only all the evidence at once does.
    """
    one_step = len(rounds.steps) == 1
    if rounds.features:
        ordered = (
            replace(by_features(60), regroup=True),
            replace(by_features(100), regroup=True),
        )
        wide = (by_features(100),) if one_step else ordered
    elif one_step:
        wide = (_BATCH,)
    else:
        descent = replace(_BATCH.descent, iterations=60, variation=(1.0, 0.6))
        regroup = replace(_BATCH, per_image=True, regroup=True)
        wide = (replace(regroup, descent=descent, span_weight=(0.1, 0.3), share=0.4), regroup)
    return (*wide, *_last_of_several(rounds))


def _last_of_several(rounds: Rounds) -> Recipe:
    if len(rounds.covers) < 2:
        spans = sharp(250, variation=0.01, history=80)
        if not (rounds.features and rounds.norms):
            return (spans,)
        # Near the truth the statistics are the sharper.
        return (replace(spans, features=True, span_weight=(0.1, 0.1)),)
    _, second, *_ = rounds.covers.values()
    first_rows = by_rows(120)
    # Rows of the next layer see through its statistics too, and leave less to total variation.
    second_rows = by_rows(160, layer="second", variation=0.006)
    if rounds.features and second.fullness > _NEARLY_ALL:
        # Rows that nearly every patch explains tell less than row space and features: both stay.
        return (
            replace(first_rows, spans="first", features=True),
            replace(second_rows, spans="first", features=True, span_weight=(0.1, 0.1)),
        )
    return (first_rows, second_rows)


def _without_statistics(stage: Stage) -> Stage:
    """Nothing else than row spaces keeps pixels in their range: a box does."""
    box = max(stage.descent.box, 10.0)
    return replace(stage, norms="none", descent=replace(stage.descent, box=box))

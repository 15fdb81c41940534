"""The stages of row-space matching: what each compares, how it descends, and which fit a client."""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from medleak.inversion.descent.pyramid_descent import Descent, QuasiNewton
from medleak.inversion.evidence.one_round import Evidence, Terms
from medleak.inversion.evidence.several_rounds import JointEvidence

AnyEvidence = Evidence | JointEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One descent on some of the evidence.

    Attributes:
        descent: How.
        norms: Statistics of all norm layers, of those that a pass to the last convolution used
            here runs anyway, or of none.
        spans: Row spaces of all usable convolutions, of the first, of all but it, or of none.
        covers: Likewise, rows that the patches must explain.
        features: Match the recovered input of a convolution, where there is one.
        span_weight: Of row spaces and features, at the start and at the end, geometric between;
            all else has weight 1.
        root: Match the root of the share outside of the row space: firmer near the truth.
        squared: Match squared distances of statistics, as L-BFGS wants it.
        per_image: Centre the patches image by image, as the grouping is not known yet.
        blur: Standard deviation of the blur of what the stage begins with, share of its side.
        regroup: Afterwards, swap images between steps where that explains the update better.
        near: Left out where the first row space says that the image is not near yet.
        proven: Taken back where the result is judged no better.
        share: Of the seconds that are left, what the stage may use.
    """

    descent: Descent | QuasiNewton
    norms: Literal["all", "shallow", "none"] = "all"
    spans: Literal["all", "first", "deep", "none"] = "all"
    covers: Literal["first", "second", "none"] = "none"
    features: bool = False
    span_weight: tuple[float, float] = (1.0, 1.0)
    root: bool = False
    squared: bool = False
    per_image: bool = False
    blur: float = 0.0
    regroup: bool = False
    near: bool = False
    proven: bool = False
    share: float = 1.0


class Matching:
    """The loss of one stage."""

    def __init__(self, evidence: AnyEvidence, stage: Stage) -> None:
        """Choose the layers."""
        self._evidence, self._stage = evidence, stage
        spans, covers = tuple(evidence.spans), tuple(evidence.covers)
        self._spans = {"all": spans, "first": spans[:1], "deep": spans[1:], "none": ()}[stage.spans]
        self._covers = {"first": covers[:1], "second": covers[1:2], "none": ()}[stage.covers]
        self._features = tuple(evidence.features) if stage.features else ()
        shallow = evidence.norms_before((*self._spans, *self._covers, *self._features))
        self._norms = {"all": evidence.norms, "shallow": shallow, "none": ()}[stage.norms]

    def terms(self, images: Tensor) -> Terms:
        """The stage's terms; those that it does not use are 0."""
        return self._evidence.terms(
            images,
            norms=self._norms,
            spans=self._spans,
            covers=self._covers,
            features=self._features,
            per_image=self._stage.per_image,
        )

    def loss(self, images: Tensor, done: float | Tensor) -> Tensor:
        """Scalar; ``done`` in [0, 1) is how far the stage has gone."""
        terms = self.terms(images)
        low, high = self._stage.span_weight
        span = terms.span_root if self._stage.root else terms.span
        moments = terms.squares if self._stage.squared else terms.statistics
        return moments + terms.cover + low * (high / low) ** done * (span + terms.features)


# One image. All the evidence leads into the right valley, the first layers alone sometimes astray
# (0.74 against 0.99); there they are the sharpest, and L-BFGS runs down to their floor.
SHARP = Stage(
    descent=QuasiNewton(iterations=100),
    norms="shallow",
    spans="first",
    span_weight=(10.0, 10.0),
    squared=True,
)
# The rows of a layer before know finer detail, and are flat from further away. The row space of
# the layer behind holds them back if it weighs more than a little; without, it drifts off, and
# what a result is judged by with it.
SHARPEST = replace(
    SHARP,
    descent=QuasiNewton(iterations=150, variation=0.015, history=80),
    covers="first",
    span_weight=(0.1, 0.1),
    near=True,
)
SHARPEST_WITHHELD = replace(SHARPEST, spans="none")
"""Without statistics the row space holds back at any weight."""

SOFT = replace(SHARPEST, covers="none", span_weight=(1.0, 1.0), near=False)
"""Where such rows are missing or noisy: statistics bear noise better than row spaces."""

# What shows as noise in rows (`Rows`). Up to this they help whatever it is (0.97 against 0.95);
# above, noise makes them harm (0.86 against 0.95), and epochs do not (0.98 against 0.96).
_CLEAR = 2e-3

JUDGED = SHARP
"""What a result is judged by, however it was found: later layers are less exact over epochs."""

# Features say more than the row space that they are recovered from, and lead into the right valley
# from further away; all the evidence is quicker where it leads there too.
FEATURES = replace(SHARP, descent=QuasiNewton(iterations=200), spans="none", features=True)

WIDE = replace(SHARP, descent=QuasiNewton(iterations=30), norms="all", spans="all")

# Wrong valleys are wrong in detail, and right in shape: blurred, they lead to better ones.
HOP = replace(WIDE, blur=1 / 64)
LAND = replace(SHARP, descent=QuasiNewton(iterations=50))

# Large images have a longer valley, which asks for more memory and coarser layers to begin with,
# and for statistics that weigh as much: at weight 10, row spaces lead one of ten astray.
WIDE_LARGE = replace(WIDE, descent=QuasiNewton(iterations=40, levels=5), span_weight=(1.0, 1.0))
SHARP_LARGE = replace(SHARP, descent=QuasiNewton(iterations=200, history=80))
FEATURES_LARGE = replace(FEATURES, descent=QuasiNewton(iterations=80, levels=5, history=80))
FINISH_LARGE = replace(SHARP, descent=QuasiNewton(iterations=60, history=80))
HOP_LARGE = replace(WIDE, descent=QuasiNewton(iterations=60, levels=5), blur=1 / 56)
LAND_LARGE = replace(SHARP, descent=QuasiNewton(iterations=60, levels=5, history=80))

# Adam is slower, and survives the rough losses of random weights.
ROUGH = Stage(
    descent=Descent(iterations=500, lr=0.3, variation=(3.0, 0.1), levels=5),
    norms="shallow",
    spans="first",
    span_weight=(30.0, 30.0),
)
ROUGH_FEATURES = replace(ROUGH, features=True, span_weight=(1.0, 1.0))
ROUGH_WITHHELD = Stage(
    descent=Descent(iterations=500, lr=0.2, variation=(1.0, 0.03), box=10.0, levels=5),
    norms="none",
    spans="first",
)
COARSE = Stage(
    descent=Descent(iterations=100, lr=0.05, variation=(1.0, 0.1), levels=4, finest=0.5),
    spans="deep",
    span_weight=(3.0, 3.0),
    share=0.4,
)
# Where L-BFGS goes astray on a large image, Adam on all the evidence was seen not to.
COARSE_LARGE = Stage(
    descent=Descent(iterations=150, lr=0.05, variation=(1.0, 0.1), levels=5),
    span_weight=(3.0, 10.0),
)
STATISTICS = Stage(
    descent=Descent(iterations=600, lr=0.05, variation=(1.0, 0.03), levels=5), spans="none"
)
# Several images: features tell them apart at once, and who shared a step.
BATCH_FEATURES = replace(FEATURES, descent=QuasiNewton(iterations=100))
BATCH_ORDER = replace(BATCH_FEATURES, descent=QuasiNewton(iterations=60), regroup=True)
# Without features, only all the evidence at once does.
BATCH = Stage(
    descent=Descent(iterations=120, lr=0.05, variation=(1.0, 0.003), levels=3, decay=0.6),
    span_weight=(0.1, 3.0),
    root=True,
)
GROUPING = replace(
    BATCH,
    descent=replace(BATCH.descent, iterations=60, variation=(1.0, 0.6)),
    span_weight=(0.1, 0.3),
    per_image=True,
    regroup=True,
    share=0.4,
)
BATCH_SHARP = Stage(
    descent=QuasiNewton(iterations=120, history=80),
    norms="shallow",
    spans="none",
    covers="first",
    squared=True,
)
# Rows of the next layer see through its statistics too, and leave less to total variation.
BATCH_SHARPEST = replace(
    BATCH_SHARP,
    descent=QuasiNewton(iterations=160, variation=0.006, history=80),
    covers="second",
)
BATCH_SPANS = replace(
    BATCH_SHARP,
    descent=QuasiNewton(iterations=250, variation=0.01, history=80),
    spans="first",
    covers="none",
    span_weight=(10.0, 10.0),
)
# Near the truth the statistics are the sharper: 32 images 0.78 at weight 10, 0.83 at 0.1.
BATCH_FOUND = replace(BATCH_SPANS, features=True, span_weight=(0.1, 0.1))
# Rows that nearly every patch explains tell less than row space and features, which then stay.
BATCH_HELD = replace(BATCH_SHARP, spans="first", features=True)
BATCH_HELD_LONGER = replace(BATCH_SHARPEST, spans="first", features=True, span_weight=(0.1, 0.1))
_NEARLY_ALL = 0.8  # of a patch's values: as many patches


def recipe(
    evidence: AnyEvidence, n_images: int, *, large: bool, attempt: int = 0
) -> tuple[Stage, ...]:
    """The stages for what ``evidence`` holds; for one image, each attempt goes another way.

    Stages that begin with a blur go on from the best attempt so far.
    """
    if not evidence.spans:
        return (STATISTICS,)
    stages = _batch(evidence) if n_images > 1 else _single(evidence, large, attempt)
    return stages if evidence.norms else tuple(_without_statistics(s) for s in stages)


def _single(evidence: AnyEvidence, large: bool, attempt: int) -> tuple[Stage, ...]:
    way = _by_features if evidence.features else _by_row_spaces
    return (*way(evidence, large, min(attempt, 2)), *_sharpest(evidence))


def _by_features(evidence: AnyEvidence, large: bool, attempt: int) -> tuple[Stage, ...]:
    if large:
        return (
            (FEATURES_LARGE, FINISH_LARGE),
            (replace(FEATURES_LARGE, blur=HOP_LARGE.blur), SHARP_LARGE),
            (COARSE_LARGE, FEATURES_LARGE, FINISH_LARGE),
        )[attempt]
    rough = ROUGH_FEATURES if evidence.norms else replace(ROUGH_WITHHELD, features=True)
    return ((WIDE, SHARP), (FEATURES, SHARP), (rough, FEATURES, SHARP))[attempt]


def _by_row_spaces(evidence: AnyEvidence, large: bool, attempt: int) -> tuple[Stage, ...]:
    if large:
        return (
            (WIDE_LARGE, SHARP_LARGE),
            (COARSE_LARGE, SHARP_LARGE),
            (HOP_LARGE, LAND_LARGE, HOP_LARGE, LAND_LARGE, SHARP_LARGE),
        )[attempt]
    if attempt < 2:
        return ((WIDE, SHARP), (HOP, LAND))[attempt]
    if not evidence.norms:
        return (ROUGH_WITHHELD, LAND)
    return (*((COARSE,) if len(evidence.spans) > 1 else ()), ROUGH, LAND)


def _sharpest(evidence: AnyEvidence) -> tuple[Stage, ...]:
    first = next(iter(evidence.covers.values()), None)
    if first is not None and first.rows.noise <= _CLEAR:
        return (SHARPEST if evidence.norms else SHARPEST_WITHHELD,)
    if not evidence.norms:
        return (SHARP,)
    return (SOFT,) if first is None else (SOFT, replace(SHARPEST, proven=True))


def _batch(evidence: AnyEvidence) -> tuple[Stage, ...]:
    one_step = len(evidence.steps) == 1
    if evidence.features:
        ordered = (BATCH_ORDER, replace(BATCH_FEATURES, regroup=True))
        wide = (BATCH_FEATURES,) if one_step else ordered
    elif one_step:
        wide = (BATCH,)
    else:
        wide = (GROUPING, replace(BATCH, per_image=True, regroup=True))
    return (*wide, *_batch_sharpest(evidence))


def _batch_sharpest(evidence: AnyEvidence) -> tuple[Stage, ...]:
    if len(evidence.covers) < 2:
        return (BATCH_FOUND if evidence.features and evidence.norms else BATCH_SPANS,)
    _, second, *_ = evidence.covers.values()
    if evidence.features and second.fullness > _NEARLY_ALL:
        return (BATCH_HELD, BATCH_HELD_LONGER)
    return (BATCH_SHARP, BATCH_SHARPEST)


def _without_statistics(stage: Stage) -> Stage:
    """Nothing else than row spaces keeps pixels in their range: a box does."""
    box = max(stage.descent.box, 10.0)
    return replace(stage, norms="none", descent=replace(stage.descent, box=box))

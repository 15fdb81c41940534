"""What an audit puts between a recorded update and the attacker, read from its text.

A site's own defences come first, as it would run them. After them may stand what an audit imitates
by other means: training on more images a step, as a site's minimum asks for; the sum over sites
that is all a server sees under secure aggregation; and an update in which nothing but the noise is
left, for comparison.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from medleak.filters.registry import Defence, Strength, defence, row_of
from medleak.filters.spec import Spec, SpecChain

MINIMUM_BATCH = "minimum_batch"
SECURE_AGGREGATION = "secure_aggregation"
NOISE_ALONE = "noise_alone"
"""Entries shuffled within each tensor: the null that a calibration compares with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRow:
    """What a help and a report say of a replay that is no defence of a site.

    Attributes:
        name: As in ``medleak audit --defence``, last in a chain.
        words: What it does, in a few plain words.
        source: Where it comes from.
        example: Arguments under which it can be used, as ``key=value,…``.
        strengths: Numbers that make it stronger.
    """

    name: str
    words: str
    source: str
    example: str = ""
    strengths: tuple[Strength, ...] = ()


ROWS: tuple[ReplayRow, ...] = (
    ReplayRow(
        name=MINIMUM_BATCH,
        words="the site makes one step on so many of its images, which the audit makes anew",
        source="Geiping et al., arXiv:2003.14053, section 6; the filter MinimumBatch asks for it",
        example="step=8",
        strengths=(Strength(parameter="step", low=1),),
    ),
    ReplayRow(
        name=SECURE_AGGREGATION,
        words="the server sees nothing but the sum over so many sites",
        source="Bonawitz et al., CCS 2017; Segal et al., arXiv:1611.04482",
        example="sites=3",
        strengths=(Strength(parameter="sites", low=2, nothing=1.0),),
    ),
)
"""What may follow a site's own defences and stands for something real."""

Step = Literal["minimum_batch", "secure_aggregation", "noise_alone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What stands between a recorded update and the attacker.

    Attributes:
        at_site: What each site does before it sends; None: nothing.
        own: Its text.
        step: Images of the one step that the update is made anew with; None: as recorded.
        sites: Of so many sites the attacker sees the sum; 1: the site's own update.
        noise_alone: Whether the entries are shuffled, so that they say nothing of any image.
        tail: The text of what is no site's defence.
    """

    at_site: Defence | None
    own: str = ""
    step: int | None = None
    sites: int = 1
    noise_alone: bool = False
    tail: tuple[Spec, ...] = ()


def replay_of(text: str) -> Replay:
    """Read the text of a case's defence, see `medleak.filters.registry.defence`.

    >>> replay_of("withhold+secure_aggregation:sites=3").sites
    3

    Raises:
        ValueError: Unknown name or parameter, a missing or malformed value, or a wrong order.
    """
    steps = SpecChain.parse(text).steps
    names = [step.name for step in steps]
    first = next((k for k, name in enumerate(names) if name in get_args(Step)), len(steps))
    own, tail = steps[:first], steps[first:]
    expected = [name for name in get_args(Step) if name in names[first:]]
    if names[first:] != expected:
        raise ValueError(
            f"{text!r}: after what the sites do stand {MINIMUM_BATCH}, {SECURE_AGGREGATION}, "
            f"{NOISE_ALONE}, in this order, each at most once and with no defence behind them, as "
            "the sites send before the sum is made."
        )
    said = (text if not tail else str(SpecChain(own))) if own else ""
    replay = Replay(at_site=defence(said) if own else None, own=said, tail=tail)
    for step in tail:
        if step.name == SECURE_AGGREGATION:
            replay = dataclasses.replace(replay, sites=_count(step, "sites", 2, "no sum"))
        elif step.name == MINIMUM_BATCH:
            replay = dataclasses.replace(replay, step=_count(step, "step", 1, "no step"))
        elif step.args:
            raise ValueError(f"{NOISE_ALONE} takes no parameter, got {next(iter(step.args))!r}.")
        else:
            replay = dataclasses.replace(replay, noise_alone=True)
    return replay


def _count(step: Spec, name: str, least: int, below: str) -> int:
    value = step.args.get(name)
    if set(step.args) != {name}:
        raise ValueError(f"{step.name} takes {name}, and needs it, as {step.name}:{name}=3.")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"{step.name}: {name} is a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"{step.name} of {value:g} {name} is {below}: give at least {least}.")
    return int(value)


def strengths_of(name: str) -> tuple[Strength, ...] | None:
    """The numbers that make a defence or a replay stronger; None of what is neither."""
    row = row_of(name) or next((row for row in ROWS if row.name == name), None)
    return None if row is None else row.strengths


def sums_over_sites(text: str) -> bool:
    """Whether what the attacker of ``text`` sees has other sites' updates in it."""
    return SECURE_AGGREGATION in _names(text)


def is_null(text: str) -> bool:
    """Whether nothing of any update was left to attack: such rows are evidence of no protection."""
    return NOISE_ALONE in _names(text)


def _names(text: str) -> tuple[str, ...]:
    try:
        return SpecChain.parse(text).names
    except ValueError:  # of a file that anybody may have written
        return ()


def require_sites(wanted: int, there: int, round: int) -> None:
    """Refuse a sum over more sites than sent an update.

    Raises:
        ValueError: It is one.
    """
    if wanted > there:
        raise ValueError(
            f"{SECURE_AGGREGATION}:sites={wanted} is a sum over {wanted} sites, and {there} sent "
            f"an update in round {round}: choose fewer, or another round."
        )

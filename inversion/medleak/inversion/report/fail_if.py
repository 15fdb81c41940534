"""A gate for CI: a condition on figures, such as ``rdlv.upper95 > 0``, that fails closed.

Grammar, without any evaluation of code::

    condition = all { "or" all } ;  all = test { "and" test } ;
    test = [ "membership." ] metric "." field op number ;
    op = ">" | ">=" | "<" | "<=" | "==" | "!=" ;
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from medleak.inversion.report import who
from medleak.inversion.report.model import (
    MEMBERSHIP_METRICS,
    METRICS,
    Audit,
    Figure,
    Group,
    Membership,
)
from medleak.inversion.report.texts import short

FIELDS = ("mean", "lower95", "upper95", "min", "max", "n")
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_MEMBERSHIP = "membership."
_KNOWN = (*METRICS, *(_MEMBERSHIP + name for name in MEMBERSHIP_METRICS))
_METRIC = rf"(?:{re.escape(_MEMBERSHIP)})?[a-z_0-9]+"
_TEST = re.compile(rf"\s*({_METRIC})\.([a-z0-9]+)\s*(>=|<=|==|!=|>|<)\s*({_NUMBER})\s*", re.ASCII)
_LONGEST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One comparison of a group's figure with a number."""

    metric: str
    field: str
    op: str
    number: float

    def __str__(self) -> str:
        """As it is written in a condition."""
        return f"{self.metric}.{self.field} {self.op} {self.number:g}"


Condition = Sequence[Sequence[Test]]
"""An "or" of "and"s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A group that meets the condition, or for which it cannot be decided."""

    site: str
    round: int | None
    attack: str
    defence: str
    knowledge: str
    why: str


def parse(text: str) -> Condition:
    """Read a condition.

    Raises:
        ValueError: It is not of the grammar, or names an unknown metric or field.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"The condition has {len(text)} characters, more than {_LONGEST}.")
    return [
        [_test(part) for part in re.split(r"\band\b", clause)]
        for clause in re.split(r"\bor\b", text)
    ]


def _test(text: str) -> Test:
    match = _TEST.fullmatch(text)
    if match is None:
        raise ValueError(
            f"Condition {text.strip()!r} is not of the form metric.field op number, such as "
            "'rdlv.upper95 > 0'; join several by 'and' and 'or'."
        )
    metric, field, op, number = match.groups()
    if metric not in _KNOWN or field not in FIELDS:
        raise ValueError(
            f"Condition {text.strip()!r}: there is no {metric}.{field}. Metrics are "
            f"{', '.join(_KNOWN)}; fields are {', '.join(FIELDS)}."
        )
    return Test(metric=metric, field=field, op=op, number=float(number))


def failures(audit: Audit, condition: Condition) -> list[Failure]:
    """All groups that meet ``condition``, or where it is undefined: a gate must not let those by.

    Cases that could not be attacked count as undefined, and so does an audit without any group.
    A group in which images were found that match no listed one is undefined whatever its figures:
    they compare what came back with something that the network may never have seen. So is one with
    an update that contradicts what was said of it: the attack was told something false.
    Rounds that meet it count too, so that none hides behind the mean of all; a round for which it
    is undefined does not, as the site's figures over all rounds decide there.

    ``membership.auc`` and the like are the largest of all answers for the group's site, defence
    and, if it has one, round. They are undefined where nobody asked, and where a low figure would
    be no evidence.
    """
    found = []
    for group, asked in _units(audit):
        why, decided = _meets(group, asked, condition)
        # A round of a single image has no interval; the site's mean over rounds may have one.
        if why and (decided or group.round is None):
            found.append(_failure(group, why))
    for refused in audit.refused:
        case = refused["case"]
        round_ = case.get("round")
        found.append(
            Failure(
                site=str(case["site"]),
                round=round_ if isinstance(round_, int) else None,
                attack=str(case.get("attack", "")),
                defence=str(case.get("defence", "")),
                knowledge=str(case.get("knowledge", "")),
                why=f"undefined: it could not be attacked ({refused.get('why', 'not said')})",
            )
        )
    if not audit.groups and not audit.refused and not audit.membership:
        why = "undefined: the audit attacked nothing"
        found.append(
            Failure(site="(none)", round=None, attack="", defence="", knowledge="", why=why)
        )
    return found


def _units(audit: Audit) -> Iterator[tuple[Group, list[Membership]]]:
    """Groups with the answers that belong to them; answers that belong to none have one of their
    own without any figure of images.
    """
    left = dict.fromkeys(range(len(audit.membership)))
    for group in audit.groups:
        mine = [
            k
            for k, m in enumerate(audit.membership)
            if (m.site, m.defence) == (group.site, group.defence) and group.round in (None, m.round)
        ]
        for k in mine:
            left.pop(k, None)
        yield group, [audit.membership[k] for k in mine]
    alone: dict[tuple[str, str], list[Membership]] = {}
    for k in left:
        m = audit.membership[k]
        alone.setdefault((m.site, m.defence), []).append(m)
    for (site, defence), answers in alone.items():
        group = Group(
            site=site,
            round=None,
            attack=f"membership by {answers[0].score}",
            declared="",
            defence=defence,
            knowledge=answers[0].knowledge,
            n=0,
            seeds=1,
            figures={},
        )
        yield group, answers


def _failure(group: Group, why: str) -> Failure:
    return Failure(
        site=group.site,
        round=group.round,
        attack=group.attack,
        defence=group.defence,
        knowledge=group.knowledge,
        why=why,
    )


def _meets(group: Group, asked: Sequence[Membership], condition: Condition) -> tuple[str, bool]:
    """Why the group fails (empty: it passes), and whether its figures decide that.

    Undefined "or" true is true, undefined "and" false is false.
    """
    if group.verdict is not None and group.verdict.kind == "found_not_identified":
        return "undefined: images were found that match no listed one (found, not identified)", True
    if group.contradicted:
        why = short(group.contradicted, 300)
        return f"undefined: an update contradicts what was said of it ({why})", True
    undecided = ""
    for clause in condition:
        results = [(test, _value(group, asked, test)) for test in clause]
        if any(v is not None and not _OPERATORS[t.op](v, t.number) for t, v in results):
            continue
        undefined = [t for t, v in results if v is None]
        if not undefined:
            said = ", ".join(f"{t.metric}.{t.field} = {v:.4g}" for t, v in results)
            return f"{' and '.join(map(str, clause))} ({said})", True
        undecided = undecided or _undefined(group, asked, undefined[0])
    return undecided, False


def _value(group: Group, asked: Sequence[Membership], test: Test) -> float | None:
    if test.metric.startswith(_MEMBERSHIP):
        figure = _of_membership(asked, test)
        value = getattr(figure, test.field)
        # A figure that lets by must be evidence; one that does not is bad enough as it is.
        lets_by = value is not None and not _OPERATORS[test.op](value, test.number)
        return None if lets_by and who.flaw(asked) else value
    figure = group.figure(test.metric)
    value = getattr(figure, test.field)
    single = figure.n == 1 and figure.mean is not None and test.field in ("min", "max")
    return figure.mean if value is None and single else value


def _of_membership(asked: Sequence[Membership], test: Test) -> Figure:
    """Over all answers; undefined if one of them has no such figure."""
    name = test.metric.removeprefix(_MEMBERSHIP)
    found = who.worst(asked, name)
    return found if found.n == len(asked) else Figure()


def _undefined(group: Group, asked: Sequence[Membership], test: Test) -> str:
    if test.metric.startswith(_MEMBERSHIP):
        reason = "nobody asked who was in its updates as they are here (not tested)"
        if asked:
            reason = short(who.flaw(asked), 300) or "it is not known who was in"
        return f"undefined: {test.metric}.{test.field}, as {reason}"
    figure = group.figure(test.metric)
    if not group.figure("ssim").defined:
        reason = "there is no original to compare with"
    elif figure.mean is None:
        reason = f"the audit has no {test.metric} for it"
    else:
        images = "image" if figure.n == 1 else "images"
        reason = f"no interval was computed from {figure.n} {images}"
    return f"undefined: {test.metric}.{test.field}, as {reason}"

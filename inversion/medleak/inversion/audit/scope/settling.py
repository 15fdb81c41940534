"""Stop attacking a site when it is settled that it leaks: a group sequential rule.

A site's rounds, under one attack, defence and knowledge, are looked at in their order. Before each
round but the first, those that are done are tested; where they show a leak, the site is settled and
its other rounds are not attacked. That nothing came back settles nothing: a round that was not
attacked may leak.

Looking often must not turn chance into a leak. Two of the signs of `medleak.inversion.results.rule`
cannot: an image that came back almost whole, or far ahead of every null, stays so whatever follows.
The others are tests at 0.01; the looks before the last spend `SPENT` of error in all, in proportion
to the share of the rounds that is done (Lan and DeMets, Biometrika 70, 1983; the increments are
added, so that it holds whatever the dependence of the looks). As with Haybittle and Peto's rule the
last look then is the ordinary one, and "leaks" is said in error with at most 0.01 + 0.001.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medleak.inversion.results.case import Case
from medleak.inversion.results.group import figures_of
from medleak.inversion.results.rows import Row
from medleak.inversion.results.rule import judge, settled_at

SPENT = 0.001
"""Error that all looks but the last may spend together."""

_Group = tuple[str, str, str, str]


class Settling:
    """Which cases of a plan need not be done; it depends on results alone, and not on their order.

    Cases that ask who was in, and attacks that join rounds, are never left out.
    """

    def __init__(
        self, cases: Sequence[Case], found: Callable[[Case], Sequence[Row] | None]
    ) -> None:
        """Take the plan.

        Args:
            cases: All of it.
            found: The rows of a case; None: it has none yet.
        """
        self._found, self._refused = found, set[Case]()
        self._rounds: dict[_Group, dict[int, list[Case]]] = {}
        for case in cases:
            if case.score is None and not case.averages:
                stages = self._rounds.setdefault(_group(case), {})
                stages.setdefault(case.round, []).append(case)
        self._looks: dict[tuple[str, str, str, str, int], bool] = {}

    def refused(self, case: Case) -> None:
        """``case`` came to its end without a row: the others are looked at without it."""
        self._refused.add(case)

    def ready(self, task: Any) -> bool:
        """Whether it is known if ``task`` has to be done: earlier rounds have come to an end."""
        if not isinstance(task, Case) or (stages := self._rounds.get(_group(task))) is None:
            return True
        if self.why(task):
            return True
        before = (c for round, of in stages.items() if round < task.round for c in of)
        return all(self._end(c) is not None or self.why(c) for c in before)

    def _end(self, case: Case) -> Sequence[Row] | None:
        found = self._found(case)
        return () if found is None and case in self._refused else found

    def why(self, task: Any) -> str:
        """Why ``task`` need not be done; empty: it does, as far as is known now."""
        if not isinstance(task, Case) or (stages := self._rounds.get(_group(task))) is None:
            return ""
        after = self._settled_after(_group(task), stages)
        if after is None or task.round <= after:
            return ""
        done = sum(round <= after for round in stages)
        return f"settled to leak after {done} of {len(stages)} rounds"

    def not_confirmed(
        self, cases: Sequence[Case], health: Mapping[str, Mapping[str, Any]]
    ) -> list[Case]:
        """Those of ``cases`` that were left out, of groups that do not leak by the whole rule.

        That is so where other sites' reconstructions, known at the end alone, are as near to the
        images. These groups are not looked at early again.
        ``health`` is by attack and knowledge (`medleak.inversion.audit.health.key`), as
        `medleak.inversion.results.rule.judge` takes it.
        """
        out: dict[_Group, list[Case]] = {}
        for case in cases:
            if self.why(case):
                out.setdefault(_group(case), []).append(case)
        again = []
        for group, of in out.items():
            done = [c for stage in self._rounds[group].values() for c in stage]
            rows = [row for c in done for row in self._found(c) or ()]
            easy = health.get(f"{of[0].attack}|{of[0].knowledge}")
            if judge(rows, figures_of(rows), easy).kind != "leaks":
                self._rounds.pop(group)
                again += of
        return again

    def _settled_after(self, group: _Group, stages: dict[int, list[Case]]) -> int | None:
        rows: list[Row] = []
        for round in sorted(stages)[:-1]:
            for case in stages[round]:
                if (found := self._end(case)) is None:
                    return None
                # Other sites' reconstructions are known at the end: an audit that goes on decides
                # as one that was never stopped.
                rows += [dataclasses.replace(row, ssim_other=None) for row in found]
            if (look := (*group, round)) not in self._looks:
                # The share of the rounds rises by equal steps, and so does the error that is spent.
                self._looks[look] = bool(rows) and settled_at(rows, SPENT / len(stages))
            if self._looks[look]:
                return round
        return None


def _group(case: Case) -> _Group:
    return case.site, case.attack, case.defence, case.knowledge

"""Answers to who was in, as summary.json holds them, with figures of made-up scores."""

from typing import Any

import numpy as np

from medleak.inversion.membership.answer import Assessed
from medleak.inversion.membership.roc import separation
from medleak.inversion.membership.rule import Findings, judge

KNOWLEDGE = "all, labels inferred"


def an_answer(
    site: str,
    *,
    gap: float = 3.0,
    defence: str = "none",
    members: int = 60,
    others: int = 120,
    easy: float | None = 1.0,
    **case: Any,
) -> dict[str, Any]:
    """``gap``: standard deviations by which members score above others."""
    rng = np.random.default_rng(7)
    member = np.arange(members + others) < members
    scores = rng.normal(size=len(member))
    who = list(range(len(member)))
    found = Findings(
        separation=separation(scores + gap * member, member, who),
        nulls=(separation(rng.normal(size=len(member)), member, who),),
        recognised=40 if gap > 2 else 0,
        null_recognised=0,
        easy=easy,
        least_p=0.005,
        views_known=True,
        members=members,
    )
    verdict = judge(
        found, score="row_space", knowledge=KNOWLEDGE, images=len(who), patients=len(who)
    )
    summary = Assessed(round=0, site=site, found=found, verdict=verdict).summary()
    return {
        "round": 0,
        "site": site,
        "attack": "membership/row_space",
        "defence": defence,
        "knowledge": KNOWLEDGE,
        "seed": 0,
        **summary,
        **case,
    }

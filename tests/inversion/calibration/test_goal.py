"""Tests of medleak.inversion.calibration.goal: what every goal has in common."""

import dataclasses
import json
from typing import Any

import pytest

from medleak.inversion.calibration.goal import NoImages
from medleak.inversion.calibration.members import NobodyTold, TriedMembership
from medleak.inversion.calibration.probe import Attacked, Found, NotMeasuredError, TriedStrength
from medleak.inversion.cli.calibrate import CLOSE, MARGIN

COMMON: dict[str, Any] = {
    "strength": 1.0,
    "n": 3,
    "seeds": (0, 1, 2),
    "attack": "a",
    "knowledge": "all",
}
EXCESS: dict[str, Any] = {
    "rdlv_mean": 0.1,
    "rdlv_upper95": 0.3,
    "alone_mean": 0.0,
    "excess_upper95": 0.2,
}
IMAGES = TriedStrength(**COMMON, **EXCESS, over="patients", above=1, images=4, refused=2)
MEMBERS = TriedMembership(**COMMON, auc_mean=0.55, auc_upper95=0.65, recognised=2)


@pytest.mark.parametrize("goal", [NoImages(), NobodyTold()])
def test_nothing_that_was_found_is_nothing_that_was_measured(goal):
    nothing = Attacked(rows=())
    with pytest.raises(NotMeasuredError):
        goal.tried(0.0, (0, 1), Found(update=nothing, alone=nothing, health={}), None)
    json.dumps(goal.settings(), allow_nan=False)


@pytest.mark.parametrize(
    ("goal", "tried", "bound"), [(NoImages(), IMAGES, "+0.200"), (NobodyTold(), MEMBERS, "0.650")]
)
def test_what_was_tried_goes_into_a_file_and_into_words(goal, tried, bound):
    json.dumps(dataclasses.asdict(tried), allow_nan=False)
    assert bound in tried.at_most()
    assert bound in goal.confirmed(tried)[0]
    assert bound in tried.columns().values()


def test_the_words_of_the_option_are_the_defaults_of_the_goals():
    assert (NoImages().margin, NobodyTold().most) == (MARGIN, CLOSE)

"""Tests of medleak.inversion.card.page: what a card says, and what it does not."""

import pytest
from tests.inversion.card.descriptions import SMALL

from medleak.inversion.card.config import CardConfig
from medleak.inversion.card.examine import Findings, Membership, Recipient
from medleak.inversion.card.page import NOT_TESTED, TESTED, headline, page, who
from medleak.inversion.report.attack_classes.registry import ROWS
from medleak.inversion.report.verdicts import Light


def recipient(light, defence="none", **more):
    return Recipient(defence=defence, light=light, why="a reason", images=2, **more)


def findings(*recipients, **more):
    config = CardConfig.model_validate(SMALL)
    return Findings(config=config, inspection=None, why="no source", recipients=recipients, **more)


@pytest.mark.parametrize(
    ("light", "known", "begins"),
    [
        (Light.LEAKS, True, "Yes, it leaks"),
        (Light.FOUND, False, "Count it as a leak"),
        (Light.MAY_LEAK, False, "Not known"),
        (Light.NOT_KNOWN, False, "Not known"),
        (Light.NONE_FOUND, True, "No leak was found by what was tried"),
    ],
)
def test_only_a_leak_and_none_found_are_answers(light, known, begins):
    found = findings(recipient(light))
    assert found.known is known
    assert headline(found).startswith(begins)


def test_a_defence_that_held_and_one_that_did_not_are_told_apart():
    found = findings(
        recipient(Light.LEAKS, whole=2, ssim=0.95, ssim_max=0.96, prior=0.5),
        recipient(Light.NONE_FOUND, "withhold"),
        recipient(Light.NOT_KNOWN, "secure_aggregation:sites=2"),
        membership=Membership(verdicts=["leaks: AUC 0.99"], auc=[(0.99, 0.95, 1.0)]),
    )
    text = page(found)
    assert f"No leak was found any more: {who('withhold')}" in text
    assert f"Not enough, or not known: {who('secure_aggregation:sites=2')}" in text
    assert "0.990 [0.950, 1.000]" in text
    assert "2 of 2" in text


def test_a_defence_behind_which_members_are_told_is_not_enough():
    told = recipient(Light.NONE_FOUND, "withhold", members="told at 1 of 2 sites")
    text = page(findings(recipient(Light.LEAKS), told))
    assert f"Not enough, or not known: {who('withhold')}" in text
    assert "No leak was found any more" not in text


def test_of_images_that_were_compared_with_none_no_count_is_given():
    assert "| not known | not measured | not known |" in page(findings(recipient(Light.NOT_KNOWN)))


def test_every_class_of_attack_is_tried_or_not_tested_with_a_reason_of_its_own():
    names = {row.name for row in ROWS}
    assert set(TESTED) | set(NOT_TESTED) == names
    text = page(findings(recipient(Light.LEAKS)))
    for row in ROWS:
        assert (f"- {row.title}: " in text) == (row.name not in TESTED)


def test_texts_of_a_description_begin_no_markup():
    config = CardConfig.model_validate(SMALL | {"name": "<img src=x>", "source": "[a](http://b)"})
    found = Findings(config=config, inspection=None, recipients=[recipient(Light.LEAKS)])
    assert "<img" not in page(found)
    assert "\\[a](http" in page(found)


@pytest.mark.parametrize("light", [Light.NONE_FOUND, Light.NOT_KNOWN, Light.MAY_LEAK])
def test_members_that_are_told_are_a_leak_though_no_image_came_back(light):
    told = Membership(verdicts=["leaks: AUC 0.99", "inconclusive"], kinds=["leaks", "inconclusive"])
    found = findings(recipient(light), membership=told)
    assert found.known
    assert headline(found).startswith("Yes, it tells who was in it")
    assert "No leak was found" not in headline(found)

import pytest
from tests.inversion.report.directories import a_group

from medleak.inversion.report.attack_classes.cases import unexamined

CASE = {"site": "a", "round": 1, "attack": "row_space", "defence": "none"}
ASKED = CASE | {"attack": "average/membership/row_space"}


@pytest.mark.parametrize(
    ("more", "images", "members"),
    [
        ({}, "", ""),
        ({"refused": [{"case": CASE, "why": "no"}]}, "1 cases could not", ""),
        ({"refused": [{"case": ASKED, "why": "no"}]}, "", "1 cases could not"),
        ({"refused": [{"case": CASE | {"defence": "top_k"}, "why": "no"}]}, "", ""),
        ({"left": [CASE, ASKED]}, "2 of its cases", "2 of its cases"),
        ({"settled": [{"case": CASE, "why": "leaks"}]}, "1 cases were left out", ""),
    ],
)
def test_what_has_no_answer_is_counted_by_question_and_defence(audited, more, images, members):
    audit = audited((), [a_group("a")], **more)
    for membership, words in ((False, images), (True, members)):
        said = unexamined(audit, "none", ["a"], membership=membership)
        assert words in said
        assert bool(said) == bool(words)


def test_a_site_without_figures_is_named_first(audited):
    audit = audited((), [a_group("a"), a_group("b")])
    assert unexamined(audit, "none", ["b"]) == "1 sites were not measured"

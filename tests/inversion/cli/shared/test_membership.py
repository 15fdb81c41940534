from medleak.inversion.audit.run import Outcome
from medleak.inversion.cli.shared.membership import tell, tell_all
from medleak.inversion.membership.files import Answer
from medleak.inversion.results.case import Case

FIGURE = {"value": 0.98765, "lower95": 0.9, "upper95": 1.0}
TOLD = {
    "auc": FIGURE,
    "tpr_1": FIGURE | {"resolved": True},
    "tpr_01": FIGURE | {"resolved": False},
}
SUMMARY = {"verdict": "leaks: \x1b[2J", "separation": TOLD, "nulls": [TOLD]}


def test_figures_stand_below_the_verdict_and_nothing_that_a_terminal_obeys(capsys):
    tell("round 0, site-1", SUMMARY)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "round 0, site-1: leaks: ?[2J"
    assert "AUC 0.988 (0.900 to 1.000); TPR at 1 % FPR 0.99 (0.90 to 1.00);" in second
    assert "TPR at 0.1 % FPR 0.99 (0.90 to 1.00), too few others to resolve that rate" in second
    assert "null AUC 0.988" in second


def test_without_truth_there_is_the_verdict_alone(capsys):
    tell("round 0, site-1", SUMMARY | {"separation": None})
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_of_an_audit_only_cases_that_ask_who_was_in_are_told(capsys):
    asked = Case(3, "site-1", "average/membership/row_space", "sign", "all", 2)
    rebuilt = Outcome(case=Case(3, "site-1", "row_space", "none", "all", 2))
    answer = Answer(SUMMARY | {"separation": None}, ())
    tell_all([rebuilt, Outcome(case=asked, answer=answer)])
    assert capsys.readouterr().out == ("rounds up to 3, site-1, with sign, seed 2: leaks: ?[2J\n")

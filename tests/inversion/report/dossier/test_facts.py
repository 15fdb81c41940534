import datetime
from dataclasses import replace

import pytest
from tests.inversion.report.attack_classes.audits import HEALTHY, audited
from tests.inversion.report.directories import a_figure, a_group

from medleak.inversion.report.attack_classes.registry import asked
from medleak.inversion.report.dossier.facts import FACTS
from medleak.inversion.report.model import Ledger
from medleak.inversion.report.validity import validity

__all__ = ["audited"]


@pytest.fixture
def fact(audited):
    def of(name, *groups, repeat_by=None, ledgers=(), config=None, **more):
        audit = replace(audited((), groups, config=config, **more), ledgers=ledgers)
        return FACTS[name][1](audit, asked(audit), validity(audit, repeat_by))

    return of


@pytest.mark.parametrize("name", sorted(set(FACTS) - {"repeatable"}))
def test_an_audit_of_nothing_has_no_fact(fact, name):
    assert fact(name) is None


def test_a_command_and_versions_make_it_repeatable_and_their_lack_does_not(fact):
    assert "config.json" in fact("repeatable")
    assert fact("repeatable", config={"runs": []}) is None


def test_attackers_and_recipients_are_named(fact):
    group = a_group("a")
    assert fact("knowledge", group) == "threat model: row_space knowing all, labels inferred"
    assert "server: each update 1 of 6" in fact("recipients", group)
    assert "holder of the final model 0 of" in fact("recipients", group)


def test_the_worst_beside_the_mean_needs_both(fact):
    assert (
        fact("worst_and_mean", a_group("a"))
        == "largest and mean figure of reconstruction of images"
    )
    assert fact("worst_and_mean", a_group("a", ssim=None, rdlv=None)) is None


def test_a_date_is_only_the_auditors(fact):
    assert fact("repeat", repeat_by=datetime.date(2027, 6, 1)) == "to be repeated by 2027-06-01"


def test_an_epsilon_is_of_a_ledger_that_can_be_trusted(fact):
    sound = Ledger(place="site-1", releases=3, spent="ε = 2 at δ = 1e-05 for a record", head="ab")
    assert fact("epsilon", ledgers=[sound]).startswith("ledgers: site-1: ε = 2")
    assert fact("epsilon", ledgers=[replace(sound, error="a line is missing")]) is None
    assert fact("epsilon", ledgers=[replace(sound, spent="ε: none (heuristic)")]) is None


def test_a_bound_by_canaries_says_that_it_proves_nothing_or_that_it_refutes(audited):
    tried = {"kind": "not refuted", "planted": 9, "guessed": 4, "right": 3, "bound": 0.4}
    for claimed, said in ((2.0, "not refuted, which proves nothing"), (0.3, "of a is REFUTED")):
        content = {"sites": {"a": tried | {"claimed": claimed}}}
        audit = audited((), [a_group("a")], beside={"dp_audit.json": content})
        found = FACTS["epsilon_tried"][1](audit, asked(audit), validity(audit, None))
        assert said in (found or "")


def test_protections_are_those_declared_and_those_replayed(fact):
    assert fact("protections", a_group("a")) is None
    found = fact("protections", a_group("a", declared="sign"), a_group("a", defence="withhold"))
    assert found == "declared by a: sign; tried by replay: withhold"


def test_health_counts_attacks_that_were_seen_to_work(fact):
    assert fact("health", a_group("a"), health=HEALTHY).startswith("1 of 1 attacks")
    assert fact("health", a_group("a", ssim=a_figure(0.3))) is None

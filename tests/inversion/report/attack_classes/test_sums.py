import pytest
from tests.inversion.report.attack_classes.audits import NINE, summing

from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.sums import summed_over, who_sees


def test_sums_are_told_from_defences_and_from_noise_alone():
    texts = [
        summing(5),
        "none",
        f"withhold+{summing(2)}",
        "top_k:fraction=0.1",
        f"{summing(3)}+noise_alone",
    ]
    assert summed_over(texts) == {f"withhold+{summing(2)}": 2, summing(5): 5}


def test_what_somebody_wrote_by_hand_is_no_sum():
    assert summed_over(["secure_aggregation", "secure_aggregation:sites=many"]) == {}


@pytest.mark.parametrize(("sites", "another"), [(2, False), (7, False), (8, True), (9, True)])
def test_another_site_sees_the_sum_over_all_others_and_nothing_smaller(audited, sites, another):
    audit = audited((), [], config=NINE)
    assert (Recipient.SITES in who_sees(audit, sites)) == another
    assert Recipient.SUM in who_sees(audit, sites)


def test_where_it_is_not_recorded_how_many_sites_there_were_nothing_is_said_of_them(audited):
    assert who_sees(audited((), []), 9) == [Recipient.SUM]

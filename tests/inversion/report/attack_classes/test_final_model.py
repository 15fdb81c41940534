from tests.inversion.report.directories import a_group

from medleak.inversion.report.attack_classes.final_model import answers


def test_updates_say_nothing_of_the_final_model(audited):
    assert answers(audited((), [a_group("a")])) == []

from tests.inversion.report.directories import a_group

from medleak.inversion.report.attack_classes.malicious_server import answers


def test_updates_say_nothing_of_what_the_server_meant(audited):
    assert answers(audited((), [a_group("a")])) == []

from medleak.inversion.report.attack_classes.answer import Answer, Recipient, not_tested
from medleak.inversion.report.verdicts import Light


def test_what_was_not_tested_has_no_light_and_is_worse_than_what_was_not_found():
    untested = not_tested(Recipient.SUM, "nobody asked")
    assert not untested.tested
    lights = [Answer(recipient=Recipient.SUM, light=light, words="").badness for light in Light]
    assert lights == sorted(lights)
    assert lights[-2] < untested.badness < lights[-1]


def test_every_recipient_has_a_short_name_of_its_own():
    assert len({r.short for r in Recipient}) == len(Recipient)

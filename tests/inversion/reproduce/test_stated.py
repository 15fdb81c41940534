"""Tests of what the papers state."""

from medleak.inversion.reproduce.stated import TABLE_II, TABLE_III


def test_the_papers_numbers_are_there_for_every_set_and_attack():
    for name in ("melanoma", "cxr", "brain_mri"):
        assert sum(key[0] == name for key in TABLE_II) == 5
        assert sum(key[0] == name for key in TABLE_III) == 5
    assert TABLE_II["brain_mri", "cpl", "CNN"].asr == "76 %"
    assert TABLE_III["cxr", "100"] == ("0.0013", "0.9815")

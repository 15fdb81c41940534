"""Tests of medleak.custom.identity.guard."""

import pytest

from medleak.custom.data.data_error import DataError
from medleak.custom.identity.guard import Guard, Leaving
from medleak.custom.identity.values import Value

MRN = Value("MRN-4711", "identifier", "PatientID (0010,0020)")


def refusal(leaving, value=MRN, of_class="a", number=1):
    with pytest.raises(DataError) as caught:
        Guard(leaving).see([value], of_class, number)
    assert value.text not in str(caught.value)
    assert value.text.lower() not in str(caught.value).lower()
    return str(caught.value)


def test_a_hit_says_the_place_and_never_the_value():
    said = refusal(Leaving(classes=["a", "mrn4711"]), number=3)
    assert said.startswith("The name of class 2 of 2 is, or holds, what PatientID (0010,0020) of")
    assert "file 3" in said
    assert "mrn" not in said.lower()


def test_sites_and_the_sets_own_folder_are_compared_too():
    assert "site 1 of 2" in refusal(Leaving(classes=["a"], sites=["mrn-4711", "b"]))
    assert "set's folder" in refusal(Leaving(classes=["a"], name="studies-mrn4711"))


def test_a_name_that_a_person_looked_at_is_let_through():
    names = ["mrn4711", "mrn 4711"]
    guard = Guard(Leaving(classes=names, sites=names, name=names[0], allowed=names))
    guard.see([MRN], "mrn4711", 1)
    assert "class 1 of 1" in refusal(Leaving(classes=["mrn4711"]), of_class="mrn4711")
    for leaving in (
        Leaving(classes=names, allowed=["mrn4711"]),
        Leaving(classes=["a"], sites=names, allowed=["mrn4711"]),
        Leaving(classes=["a"], name=names[1], allowed=["mrn4711"]),
    ):
        refusal(leaving, of_class="mrn4711")


def test_a_patient_told_by_a_file_name_is_compared_with_its_class():
    guard = Guard(Leaving(classes=["00001", "normal"]))
    guard.see_patient("p00017", "normal", 1)
    guard.see_patient("0", "normal", 2)
    with pytest.raises(DataError, match=r"the patient in the name of file 3"):
        guard.see_patient("00001", "00001", 3)
    with pytest.raises(DataError, match="class 1 of 1"):
        Guard(Leaving(classes=["mustermann"])).see_patient("Mustermann", "mustermann", 1)


def test_a_hospital_may_be_named_by_its_site():
    value = Value("Charité", "identifier", "InstitutionName (0008,0080)")
    Guard(Leaving(classes=["a"], sites=["charite"])).see([value], "a", 1)
    assert "set's folder" in refusal(Leaving(classes=["a"], name="charite"), value)
    assert "class 1 of 1" in refusal(Leaving(classes=["charite"]), value, of_class="charite")
    numbered = Value("Clinic 4711-B", "identifier", "InstitutionName (0008,0080)")
    assert "site 1 of 1" in refusal(Leaving(classes=["a"], sites=["clinic4711b"]), numbered)

"""Tests of medleak.custom.identity.dicom_header: the whole table, every representation."""

import pytest
from tests.custom.identity.headers import a_file, an_item

from medleak.custom.identity.dicom_header import annex_e, values_of
from medleak.custom.identity.values import matches

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

SAMPLES = {
    **dict.fromkeys(("LO", "SH", "UC", "ST", "LT", "UT", "AE"), ("ZX-7731904", "zx7731904")),
    "PN": ("Quexley^Ornella", "ornella_quexley"),
    "UI": ("1.2.826.0.1.3680043.8.498.77.4711", "1.2.826.0.1.3680043.8.498.77.4711"),
    "DA": ("19370423", "23.04.1937"),
    "DT": ("19370423101112", "1937-04-23"),
    "UR": ("http://pacs/ZX-7731904", "zx7731904"),
    "OB": (b"ZX-7731904", "zx7731904"),
    "UN": (b"ZX-7731904", "zx7731904"),
}


def found(path, name, own=False):
    """Places of the values that ``name`` holds."""
    return [v.place for v in values_of(path) if matches(v, name, own=own)]


def tags_with(*representations):
    from pydicom.datadict import dictionary_VR

    # Groups 0 and 2 are no part of a data set.
    return sorted(t for t in annex_e() if t >> 16 > 2 and dictionary_VR(t) in representations)


def test_the_table_is_that_of_the_standard():
    assert len(annex_e()) > 600
    for tag in (0x00100010, 0x00100020, 0x00080050, 0x0020000D, 0x00100030, 0x00402016):
        assert tag in annex_e()


def test_every_attribute_of_the_table_that_can_name_somebody_is_compared(tmp_path):
    from pydicom.datadict import dictionary_VR

    missed = []
    for tag in tags_with(*SAMPLES):
        representation = dictionary_VR(tag)
        value, name = SAMPLES[representation]
        data = pydicom.dcmread(a_file(tmp_path / "x.dcm"))
        data.add_new(tag, representation, value)
        data.save_as(tmp_path / "y.dcm")
        if not found(tmp_path / "y.dcm", name):
            missed.append(f"{tag:08x} {representation}")
    assert missed == []


@pytest.mark.parametrize("preamble", [True, False])
def test_a_value_is_found_in_sequences_private_tags_and_other_values(tmp_path, preamble):
    path = a_file(
        tmp_path / "x",
        preamble=preamble,
        OtherPatientIDsSequence=[an_item(PatientID="INS-7788123")],
        RequestAttributesSequence=[
            an_item(RequestedProcedureID="RP-90210", ScheduledProcedureStepID="SPS-33445")
        ],
        PersonIdentificationCodeSequence=[an_item(CodeValue="DOC-55512", CodeMeaning="Quexley")],
        OtherPatientIDs=["AAA-1", "BBB-20202"],
        OtherPatientNames=["Alpha^Beta", "Quexley^Ornella"],
        private=[
            (0x10, "LO", "Ornella^Quexley"),
            (0x11, "UN", b"CASE 774411"),
            (0x12, "SH", "K5-900"),
        ],
    )
    for name, place in (
        ("ins7788123", "OtherPatientIDsSequence[0].PatientID"),
        ("rp90210", "RequestAttributesSequence[0].RequestedProcedureID"),
        ("SPS-33445", "ScheduledProcedureStepID"),
        ("doc55512", "PersonIdentificationCodeSequence[0].CodeValue"),
        ("bbb20202", "OtherPatientIDs"),
        ("774411", "(0011,1011)"),
        ("k5 900", "(0011,1012)"),
    ):
        assert any(place in p for p in found(path, name)), name
    assert any("(0011,1010)" in p for p in found(path, "quexley ornella"))
    assert any("OtherPatientNames" in p for p in found(path, "quexley ornella"))


@pytest.mark.parametrize(
    "header",
    [
        {"ImageComments": "Ms Quexley complains"},
        {"AdditionalPatientHistory": "Fall. Quexley, 80 years"},
        {"private": [(0x10, "LO", "Patient Quexley")]},
        {"private": [(0x10, "UN", b"Name: Quexley Ornella")]},
    ],
)
def test_words_of_what_a_person_wrote_are_compared(tmp_path, header):
    assert found(a_file(tmp_path / "x.dcm", **header), "quexley", own=True)


@pytest.mark.parametrize(
    "header",
    [
        {"AdditionalPatientHistory": "word " * 1000 + "ZX-7731904"},
        {"OtherPatientIDs": [*(f"AB{k:03d}" for k in range(100)), "ZX-7731904"]},
        {"private": [(0x10, "UN", bytes(8000) + b"ZX-7731904")]},
    ],
)
def test_the_end_of_a_long_value_is_compared(tmp_path, header):
    path = a_file(tmp_path / "x.dcm", **header)
    assert found(path, "zx7731904")
    assert not found(path, "zx8831904")


def test_what_names_nobody_is_not_compared(tmp_path):
    path = a_file(
        tmp_path / "x.dcm",
        PatientSex="F",
        PatientWeight="70",
        PatientAge="045Y",
        Modality="CT",
        BodyPartExamined="CHEST",
        StudyDescription="COVID chest cardiomegaly",
        SmokingStatus="UNKNOWN",
        AdmittingDiagnosesCodeSequence=[an_item(CodeValue="J18", CodeMeaning="Cardiomegaly")],
    )
    for name in ("f", "70", "045Y", "ct", "chest", "covid", "cardiomegaly", "unknown", "1", "all"):
        assert found(path, name, own=True) == [], name


def test_a_damaged_value_is_compared_by_its_bytes(tmp_path):
    path = a_file(tmp_path / "x.dcm", PatientWeight="70", private=[(0x10, "IS", "4711008")])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"4711008 ", b"MRN47110"))
    assert found(path, "mrn47110")

import json

from tests.inversion.report.attack_classes.test_registry import CLASSES
from tests.inversion.report.directories import grid
from tests.inversion.report.dossier.dossiers import written

from medleak.inversion.report.attack_classes.answer import Recipient


def evidence_of(folder):
    return json.loads((folder / "evidence.json").read_text())


def test_every_class_has_an_answer_and_what_was_not_tried_says_so(signed):
    content = evidence_of(signed)
    found = {c["name"]: c for c in content["attack_classes"]}
    assert set(found) >= CLASSES
    server = found["reconstruction"]["answers"][0]
    assert server["recipient"] == "server"
    assert server["verdict"] == "leaks"
    assert server["measure"] == "SSIM"
    assert server["worst"]["value"] > 0.9
    assert server["where"] == "site-1"
    silent = [a for c in found.values() for a in c["answers"] if a["verdict"] == "not tested"]
    assert len(silent) > len(CLASSES)
    assert all(a["words"] and a["worst"]["value"] is None for a in silent)


def test_every_recipient_is_named_as_requirements_name_him(signed):
    answers = [a for c in evidence_of(signed)["attack_classes"] for a in c["answers"]]
    assert {a["recipient"] for a in answers} == {r.name.lower() for r in Recipient}


def test_it_names_the_report_and_every_file(signed):
    content = evidence_of(signed)
    names = {f["name"] for f in content["files"]}
    assert content["report"] == {
        "name": "report.html",
        "sha256": next(f["sha256"] for f in content["files"] if f["name"] == "report.html"),
        "inside": True,
    }
    below = {p.relative_to(signed).as_posix() for p in signed.rglob("*") if p.is_file()}
    assert names == below - {"evidence.json", "evidence.json.sig"}


def test_a_report_elsewhere_is_named_and_not_among_the_files(directory, tmp_path):
    folder = directory.write(grid(["a"], rounds=1))
    written(folder, tmp_path / "elsewhere.html")
    content = evidence_of(folder)
    assert content["report"]["name"] == "elsewhere.html"
    assert not content["report"]["inside"]
    assert "elsewhere.html" not in {f["name"] for f in content["files"]}


def test_no_path_of_a_list_and_no_certificate_is_in_it(signed):
    text = (signed / "evidence.json").read_text()
    assert "patient-17" not in text
    for word in ("compliant", "certified", "is safe", "anonymous model"):
        assert word not in text

import json

import pytest
import torch
from tests.inversion.cli.commands import medleak, refused
from tests.inversion.membership.federations import asked

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.phantoms import listing, render
from medleak.custom.record import read_record
from medleak.inversion.final_model.run import FILE
from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.final_model import CLASS

pytestmark = pytest.mark.slow

SMALL = ("--reference-models", 3, "--reference-epochs", 1, "--iterations", 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final")
    made = asked(folder)
    items = listing(20, seed=9)
    at = render(items, folder / "images" / "public", 32, seed=9)
    named = [Item(str(at / i.image), i.label, f"Doe_{k}") for k, i in enumerate(items)]
    save_datalist(folder / "public.json", {"training": named})
    last = read_record(made.records, 0, "site-1")
    state = {k: torch.as_tensor(v + last.update[k]) for k, v in last.global_state.items()}
    torch.save({"model": state}, folder / "FL_global_model.pt")
    return made, folder


def final_model(run, *more):
    made, folder = run
    return medleak(
        *("final-model", folder, "--model", folder / "FL_global_model.pt"),
        *("--nonmembers", made.nonmembers, "--truth", made.truth, *SMALL, *more),
    )


def test_membership_and_inversion_stand_in_one_file_without_a_name(run, tmp_path):
    made, folder = run
    lists = ("--candidates", made.candidates, "--references", folder / "public.json")
    result = final_model(run, *lists, "--out", tmp_path)
    assert result.exit_code in (0, 3), result.output
    content = json.loads((tmp_path / FILE).read_text())
    told = content["membership"]
    assert (told["separation"]["members"], told["separation"]["others"]) == (6, 14)
    assert told["references"] == {"images": 20, "models": 3, "epochs": 1}
    assert len(told["nulls"]) == 1
    assert content["inversion"]["kind"] in ("no leak found", "not known")
    assert content["not_tested"] == []
    assert content["model"]["sites"] == ["site-1", "site-2"]
    assert "Doe" not in json.dumps(content) + result.output
    assert CLASS.file == FILE
    assert set(CLASS.recipients) == {Recipient.FINAL_MODEL, Recipient.SITES}


def test_without_references_membership_is_not_tested_and_said(run):
    made, _ = run
    result = final_model(run, "--candidates", made.candidates, "--no-inversion", "--json")
    assert result.exit_code == 3
    whys = {n["what"]: n["why"] for n in json.loads(result.stdout)["not_tested"]}
    assert "give --references" in whys["membership"]
    assert "left out" in whys["inversion"]


def test_references_that_a_site_trained_on_are_refused(run):
    made, _ = run
    lists = ("--candidates", made.candidates, "--references", made.truth / "site-2.json")
    result = final_model(run, *lists, "--no-inversion")
    assert result.exit_code == 3
    assert "on the site's own training list" in result.output


def test_a_model_that_is_missing_or_of_another_network_is_one_line(run, tmp_path):
    made, folder = run
    assert "name the final model by --model" in refused(medleak("final-model", folder), 2)
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.pt")
    result = medleak("final-model", folder, "--model", tmp_path / "other.pt")
    assert "global model" in refused(result, 2)
    assert made.records.is_dir()

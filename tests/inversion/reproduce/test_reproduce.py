import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medleak.custom.data.datalist import load_datalist
from medleak.custom.phantoms import listing, render
from medleak.custom.record import list_updates, read_info, read_record, verify
from medleak.inversion.attacks.registry import attack_of
from medleak.inversion.cli import app
from medleak.inversion.reproduce import medpfl, tmi2023
from medleak.inversion.reproduce.clients import Client, federate
from medleak.inversion.reproduce.experiment import QUICK, Place, Scale, bounded
from medleak.inversion.reproduce.material import folder, model_of, of_run, phantoms
from medleak.inversion.reproduce.stated import TABLE_II, TABLE_III
from medleak.inversion.reproduce.tmi2023_entries import ABLATIONS
from medleak.inversion.results.rows import read_rows

TINY = Scale(
    size=16,
    rounds=2,
    images=1,
    schedule=(1, 2),
    strengths=(10,),
    levels=(100,),
    seeds=(0,),
    seconds=0.2,
    iterations=2,
    sites=(("site-1", 2, 2), ("site-9", 1, 1)),
    trained=False,
)


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(out=tmp_path / "out", scale=TINY, say=lambda _: None)


@pytest.fixture
def films(tmp_path) -> Path:
    """A folder-per-class set of eight phantoms."""
    return render(listing(8, seed=3), tmp_path / "films", 32, seed=3)


def links(report: Path) -> list[Path]:
    return [report.parent / at for at in re.findall(r"!\[[^]]*\]\(([^)]+)\)", report.read_text())]


def small_model(material, small_network):
    args = {k: v for k, v in small_network.items() if k != "num_classes"}
    return model_of(material, "monai.networks.nets.ResNet", args, 16)


def test_clients_are_recorded_as_a_server_would(place, small_network):
    material = phantoms(place.out, "cxr", 3, 16)
    manifest, state = small_model(material, small_network)
    clients = [
        Client(site="site-1", items=material.items[:2], batch_size=1),
        Client(site="site-9", items=material.items[2:], batch_size=1, epochs=2),
    ]
    federate(place.out, manifest, state, clients, lr=0.1, rounds=2)
    records = place.out / "records"
    assert list_updates(records) == [(r, s) for r in (0, 1) for s in ("site-1", "site-9")]
    assert all(error is None for *_, error in verify(records))
    info = read_info(records, 1, "site-9")
    assert (info.n_images, info.n_steps, info.batch_size, info.local_epochs) == (1, 2, 1, 2)
    one, nine = (read_record(records, 0, s) for s in ("site-1", "site-9"))
    after = read_record(records, 1, "site-1").global_state
    for name, before in one.global_state.items():
        if before.dtype.kind == "f":
            mean = (2 * one.update[name] + nine.update[name]) / 3
            assert after[name] == pytest.approx(before + mean, abs=1e-5), name
    truth = load_datalist(place.out / "site-1" / "datalist.json")["training"]
    assert [i.image for i in truth] == [i.image for i in material.items[:2]]


def test_a_run_of_other_images_is_not_taken_for_this_one(place, small_network, films):
    made = phantoms(place.out, "cxr", 1, 16)
    manifest, state = small_model(made, small_network)
    client = [Client(site="site-9", items=made.items, batch_size=1)]
    federate(place.out, manifest, state, client, lr=0.1)
    other, _ = small_model(folder(place.out, films, 16), small_network)
    with pytest.raises(ValueError, match="Choose another --out"):
        federate(place.out, other, state, client, lr=0.1)


def test_the_prior_of_a_folder_is_of_patients_whom_no_client_has(place, films):
    material = folder(place.out, films, 16)
    private = {i.patient for i in material.items}
    everyone = {i.patient for i in listing(8, seed=3)}
    assert private < everyone
    assert Path(material.prior).is_file()
    assert material.channels == 1
    with pytest.raises(ValueError, match="needs 100"):
        material.first(100)


def test_every_ablation_is_an_attack_that_exists_and_takes_a_budget():
    for _, attack in ABLATIONS.values():
        _, settings = attack_of(bounded(attack, 2.0))
        assert settings.seconds == 2.0


@pytest.mark.timeout(300)
def test_tmi2023_on_phantoms_ends_in_a_report_and_goes_on_where_it_was(place, small_network):
    material = phantoms(place.out, "cxr", 3, 16)
    model = small_model(material, small_network)
    subject = tmi2023.small_federation(place, material, model)
    report = tmi2023.reproduce(place, subject)
    text = report.read_text()
    for number in ("Table II", "Fig. 3", "Fig. 4, 5", "Fig. 6a, b", "Fig. 6c, 7", "Fig. 8"):
        assert f"## {number}:" in text
    assert text.count("Published: ") == text.count("Here: ") == text.count("\n## ")
    assert "cxr_dpsgd" in text, "what cannot be had here, and what makes it"
    pictures = links(report)
    assert {p.stem for p in pictures} >= {"rounds", "attacks", "schedule", "rdlv", "ssim", "noise"}
    assert all(p.is_file() for p in pictures)
    for _, attack in ABLATIONS.values():
        assert f"`{attack}`" in text
    rows = read_rows(place.out / "federation" / "results.csv")
    bare = next(r for r in rows if r.site == "site-9" and r.round == 1 and r.defence == "none")
    assert bare.ssim is not None
    assert f"{bare.ssim:.2f}" in text
    table = place.out / "federation" / "results.csv"
    before, said = table.read_bytes(), []
    again = tmi2023.small_federation(place, material, model)
    attack = ["row_space:seconds=0.2"]
    replace(place, say=said.append).audit(
        "federation", again.run, prior=material.prior, attacks=attack
    )
    assert [line.rpartition(": ")[2] for line in said[1:]] == ["kept"] * 4
    assert sorted(table.read_bytes().splitlines()) == sorted(before.splitlines())
    _, _, state = of_run(place.out / "federation-run", None)
    assert state.keys() == model[1].keys()


@pytest.mark.timeout(300)
def test_medpfl_on_a_folder_ends_in_a_report(place, films):
    report = medpfl.reproduce(place, [films], None)
    text = report.read_text()
    for number in ("Table II", "Table III", "Table IV", "Table V", "Fig. 5-7", "Fig. 10, 11"):
        assert f"## {number}:" in text
    assert "scale 1/L" in text, "the paper's noise level is said in both ways"
    assert all(f"`{d}`" in text for d in (medpfl.noise_of(100), *medpfl.OTHER_DEFENCES))
    assert all(p.is_file() for p in links(report))
    assert re.search(r"\| original \| \d\.\d\d", text.replace("`", "")), "Table V is measured"
    assert "0.9815" not in text, "a set that is none of the paper's has no published numbers"


def test_the_papers_numbers_are_there_for_every_set_and_attack():
    for name in ("melanoma", "cxr", "brain_mri"):
        assert sum(key[0] == name for key in TABLE_II) == 5
        assert sum(key[0] == name for key in TABLE_III) == 5
    assert TABLE_II["brain_mri", "cpl", "CNN"].asr == "76 %"
    assert TABLE_III["cxr", "100"] == ("0.0013", "0.9815")


def test_quick_is_short():
    assert QUICK.seconds is not None
    cases = len(QUICK.sites) * (QUICK.rounds + 2 * len(QUICK.strengths))
    cases += len(ABLATIONS) + 4 * (2 * len(QUICK.schedule) - 1)
    assert cases * QUICK.seconds < 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tmi2023", "--run", ".", "--data", "."], "--run is a federation"),
        (["medpfl", "--run", "."], "--run is a federation"),
        (["tmi2023", "--data", ".", "--data", "."], "takes one set"),
        (["tmi2023", "--run", "/nowhere"], "/nowhere"),
        (["tmi2023", "--prior", "p.png"], "--prior goes with a run"),
        (["medpfl", "--site", "site-9"], "--site goes with a run"),
        (["medpfl", "--data", "/nowhere"], "/nowhere"),
        (["tmi2023", "--weights", "/nowhere.safetensors"], "/nowhere.safetensors"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(arguments, says, tmp_path):
    done = CliRunner().invoke(app, ["reproduce", *arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code in (1, 2)
    assert says in done.stderr
    assert done.stderr.count("\n") == 1

"""What an audit lacks is said where it would stand, and the report is made all the same."""

import dataclasses
import json
import shutil

import pytest
from tests.inversion.report.directories import KNOWLEDGE, a_figure, a_group, a_row, grid, report_of


def text_of(folder, **options):
    return " ".join(report_of(folder, **options).html.decode().split())


def test_without_truth_it_says_that_nothing_was_measured(directory, open_page):
    rows = [a_row("site-1", reconstruction=k, picture=f"images/r{k}.png") for k in (0, 1)]
    group = a_group("site-1", ssim=None, rdlv=None, ssim_prior=None)
    report = report_of(directory.write(rows, [group]), originals="shown")
    html = report.html.decode()
    assert "no original to compare with" in html
    assert "How close the pictures of site-1 are" in html
    page = open_page(report)
    assert page.locator("#tiles img").count() == 2
    assert "not measured" in (page.locator("#caption").text_content() or "")
    assert page.locator("#curves svg[role=img]").count() == 0


def test_without_accuracy_runs_the_cost_is_called_unknown(directory):
    html = text_of(directory.write(grid(["site-1"])))
    assert "No accuracy runs were given" in html
    assert "What protection costs in accuracy" in html


def test_one_seed_and_one_image_are_said(directory):
    group = a_group("site-1", n=1, seeds=1, ssim=a_figure(0.6, n=1), rdlv=a_figure(0.2, n=1))
    html = text_of(directory.write(grid(["site-1"], rounds=1), [group]))
    assert "each attack ran once (one seed)" in html
    assert "only one was measured, so no interval" in html
    assert "0.20 (one picture)" in html


def test_an_undefined_rdlv_is_named_with_its_reason(directory):
    html = text_of(directory.write([], [a_group("site-1", rdlv=None)]))
    assert "RDLV) of site-1: undefined" in html
    assert "SSIM below 0.05" in html
    assert ">undefined<" in html


def test_refused_cases_are_listed_with_their_reasons(directory):
    case = {"round": 3, "site": "site-7", "attack": "dlg", "defence": "none"}
    refused = [{"case": case, "why": "the hashes differ"}]
    html = text_of(directory.write(grid(["site-1"]), refused=refused))
    assert "site-7</bdi>, round 3, dlg: the hashes differ" in html
    assert "1 case that could not be attacked" in html


def test_an_audit_that_attacked_nothing_has_a_report(directory, open_page):
    page = open_page(report_of(directory.write([], [], pictures=False)))
    assert page.locator("h1").text_content() == "Nothing was attacked, so nothing is known."


def test_without_summary_and_config_figures_are_counted_and_the_lack_is_said(directory):
    folder = directory.write(grid(["site-1"]))
    (folder / "summary.json").unlink()
    (folder / "config.json").unlink()
    html = text_of(folder)
    assert "The audit lacks summary.json" in html
    assert "The audit lacks config.json" in html
    assert "The command is not recorded." in html
    assert "site-1 leaks its patients&#39; images." in html


def test_without_pictures_on_the_disk_the_figures_remain(directory):
    folder = directory.write(grid(["site-1"]))
    shutil.rmtree(folder / "images")
    made = report_of(folder)
    assert any("missing or damaged" in note for note in made.notes)
    assert b"No picture can be shown" in made.html


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\nrubbish", b"GIF89a", b"\x00" * 100])
def test_a_damaged_picture_is_left_out_and_counted(directory, damage):
    rows = grid(["site-1"], rounds=2)
    folder = directory.write(rows)
    (folder / rows[0].picture).write_bytes(damage)
    made = report_of(folder)
    assert any(note.startswith("1 pictures are missing or damaged") for note in made.notes)


def test_a_ledger_gives_epsilon_and_its_lack_is_heuristic(directory, tmp_path):
    from medleak.filters.privacy.ledger import Spend, append

    folder = directory.write(grid(["site-1"]))
    assert "No ledger was given" in text_of(folder)
    assert "ε: none (no protection)" in text_of(folder)
    ledger = folder / "site-1" / "medleak_ledger.jsonl"
    spend = Spend(job="j", round=0, site="site-1", defences=(), guarantees=(), delta=1e-5)
    append(ledger, spend)
    assert "ε: none (heuristic) after 1 releases" in text_of(folder)
    ledger.write_bytes(ledger.read_bytes().replace(b'"round": 0', b'"round": 7'))
    assert "cannot be trusted:" in text_of(folder)


def test_calibration_and_accuracy_fill_their_places(directory):
    noisy = "percentile_gaussian:sigma0=4,scope=group"
    folder = directory.write(grid(["site-9"], defences=["none", noisy]))
    entry = {
        "defence": "percentile_gaussian:scope=group",
        "parameter": "sigma0",
        "strength": 4,
        "searched": [{"strength": 4, "rdlv_upper95": -0.02, "rdlv_mean": -0.1, "n": 8, "seeds": 2}],
        "why": "The least of five.",
        "privacy_json": {"path": "medleak.filters.adapters.PercentileGaussian"},
        "utility": [{"strength": 4, "accuracy": 0.81, "lower95": 0.7, "upper95": 0.9, "run": "r"}],
    }
    (folder / "calibration.json").write_text(json.dumps({"site-9": entry}))
    (folder / "utility.json").write_text(json.dumps([{"defence": "none", "accuracy": 0.9}]))
    html = text_of(folder)
    assert "the least strength that held is sigma0 = <b>4</b>. The least of five." in html
    assert "medleak.filters.adapters.PercentileGaussian" in html
    assert "leakage against accuracy" in html
    assert "percentile_gaussian:sigma0=4,scope=group, accuracy 0.810, site-9" in html
    assert "none, accuracy 0.900" in html


def test_a_calibration_that_found_nothing_says_so(directory):
    folder = directory.write(grid(["site-9"]))
    entry = {"defence": "top_k", "parameter": "fraction", "strength": None, "why": "All five leak."}
    (folder / "calibration.json").write_text(json.dumps({"site-9": entry}))
    html = text_of(folder)
    assert "no strength that was tried held. All five leak." in html
    assert "medleak calibrate RUN --site site-9" in html


def test_the_health_check_stands_in_the_threat_model(directory):
    health = {f"row_space|{KNOWLEDGE}": {"ssim": 0.97, "reached": True, "seconds": 2.0}}
    folder = directory.write(grid(["site-1"]), health=health)
    assert "passed: it succeeds on an easy case (SSIM 0.97)" in text_of(folder)


def test_iteration_pictures_get_a_slider_of_their_own(directory, open_page):
    (row,) = grid(["site-1"], rounds=1)
    folder = directory.write([row])
    stem = row.picture.removesuffix(".png")
    for iteration in (10, 200):
        directory.save(f"{stem}_it{iteration:04d}.png", directory.phantoms[0] // (1 + iteration))
    page = open_page(report_of(folder))
    slider = page.locator("#slide-iteration")
    assert slider.get_attribute("max") == "2"
    picture = page.locator("#tiles .tile", has_text="Rebuilt").locator("img")
    said, shown = [], []
    for place in (0, 1, 2):
        slider.fill(str(place))
        said.append(page.locator("#say-iteration").text_content())
        shown.append(picture.get_attribute("src"))
        # The figures are those of the end, whatever is shown.
        caption = page.locator("#caption").text_content() or ""
        assert ("at the end similarity" in caption) is (place < 2)
    assert said == ["iteration 10", "iteration 200", "the end"]
    assert len(set(shown)) == 3


def test_switches_for_attack_and_knowledge_change_the_picture(directory, open_page):
    rows = grid(["site-1"], rounds=1)
    other = dataclasses.replace(rows[0], attack="dlg", picture="images/dlg.png", ssim=0.5)
    folder = directory.write([*rows, other], [a_group("site-1"), a_group("site-1", attack="dlg")])
    page = open_page(report_of(folder))
    tile = page.locator("#tiles .tile", has_text="Rebuilt").locator("img")
    before = tile.get_attribute("src")
    page.locator("#pick-attack").select_option(label=f"dlg, knowing {KNOWLEDGE}")
    assert tile.get_attribute("src") != before

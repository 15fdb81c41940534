"""An audit directory is read as it was written, and figures are completed where they lack."""

import json

import pytest
from tests.inversion.report.directories import a_figure, a_group, grid

from medleak.inversion.attacks.registry import ROWS
from medleak.inversion.report.reading import number, read_audit
from medleak.inversion.report.wording import protections, source, tried


def test_figures_intervals_and_extremes_are_read(directory):
    folder = directory.write([], [a_group("s", rdlv=a_figure(0.2, 0.05, 7))])
    figure = read_audit(folder).groups[0].figure("rdlv")
    assert (figure.mean, figure.lower95, figure.upper95, figure.n) == (
        0.2,
        pytest.approx(0.15),
        0.25,
        7,
    )


def test_a_figure_that_the_audit_lacks_is_undefined(directory):
    group = read_audit(directory.write([], [a_group("s")])).groups[0]
    assert not group.figure("iip").defined
    assert group.figure("iip").n == 0


def test_rounds_and_all_rounds_are_told_apart(directory):
    groups = [a_group("s"), a_group("s", round=0), a_group("s", round=4)]
    audit = read_audit(directory.write([], groups))
    assert [g.round for g in audit.groups] == [None, 0, 4]
    assert len(audit.overall) == 1


def test_images_are_counted_from_the_rows_where_the_summary_does_not_say(directory):
    rows = grid(["s", "t"], rounds=3, images=2)
    groups = [a_group("s", n=None, ssim={"mean": 0.5}), a_group("s", round=1, ssim={"mean": 0.5})]
    audit = read_audit(directory.write(rows, groups, pictures=False))
    assert [g.figure("ssim").n for g in audit.groups] == [6, 2]
    assert audit.groups[0].n == 6


def test_success_is_counted_at_090_where_the_summary_does_not_say(directory):
    rows = grid(["s"], rounds=1, images=4, leak={"s": 0.88})  # 0.910, 0.900, 0.890, 0.880
    audit = read_audit(directory.write(rows, [a_group("s")], pictures=False))
    assert audit.groups[0].figure("asr").mean == 0.5


def test_sites_are_all_that_were_attacked_or_refused_in_natural_order(directory):
    refused = [{"case": {"site": "site-3"}, "why": ""}, {"case": "x"}, 3]
    rows = grid(["site-10", "site-2"])
    audit = read_audit(directory.write(rows, refused=refused, pictures=False))
    assert audit.sites == ["site-2", "site-3", "site-10"]


def test_what_was_tried_is_said_in_one_line(directory):
    rows = grid(["s"], rounds=3, defences=["none", "top_k:fraction=0.1"])
    rows = [r for r in rows if r.round != 1]
    groups = [a_group("s"), a_group("s", attack="dlg", defence="top_k:fraction=0.1")]
    assert tried(read_audit(directory.write(rows, groups, pictures=False))) == (
        "attacks row_space and dlg; rounds 0, 2; 2 runs of each; 4 pictures rebuilt; "
        "as sent, and under 1 protection put on afterwards"
    )


def test_rounds_of_one_round_alone_are_not_told_twice(directory):
    folder = directory.write([], [a_group("s")], pictures=False)
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    for rounds, count in (([3], 1), ([3, 4], 3)):
        found = [a_group("s", round=r) for r in rounds]
        path.write_text(json.dumps({**summary, "rounds": found}))
        assert len(read_audit(folder).groups) == count


def test_a_directory_of_neither_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no audit directory"):
        read_audit(tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "config.json", "calibration.json"])
def test_a_damaged_file_is_refused_by_name(directory, name):
    folder = directory.write(grid(["s"]), pictures=False)
    (folder / name).write_bytes(b'{"a": ')
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        read_audit(folder)


@pytest.mark.parametrize(
    ("value", "found"),
    [(1, 1.0), (0.5, 0.5), (True, None), ("1", None), (None, None), (float("nan"), None)],
)
def test_only_finite_numbers_are_numbers(value, found):
    assert number(value) == found


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("dlg", "Zhu et al., NeurIPS 2019"),
        ("row_space:seconds=25", "docs/attacks.md"),
        ("average/row_space", "joins a site's updates of all rounds"),
        ("my_own", "not one of medleak's own"),
    ],
)
def test_an_attack_is_told_with_its_source(attack, words):
    assert words in source(attack)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_attack_of_medleak_has_its_words_and_its_source(row):
    assert source(row.name) == f"{row.words}. {row.source}"
    assert source(f"average/{row.name}:seconds=3").startswith(source(row.name))
    assert "not one of medleak's own" in source("prayer:hard=true")
    assert "not one of medleak's own" in source("=:,")


def test_protections_are_told_by_their_rows():
    told = protections(["none", "sign", "withhold+top_k:fraction=0.1", "a foreign + one", "{"])
    assert [name for name, _ in told] == ["top_k", "sign", "withhold"]
    assert all(len(words) > 20 for _, words in told)

"""Tests of pruning: what goes is said, and what stays is as it was."""

import json

import pytest
from tests.custom.record.recorded import STATE, flip, info, record

from medleak.custom.record import (
    RecordError,
    gaps_text,
    list_updates,
    read_manifest,
    read_model,
    read_record,
    strays,
    verify,
    write_record,
)
from medleak.custom.record.keeping import pruning
from medleak.custom.record.keeping.compressing import compress_record
from medleak.custom.record.keeping.pruning import plan_pruning, prune
from medleak.custom.record.keeping.verified import kept_models


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def root(tmp_path, request):
    root = record(tmp_path / "records")
    if request.param:
        compress_record(root)
    return root


def sound(root):
    """Every update that is there is right, and nothing lies about."""
    return all(why is None for *_, why in verify(root)) and not strays(root)


def test_rounds_go_with_their_models_and_the_manifest_says_so(root):
    before = sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
    plan = plan_pruning(root, rounds=[1])
    assert list_updates(root) == [(r, s) for r in range(3) for s in "ab"]  # a plan does nothing
    manifest = (root / "manifest.json").stat().st_size
    prune(plan)
    after = sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
    grown = (root / "manifest.json").stat().st_size - manifest
    assert before - after == plan.freed_bytes - grown
    assert list_updates(root) == [(r, s) for r in (0, 2) for s in "ab"]
    assert not (root / "round_0001").exists()
    left_out = read_manifest(root).left_out
    assert [(x.round, x.site) for x in left_out] == [(1, "a"), (1, "b")]
    assert all(x.reason.startswith("pruned 20") for x in left_out)
    assert gaps_text(list_updates(root), left_out) == ""
    assert sound(root)


def test_the_first_rounds_model_stays_and_is_known_by_its_hash(root):
    prune(plan_pruning(root, rounds=[0]))
    assert read_model(root, 0)["w"].tolist() == STATE["w"].tolist()
    assert sound(root)
    prune(plan_pruning(root, rounds=[1]))  # now the first that has updates, and not the first
    assert list(read_manifest(root).kept_models) == [0]
    with pytest.raises(RecordError, match="keeps no model of round 1"):
        read_model(root, 1)
    assert list(kept_models(root)) == [(0, None)]
    (path,) = (root / "round_0000").iterdir()
    flip(path)
    assert [why is None for _, why in kept_models(root)] == [False]


def test_a_site_goes_and_the_models_stay(root):
    plan = plan_pruning(root, sites=["b"])
    prune(plan)
    assert list_updates(root) == [(0, "a"), (1, "a"), (2, "a")]
    assert sound(root)
    said = " ".join(plan.no_longer())
    assert "Of b nothing is left." in said
    assert "In 3 rounds one site is left" in said


def test_it_is_said_what_can_no_longer_be_asked(root):
    said = " ".join(plan_pruning(root, rounds=[1]).no_longer())
    assert "2 updates of 2 sites cannot be audited" in said
    assert "join fewer rounds of a, b" in said
    assert "The models of round 1 go" in said
    assert "models of" not in " ".join(plan_pruning(root, rounds=[0]).no_longer())


def test_a_model_beside_the_first_goes_with_the_last_update_that_needs_it(tmp_path):
    root = record(tmp_path / "records", rounds=(0,))
    other = {"w": STATE["w"] + 9}
    for site in "cd":
        write_record(root, info(0, site), other, STATE, several=True)
    (model,) = (root / "round_0000" / "models").iterdir()
    prune(plan_pruning(root, sites=["c"]))
    assert model.exists()
    prune(plan_pruning(root, sites=["d"]))
    assert not model.parent.exists()
    assert list_updates(root) == [(0, "a"), (0, "b")]
    assert sound(root)


def test_no_model_goes_while_a_damaged_update_may_need_it(root):
    (root / "round_0001" / "a.json").write_text("{")
    plan = plan_pruning(root, rounds=[1], sites=["b"])
    assert plan.models == []
    prune(plan)
    assert list_updates(root)[2:3] == [(1, "a")]


def test_a_damaged_update_may_go(root):
    (root / "round_0001" / "a.json").write_text("{")
    prune(plan_pruning(root, rounds=[1]))
    assert sound(root)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, "Name the rounds"),
        ({"rounds": [7]}, "Round 7 is not in"),
        ({"sites": ["c"]}, "Site c is not in"),
        ({"rounds": [0, 1, 2]}, "Nothing would be left"),
    ],
)
def test_what_is_not_there_or_would_leave_nothing_is_refused(root, asked, why):
    with pytest.raises(ValueError, match=why):
        plan_pruning(root, **asked)


def test_stopped_on_the_way_it_is_finished_by_the_same_again(root, monkeypatch):
    real, gone = pruning._remove, []

    def killed(path):
        if len(gone) == 3:
            raise KeyboardInterrupt
        gone.append(path)
        real(path)

    monkeypatch.setattr(pruning, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        prune(plan_pruning(root, rounds=[0, 1]))
    monkeypatch.undo()
    assert len(read_manifest(root).left_out) == 4  # it is said of what may be gone
    prune(plan_pruning(root, rounds=[0, 1]))
    assert list_updates(root) == [(2, "a"), (2, "b")]
    assert len(read_manifest(root).left_out) == 4
    assert sound(root)
    assert read_record(root, 2, "a").update["w"].sum() == 0


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        *(({"rounds": [1]}, k) for k in range(7)),
        *(({"rounds": [0, 1]}, k) for k in (0, 3, 8, 12)),
        *(({"rounds": [1, 2]}, k) for k in (6, 12, 13)),
    ],
)
def test_wherever_it_is_stopped_the_same_again_finishes_it(root, monkeypatch, after, asked):
    real, gone = pruning._remove, []

    def killed(path):
        if len(gone) == after:
            raise KeyboardInterrupt
        gone.append(path)
        real(path)

    monkeypatch.setattr(pruning, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        prune(plan_pruning(root, **asked))
    monkeypatch.undo()
    prune(plan_pruning(root, **asked))
    assert sound(root)
    assert not {r for r, _ in list_updates(root)} & set(asked["rounds"])
    assert [r for r in range(3) if (root / f"round_{r:04d}").exists()] == [
        r for r in range(3) if r not in asked["rounds"] or r == 0
    ]


def test_nothing_but_models_of_the_record_goes_with_them(tmp_path):
    root = record(tmp_path / "records", rounds=(0, 1), sites=("a",))
    mine = root / "round_0001" / "models" / "mine.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    prune(plan_pruning(root, rounds=[1]))
    assert [p for p in (root / "round_0001").rglob("*") if p.is_file()] == [mine]


def test_a_record_that_has_changed_since_it_was_looked_at_is_left_as_it_is(root):
    plan = plan_pruning(root, rounds=[1])
    write_record(root, info(1, "c"), {"w": STATE["w"] + 1}, STATE)
    with pytest.raises(RecordError, match="changed since it was looked at"):
        prune(plan)
    assert sound(root)
    assert len(list_updates(root)) == 7
    plan = plan_pruning(root, rounds=[1])
    prune(plan_pruning(root, rounds=[0]))
    with pytest.raises(RecordError, match="Nothing was pruned"):
        prune(plan)
    assert list(read_manifest(root).kept_models) == [0]


@pytest.mark.parametrize("name", ["round_0001", "round_0001/beside", "round_0001/models"])
def test_a_record_that_leads_elsewhere_prunes_nobody_elses_files(tmp_path, name):
    root = record(tmp_path / "records")
    theirs = tmp_path / "theirs"
    if name == "round_0001":
        (root / name).rename(theirs)
    else:
        theirs.mkdir()
        digest = json.loads((root / "round_0001" / "a.json").read_text())["sha256"]["global"]
        for file in ("a.safetensors", f"{digest}.safetensors"):
            (theirs / file).write_bytes(b"theirs")
    (root / name).symlink_to(theirs)
    before = sorted(p.name for p in theirs.iterdir())
    with pytest.raises(RecordError, match="a link out of the record"):
        prune(plan_pruning(root, rounds=[1]))
    assert sorted(p.name for p in theirs.iterdir()) == before
    assert read_manifest(root).left_out == ()


def test_an_older_record_is_not_rewritten_as_one_that_means_something_else(tmp_path):
    root = record(tmp_path / "records")
    path = root / "manifest.json"
    text = {k: v for k, v in json.loads(path.read_text()).items() if k in ("job", "created")}
    model = {"path": "torchvision.models.resnet18", "args": {}}
    image = {"spatial_size": [8, 8], "channels": 1}
    said = {"format_version": 1, "model": model, "task": {"num_classes": 2}, "input": image}
    path.write_text(json.dumps(text | said))
    with pytest.raises(RecordError, match="format version 1"):
        plan_pruning(root, rounds=[1])

"""Tests of joining: several records of one run become one, or nothing is written."""

import shutil

import numpy as np
import pytest
from tests.custom.record.recorded import STATE, flip, info, record

from medleak.custom.record import (
    LeftOut,
    ModelSpec,
    RecordError,
    all_records,
    find_records,
    gaps_text,
    list_updates,
    read_beside,
    read_manifest,
    read_record,
    strays,
    verify,
    write_global,
    write_manifest,
    write_update,
)
from medleak.custom.record.keeping.joining import join_records
from medleak.custom.record.keeping.pruning import plan_pruning, prune
from medleak.custom.record.keeping.verified import kept_models


def halves(tmp_path):
    """A record, and the same in two: what two sites of a swarm have, who took turns."""
    whole = record(tmp_path / "whole")
    a, b = record(tmp_path / "a" / "records"), record(tmp_path / "b" / "records")
    for root, gone in ((a, (1,)), (b, (0, 2))):
        for round in gone:
            shutil.rmtree(root / f"round_{round:04d}")
        write_manifest(root, read_manifest(whole))
    return whole, a, b


def silent(root, like):
    manifest = read_manifest(like).model_copy(update={"silence": "this site aggregated nothing"})
    write_manifest(root, manifest)
    return root


def test_what_lay_in_two_records_lies_in_one_as_it_was(tmp_path):
    whole, a, b = halves(tmp_path)
    none = silent(tmp_path / "c" / "records", whole)
    done = join_records([a, b, none], tmp_path / "joined")
    assert list(done.updates.values()) == [4, 2, 0]
    assert done.not_joined == []
    assert list_updates(done.root) == list_updates(whole)
    assert all(why is None for *_, why in verify(done.root))
    assert strays(done.root) == []
    assert read_manifest(done.root) == read_manifest(whole)
    for update in list_updates(whole):
        source = b if update[0] == 1 else a
        before, after = read_record(source, *update), read_record(done.root, *update)
        assert before.info == after.info
        for name, value in before.update.items():
            np.testing.assert_array_equal(after.update[name], value)


def test_what_stands_beside_an_update_comes_along(tmp_path):
    _, a, b = halves(tmp_path)
    digest = write_global(b, 1, read_record(b, 1, "a").global_state)
    control = {"scaffold_c_diff": {n: np.ones_like(v) for n, v in STATE.items()}}
    write_update(b, info(1, "c"), digest, STATE, beside=control)
    done = join_records([a, b], tmp_path / "joined")
    assert read_beside(done.root, 1, "c").keys() == control.keys()


def test_what_was_left_out_or_pruned_anywhere_is_said(tmp_path):
    _, a, b = halves(tmp_path)
    gone = (LeftOut(round=1, site="z", reason="sites"),)
    write_manifest(b, read_manifest(b).model_copy(update={"left_out": gone}))
    prune(plan_pruning(a, rounds=[0]))  # the first model stays
    done = join_records([a, b], tmp_path / "joined")
    manifest = read_manifest(done.root)
    assert {(x.round, x.site) for x in manifest.left_out} == {(1, "z"), (0, "a"), (0, "b")}
    assert list(manifest.kept_models) == [0]
    assert list(kept_models(done.root)) == [(0, None)]
    assert gaps_text(list_updates(done.root), manifest.left_out) == ""


def changed(root, **fields):
    write_manifest(root, read_manifest(root).model_copy(update=fields))


def damaged(root):
    flip(root / "round_0001" / "a.safetensors")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: changed(root, job="another"), "is of the job 'another'"),
        (lambda root: changed(root, class_names=("x", "y")), "other class names"),
        (lambda root: changed(root, model=ModelSpec(path="torch.nn.Linear")), r"model\.path"),
        (damaged, "SHA-256"),
    ],
)
def test_what_does_not_belong_together_is_not_joined(tmp_path, spoil, words):
    _, a, b = halves(tmp_path)
    changed(a, model=ModelSpec(path="torch.nn.Identity"))
    spoil(b)
    with pytest.raises(RecordError, match=words):
        join_records([a, b], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
    assert not list(tmp_path.glob(".join_*"))


def test_two_updates_of_a_site_in_a_round_an_empty_join_and_an_old_folder_are_refused(tmp_path):
    whole, a, b = halves(tmp_path)
    with pytest.raises(RecordError, match="both have an update of a in round 0"):
        join_records([a, whole], tmp_path / "joined")
    with pytest.raises(RecordError, match="nothing to join"):
        join_records([silent(tmp_path / "c", whole)], tmp_path / "joined")
    with pytest.raises(RecordError, match="exists"):
        join_records([a, b], tmp_path / "whole")


def test_what_is_no_update_is_named(tmp_path):
    _, a, b = halves(tmp_path)
    (b / "round_0001" / "c.safetensors").write_bytes(b"x")
    done = join_records([a, b], tmp_path / "joined")
    assert done.not_joined == [f"{b}: round_0001/c.safetensors has no .json"]


def test_of_several_records_the_one_with_updates_is_found_or_joining_is_proposed(tmp_path):
    whole, a, b = halves(tmp_path)
    none = silent(tmp_path / "c" / "records", whole)
    assert all_records(tmp_path / "a") == [a]
    with pytest.raises(RecordError, match=r"holds 2 records.*medleak records join"):
        find_records(tmp_path)
    (b / "manifest.json").unlink()
    assert len(all_records(tmp_path)) == 2
    assert find_records(tmp_path) == a
    (a / "manifest.json").unlink()
    assert find_records(tmp_path) == none


def test_what_one_record_left_out_and_another_has_is_not_said_to_be_left_out(tmp_path):
    whole, a, b = halves(tmp_path)
    late = [LeftOut(round=r, site="a", reason="it came late") for r in (1, 7)]
    write_manifest(a, read_manifest(whole).model_copy(update={"left_out": tuple(late)}))
    done = join_records([a, b], tmp_path / "joined")
    assert (1, "a") in list_updates(done.root)
    assert read_manifest(done.root).left_out == (late[1],)

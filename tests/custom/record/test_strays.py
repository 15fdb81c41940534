"""Tests of medleak.custom.record.strays."""

import json

from tests.custom.record.recorded import STATE, info, record

from medleak.custom.record import LeftOut, Manifest, read_info, write_record, write_update
from medleak.custom.record.strays import gaps_text, left_out_text, strays, why_empty


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_whole_record_has_none(tmp_path):
    touch(tmp_path, "manifest.json", "round_0000/global.safetensors")
    touch(tmp_path, "round_0000/a.safetensors", "round_0000/a.json", "round_0000/.b.json.x.part")
    assert strays(tmp_path) == []
    assert strays(tmp_path / "nowhere") == []


def test_what_looks_like_an_update_and_is_read_as_none_is_named(tmp_path):
    touch(tmp_path, "round_0000/global.safetensors", "round_0000/a.safetensors")
    touch(tmp_path, "round_0000/b.json", "round_0000/two words.json")
    touch(tmp_path, "round_0001/global.safetensors", "round_2/a.json", "rounds/a.json")
    assert strays(tmp_path) == [
        "round_0000/a.safetensors has no .json",
        "round_0000/two words.json has the name of no site",
        "round_0001/ holds no update",
        "round_2/ has the name of no round",
        "rounds/ has the name of no round",
    ]


def test_what_is_beside_the_rounds_is_named_where_it_may_be_an_update(tmp_path):
    touch(tmp_path, "manifest.json", "README.md", "audit/results.csv", "site-1.json", "a.pt")
    touch(tmp_path, "Round_0003/a.json", "round_00000/a.json", "old/round_0001/a.safetensors")
    touch(tmp_path, "round_0005", "round_٠٠٠٣/a.json")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "audit")
    (tmp_path / "round_0006").symlink_to(tmp_path / "nowhere")
    assert strays(tmp_path) == [
        "Round_0003/ has the name of no round",
        "a.pt is in no round",
        "elsewhere/ holds weights, or is a link, and has the name of no round",
        "old/ holds weights, or is a link, and has the name of no round",
        "round_00000/ has the name of no round",
        "round_0005 is no folder",
        "round_0006 is no folder",
        "round_٠٠٠٣/ has the name of no round",
        "site-1.json is in no round",
    ]


def test_in_a_round_every_file_is_of_the_record_or_named(tmp_path):
    touch(tmp_path, "round_0000/global.safetensors", "round_0000/models/x.safetensors")
    touch(tmp_path, "round_0000/a.safetensors", "round_0000/a.json")
    assert strays(tmp_path) == []
    touch(tmp_path, "round_0000/b.SAFETENSORS", "round_0000/b.json.bak", "round_0000/c.pt")
    assert strays(tmp_path) == [
        "round_0000/b.SAFETENSORS is no file of a record",
        "round_0000/b.json.bak is no file of a record",
        "round_0000/c.pt is no file of a record",
    ]


def test_tensors_in_a_rounds_own_folders_that_no_update_names_were_not_examined(tmp_path):
    root = record(tmp_path / "records", rounds=(0,), sites=("a",))
    write_record(root, info(0, "c"), {"w": STATE["w"] + 9}, STATE, several=True)
    more = {"controls": {"w": STATE["w"]}}
    hashes = read_info(root, 0, "a").sha256
    assert hashes is not None
    write_update(root, info(0, "b"), hashes.sent, STATE, beside=more)
    assert strays(root) == []
    touch(root, "round_0000/beside/a.safetensors", f"round_0000/models/{'0' * 64}.safetensors.zst")
    assert strays(root) == [
        "round_0000/beside/a.safetensors belongs to no update",
        f"round_0000/models/{'0' * 64}.safetensors.zst belongs to no update",
    ]
    sidecar = root / "round_0000" / "b.json"
    text = json.loads(sidecar.read_text())
    del text["sha256"]["beside"]  # as if nothing had been sent beside it
    sidecar.write_text(json.dumps(text))
    assert "round_0000/beside/b.safetensors belongs to no update" in strays(root)


def test_updates_that_are_not_there_are_counted_unless_it_is_said_why():
    here = [(0, "a"), (0, "b"), (2, "a"), (2, "b")]
    assert gaps_text([], []) == gaps_text(here[:2], []) == ""
    assert gaps_text(here, []).startswith("2 updates that 2 sites could have sent in rounds 0 to 2")
    left_out = [LeftOut(round=1, site=s, reason="every_n_rounds=2") for s in ("a", "b", "other")]
    assert gaps_text(here, left_out) == ""
    assert gaps_text(here[:3], left_out).startswith("1 updates")


def test_a_strangers_name_is_short_and_cannot_write_to_the_terminal(tmp_path):
    touch(tmp_path, "round_0000/\x1b[31m.json", "round_0000/" + "x" * 120 + ".safetensors")
    (first, second) = strays(tmp_path)
    assert "\x1b" not in first
    assert len(second) < 140


def test_what_was_left_out_is_counted_by_reason():
    assert left_out_text([]) == ""
    found = [LeftOut(round=k, site="a", reason=f"r{k // 3}") for k in range(13)]
    assert left_out_text(found) == (
        "13 updates arrived and are not in the record (3: r0; 3: r1; 3: r2; and 2 other reasons)"
    )


def test_an_empty_record_has_its_recorders_word_or_says_where_to_look():
    silent = Manifest(job="j", created="now", silence="no result\ncame by")
    assert why_empty(silent) == "Its recorder says: no result came by."
    assert "Look whether" in why_empty(Manifest(job="j", created="now"))

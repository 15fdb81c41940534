"""Tests of medleak.custom.record.strays."""

from medleak.custom.record import LeftOut
from medleak.custom.record.strays import left_out_text, strays


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


def test_a_strangers_name_is_short_and_cannot_write_to_the_terminal(tmp_path):
    touch(tmp_path, "round_0000/\x1b[31m.json", "round_0000/" + "x" * 120 + ".safetensors")
    (first, second) = strays(tmp_path)
    assert "\x1b" not in first
    assert len(second) < 140


def test_what_was_left_out_is_counted_by_reason():
    assert left_out_text([]) == ""
    found = [LeftOut(round=k, site="a", reason=f"r{k // 3}") for k in range(13)]
    assert left_out_text(found) == (
        "13 updates arrived and were not recorded (3: r0; 3: r1; 3: r2; and 2 other reasons)"
    )

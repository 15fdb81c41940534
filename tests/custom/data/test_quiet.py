"""Tests of medleak.custom.data.quiet."""

import logging
import os
import subprocess
import sys
import threading
import warnings

import pytest
from tests.custom.contracts.dicom_modes import compressed_cases

from medleak.custom.data.quiet import captured, quiet


def test_what_a_library_says_in_the_block_is_dropped_and_nothing_else(caplog):
    library, other = logging.getLogger("reader.plugin"), logging.getLogger("other")
    with caplog.at_level(logging.DEBUG):
        with quiet("reader"):
            library.debug("Doe, Jane")
            logging.getLogger("reader.late").error("Doe, Jane")
            warnings.warn("Doe, Jane", stacklevel=1)
            other.error("heard")
        library.debug("heard again")
    assert [r.getMessage() for r in caplog.records] == ["heard", "heard again"]


def test_an_error_passes_and_leaves_logging_as_it_was():
    logger = logging.getLogger("reader")
    before = (logger.propagate, list(logger.handlers))
    with pytest.raises(KeyError), quiet("reader"):
        raise KeyError
    assert (logger.propagate, logger.handlers) == before


def test_what_is_written_to_the_descriptor_in_the_block_is_taken_and_nothing_else(capfd):
    os.write(2, b"before\n")
    with captured() as said:
        os.write(2, b"Corrupt JPEG data\n")
        print("printed", file=sys.stderr)
    os.write(2, b"after\n")
    assert b"Corrupt JPEG data\n" in said
    assert "Corrupt" not in (seen := capfd.readouterr().err)
    assert seen.startswith("before\n")
    assert seen.endswith("after\n")


def test_an_error_in_the_block_passes_and_gives_the_stream_back(capfd):
    with pytest.raises(KeyError), captured():
        raise KeyError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_threads_take_turns_and_each_hears_its_own(capfd):
    heard = {}

    def work(name):
        for k in range(20):
            with captured() as said:
                os.write(2, b"%d %d\n" % (name, k))
            heard[name, k] = bytes(said)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {(n, k): b"%d %d\n" % (n, k) for n in range(4) for k in range(20)}
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_a_process_without_an_error_stream_can_decode():
    code = "import os\nos.close(2)\nfrom medleak.custom.data.quiet import captured\n"
    code += "with captured() as said: print('fine')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"fine\n"


def test_decoders_in_c_print_nothing_beside_our_one_line(tmp_path):
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    (tmp_path / "in").mkdir()
    broken = 0
    for k, case in enumerate(compressed_cases()):
        at = case.content.index(b"\xe0\x7f\x10\x00") + 28  # where the only frame begins
        for spoil in ((0, b"abcd"), (len(case.content) // 2 - at // 2, b"\xff\x00\x7f" * 8)):
            data = bytearray(case.content)
            data[at + spoil[0] : at + spoil[0] + len(spoil[1])] = spoil[1]
            (tmp_path / "in" / f"{k}_{broken}.dcm").write_bytes(data)
            broken += 1
    code = (
        "import os, sys\n"
        "sys.argv = ['medleak', 'data', 'dicom', 'in', '-o', 'out', '--skip-broken']\n"
        "from medleak.inversion.cli import app\n"
        "app()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr
    for line in done.stderr.splitlines():
        assert line.startswith("medleak: "), line

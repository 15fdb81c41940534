"""Tests of what medleak audit shows."""

import pytest

from medleak.inversion.cli.shared.output import _mean, print_table, progress
from medleak.inversion.reconstruction import Progress


def test_a_table_has_the_keys_as_its_heading_and_values_as_plain_text(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_table([{"site": "[red]a[/red]", "SSIM": "0.900"}, {"site": "b", "SSIM": "-"}])
    out = capsys.readouterr().out
    assert "site" in out
    assert "SSIM" in out
    assert "[red]a[/red]" in out
    assert "0.900" in out


def test_no_lines_make_no_table(capsys):
    print_table([])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("values", "text"),
    [([0.5, 1.0], "0.750"), ([None, 0.25], "0.250"), ([None], "-"), ([], "-")],
)
def test_a_mean_is_of_what_is_known(values, text):
    assert _mean(values) == text


def test_bars_go_to_the_error_stream_and_leave_standard_output_to_results(capsys):
    class Task:
        site, round, seed = "site-1", 0, 0

    class Outcome:
        case, kept = Task(), False

    with progress(2) as (watch, finished):
        follow = watch(Outcome.case)  # type: ignore[arg-type]
        for iteration in (1, 2):
            follow(Progress(iteration=iteration, total=2, loss=0.5, seconds=0.1))
        finished(Outcome())  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""

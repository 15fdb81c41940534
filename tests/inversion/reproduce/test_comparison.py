"""Tests of the report that a reproduction ends in."""

from medleak.inversion.reproduce.comparison import PaperEntry, grid, write_report


def test_a_grid_is_a_markdown_table_set_off_by_blank_lines():
    assert grid(("a", "b"), [("1", "2")]) == "\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_bar_does_not_end_a_cell():
    assert grid(("a",), [("`dlg | none | all`",)]).endswith("| `dlg \\| none \\| all` |")


def test_each_published_number_stands_beside_the_one_found_here(tmp_path):
    path = tmp_path / "deep" / "report.md"
    entries = [
        PaperEntry(
            number="Table I", shows="similarity", published="0.9", here="0.8", pictures=["x.png"]
        ),
        PaperEntry(number="Fig. 2", shows="noise", published="a curve", why="Needs a GPU."),
    ]
    write_report(path, "Paper", "Setting.", entries)
    assert path.read_text() == (
        "# Paper\n\nSetting.\n\n"
        "## Table I: similarity\n\nPublished: 0.9\n\nHere: 0.8\n\n"
        "![Table I: similarity](x.png)\n\n"
        "## Fig. 2: noise\n\nPublished: a curve\n\nHere: not measured.\n\nNeeds a GPU.\n"
    )

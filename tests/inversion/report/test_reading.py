"""An audit directory is read as it was written, and figures are completed where they lack."""

import pytest
from tests.inversion.report.directories import a_figure, a_group, grid

from medleak.inversion.report.reading import read_audit


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


def test_a_directory_of_neither_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no audit directory"):
        read_audit(tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "config.json", "calibration.json"])
def test_a_damaged_file_is_refused_by_name(directory, name):
    folder = directory.write(grid(["s"]), pictures=False)
    (folder / name).write_bytes(b'{"a": ')
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        read_audit(folder)

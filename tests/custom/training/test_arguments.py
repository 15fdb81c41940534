"""Tests of the arguments of the jobs' client script."""

from pathlib import Path

import pytest

from medleak.custom.sites.split import TMI_TABLE_II, Site
from medleak.custom.training.arguments import parse

NEEDED = ["--classes", "normal", "pneumonia", "--run_dir", "run", "--batch_size", "4"]


def test_what_is_not_given_is_the_papers_or_nothing():
    args = parse(NEEDED)
    assert (args.classes, args.run_dir, args.batch_size) == (
        ["normal", "pneumonia"],
        Path("run"),
        4,
    )
    assert args.table == TMI_TABLE_II
    assert args.noise_multiplier is None
    assert not any((args.masks, args.full_batch, args.share_metrics))
    assert (args.momentum, args.weight_decay, args.local_epochs) == (0.0, 0.0, 1)


def test_a_space_in_a_class_comes_escaped_as_nvflare_would_split_at_it():
    args = parse([*NEEDED[3:], "--classes", "Viral%20Pneumonia", "a%25b"])
    assert args.classes == ["Viral Pneumonia", "a%b"]


def test_a_table_is_read_and_a_bad_one_refused(capsys):
    assert parse([*NEEDED, "--table", "a:2:4:4"]).table == (Site("a", 2, 4, 4),)
    with pytest.raises(SystemExit):
        parse([*NEEDED, "--table", "a:2"])
    assert "--table" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["--classes", "--run_dir"])
def test_what_no_default_fits_must_be_given(missing, capsys):
    given = [NEEDED[:3], NEEDED[3:5], NEEDED[5:]]
    with pytest.raises(SystemExit):
        parse([word for group in given if group[0] != missing for word in group])
    assert missing in capsys.readouterr().err


def test_the_batch_size_may_be_left_to_the_sites_own_row_of_the_table():
    assert parse(NEEDED[:5]).batch_size is None

"""Tests of medleak.inversion.images.truth."""

import pytest
import torch

from medleak.custom.data.datalist import DataError
from medleak.inversion.images.truth import find_truth, load_truth, training_items


def test_a_simulated_sites_list_is_found_from_its_workspaces_record(make_run):
    run = make_run({"site-1": 1, "site-9": 2})
    for site in ("site-1", "site-9"):
        expected = run.root / site / "simulate_job" / "datalist.json"
        assert find_truth(None, run.records, site) == expected.resolve()


def test_a_list_beside_or_in_the_records_is_found_but_none_from_further_up(make_run, tmp_path):
    run = make_run()
    lone = tmp_path / "elsewhere" / "case" / "records"
    lone.parent.mkdir(parents=True)
    run.records.rename(lone)
    assert find_truth(None, lone, "site-9") is None
    datalist = run.root / "site-9" / "simulate_job" / "datalist.json"
    for above, found in ((tmp_path / "elsewhere", False), (lone.parent, True), (lone, True)):
        (above / "site-9").mkdir()
        copy = above / "site-9" / "datalist.json"
        copy.write_bytes(datalist.read_bytes())
        assert (find_truth(None, lone, "site-9") is not None) == found
        copy.unlink()


def test_two_lists_of_one_site_are_no_truth_unless_one_is_named(make_run):
    run = make_run()
    datalist = run.root / "site-9" / "simulate_job" / "datalist.json"
    (run.root / "site-9" / "other").mkdir()
    (run.root / "site-9" / "other" / "datalist.json").write_bytes(datalist.read_bytes())
    assert find_truth(None, run.records, "site-9") is None
    with pytest.raises(ValueError, match="has 2 datalists for site-9"):
        find_truth(run.root, run.records, "site-9")
    assert find_truth(datalist, run.records, "site-9") == datalist


def test_truth_is_what_the_client_trained_on_and_names_no_file(make_run):
    run = make_run({"site-1": 3})
    datalist = find_truth(run.root, run.records, "site-1")
    assert datalist is not None
    truth = load_truth(training_items(datalist, "site-1"), (16, 16), 1)
    torch.testing.assert_close(truth.images, run.images("site-1", 16), rtol=0, atol=0)
    assert truth.labels.shape == (3,)
    assert truth.names == ("training[0]", "training[1]", "training[2]")


def test_a_missing_image_is_refused_by_name(make_run):
    run = make_run()
    datalist = run.root / "site-9" / "simulate_job" / "datalist.json"
    items = training_items(datalist, "site-9")
    (image,) = run.root.glob("site-9/**/*.png")
    image.unlink()
    with pytest.raises(DataError, match=image.name):
        load_truth(items, (16, 16), 1)

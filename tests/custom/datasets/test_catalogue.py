"""Tests of the list of all sets that are known by name."""

import pytest

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets.catalogue import DATA_SETS, find, overview
from medleak.custom.phantoms import MODALITIES


def test_published_counts_are_the_papers():
    # MedPFL Table I says 317 and 7022; the last is one less than the set's page.
    total = {name: sum(known.counts.values()) for name, known in DATA_SETS.items()}
    assert total["covid19_xray"] == 317
    assert total["brain_tumor_mri"] == 7022 + 1
    assert total["melanoma"] == 10605
    assert total["airogs"] == 101442
    assert total["cifar10"] == 60000


def test_the_test_lists_of_tmi_are_as_long_as_in_its_table_ii():
    assert {name: known.test for name, known in DATA_SETS.items() if known.test} == {
        "covid19_radiography": 1382,
        "airogs": 10145,
    }


def test_medpfls_sets_go_to_sites_that_send_the_gradient_of_one_image_or_a_few():
    for name, known in DATA_SETS.items():
        if known.use.startswith("MedPFL"):
            assert {site.training for site in known.table} == {1, 4, 8}, name
            assert all(site.training == site.batch_size for site in known.table)


def test_the_overview_names_each_set_once_with_its_command():
    rows = overview()
    assert len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        assert row["command"].startswith("medleak data ")
        assert row["licence"]
    assert {row["modality"] for row in rows if "synthetic" in row["name"]} == set(MODALITIES)


def test_an_unknown_set_is_refused_with_those_there_are():
    with pytest.raises(DataError, match=r"'mnist'.*airogs.*medleak data folder"):
        find("mnist")

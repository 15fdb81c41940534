"""Tests of medleak.filters.imports."""

import gc

import pytest

from medleak.filters.imports import late, uncollected


def test_the_collector_rests_and_is_on_again_even_after_an_error():
    assert gc.isenabled()
    seen = []

    def broken():
        with uncollected():
            seen.append(gc.isenabled())
            raise ImportError("no such library")

    with pytest.raises(ImportError, match="no such"):
        broken()
    assert (seen, gc.isenabled()) == ([False], True)


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_name_is_imported_when_it_is_asked_for_and_no_other_is_known():
    find = late("medleak.filters", {"Spec": "spec", "Gone": "spec"})
    assert find("Spec").__module__ == "medleak.filters.spec"
    with pytest.raises(AttributeError, match=r"'medleak\.filters' has no attribute 'spec'"):
        find("spec")
    with pytest.raises(AttributeError, match="Gone"):
        find("Gone")

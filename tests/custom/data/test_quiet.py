"""Tests of medleak.custom.data.quiet."""

import logging
import warnings

import pytest

from medleak.custom.data.quiet import quiet


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

"""Tests of medleak.filters.defences.withholding."""

import pytest

from medleak.filters.defences.withholding import Withhold
from medleak.filters.noise import NoiseSource
from medleak.filters.update import UpdateError


def sent(update, global_state=None, **args):
    return Withhold(**args)(update, rng=NoiseSource.secure(), global_state=global_state)


def test_statistics_stay_home_and_weights_are_sent_as_they_are(update, global_state):
    result = sent(update, global_state)
    assert not [n for n in result if "running" in n or "tracked" in n]
    assert all(result[n] is update[n] for n in result)
    assert "bn1.weight" in result


def test_fedbn_withholds_the_affine_weights_too(update):
    result = sent(update, batch_norm="withhold_all")
    assert not [n for n in result if n.startswith(("bn1", "layer1.bn2"))]
    assert "norm.weight" in result


def test_layers_are_chosen_by_pattern(update):
    result = sent(update, batch_norm="send", layers=["fc.*", "conv.*"])
    assert set(update) - set(result) == {"fc.weight", "conv.weight"}


def test_a_pattern_that_matches_nothing_is_refused(update):
    with pytest.raises(UpdateError, match=r"'head\.\*' of layers matches no entry"):
        sent(update, layers=["head.*"])


def test_withholding_everything_or_nothing_is_refused(update):
    with pytest.raises(UpdateError, match="nothing to send"):
        sent(update, layers=["*"])
    with pytest.raises(ValueError, match="withholds nothing"):
        Withhold(batch_norm="send")


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="batch_norm must be one of"):
        Withhold(batch_norm="drop")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="layers must be a list of name patterns"):
        Withhold(layers=[3])  # pyright: ignore[reportArgumentType]

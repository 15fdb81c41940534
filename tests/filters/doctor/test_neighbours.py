import numpy as np
import pytest
from tests.filters.doctor.kits import MECHANISM, policy, scope, write

from medleak.filters.doctor.neighbours import NothingLeft, chain_of, each_chain, releases


def test_scores_are_of_a_gaussian_at_the_two_clipped_updates():
    seen = releases(chain_of("clipped_gaussian:max_grad_norm=1,noise_multiplier=2"), 400)
    first, second = seen.scores["release"]
    assert len(first) == len(second) == 400
    assert seen.relation == "replace"
    assert first.mean() == pytest.approx(1, abs=0.9)
    assert second.mean() == pytest.approx(-1, abs=0.9)
    assert np.std(first) == pytest.approx(2, rel=0.3)
    twice = seen.scores["repetition"][0]
    assert len(twice) == 200
    assert np.std(twice) == pytest.approx(2 * 2**0.5, rel=0.4)


def test_a_zeroed_neighbour_is_next_to_nothing():
    text = "clipped_gaussian:max_grad_norm=1,noise_multiplier=0.1,relation=zero_out"
    first, second = releases(chain_of(text), 20).scores["release"]
    assert first.mean() == pytest.approx(1, abs=0.1)
    assert second.mean() == pytest.approx(0, abs=0.1)


def test_a_bound_on_the_l1_norm_is_used_up_by_one_value():
    text = "clipped_laplace:max_grad_norm=1,noise_multiplier=0.1"
    first, second = releases(chain_of(text), 20).scores["release"]
    assert first.mean() - second.mean() == pytest.approx(2, abs=0.3)


def test_statistics_are_looked_at_where_they_leave():
    assert "statistics" in releases(chain_of("percentile_gaussian:sigma0=1"), 4).scores
    text = "clipped_gaussian:max_grad_norm=1,noise_multiplier=2,buffers=drop"
    assert "statistics" not in releases(chain_of(text), 4).scores


def test_a_kits_own_chains_are_tried(kit):
    write(kit / "local/privacy.json", policy(scope(MECHANISM)))
    (chain,) = each_chain(str(kit))
    assert releases(chain, 4).guarantee is not None


def test_what_lets_nothing_leave_was_not_examined(kit):
    refusing = {"path": "medleak.filters.adapters.Sign", "args": {"tasks": ["other"]}}
    write(kit / "local/privacy.json", policy(scope(refusing)))
    (chain,) = each_chain(str(kit))
    with pytest.raises(NothingLeft, match="Nothing was examined"):
        releases(chain, 4)


def test_a_kit_that_cannot_be_loaded_and_an_unknown_defence_are_refused(kit):
    (kit / "local/privacy.json").write_text("{")
    with pytest.raises(ValueError, match="Nothing was examined"):
        list(each_chain(str(kit)))
    with pytest.raises(ValueError, match="Unknown defence"):
        list(each_chain("nothing_known"))


@pytest.mark.parametrize("multipliers", [(2, 8), (8, 2)])
def test_of_several_claims_the_strictest_is_put_to_the_test(multipliers):
    text = "+".join(f"clipped_gaussian:max_grad_norm=1,noise_multiplier={m}" for m in multipliers)
    guarantee = releases(chain_of(text), 2).guarantee
    assert guarantee is not None
    assert guarantee.event["noise_multiplier"] == 8 / 2  # over the sensitivity of "replace"


def test_a_kit_without_a_policy_is_told_what_is_missing(tmp_path):
    (tmp_path / "local").mkdir()
    with pytest.raises(ValueError, match=r"local/privacy\.json is missing.*Nothing was examined"):
        list(each_chain(str(tmp_path)))
    (tmp_path / "a_file").touch()
    with pytest.raises(ValueError, match="neither a startup kit"):
        list(each_chain(str(tmp_path / "a_file")))

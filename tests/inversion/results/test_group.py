"""Tests of medleak.inversion.results.group."""

import dataclasses
import json

import numpy as np
import pytest
from tests.inversion.rows import ROW as A_ROW

from medleak.inversion.results.group import SWEEP, figures_of

ROW = dataclasses.replace(A_ROW, seconds=2.0)


def row(k=0, ssim=0.5, prior=0.4, **changes):
    """A measured row of image ``k``, its own patient unless told otherwise."""
    values = {"patient": k, "reconstruction": k, "site_images": 4, "mse": 0.01, **changes}
    return dataclasses.replace(
        ROW, truth_image=f"training[{k}]", ssim=ssim, ssim_prior=prior,
        rdlv=None if ssim is None else (ssim - prior) / prior, **values,
    )  # fmt: skip


def test_one_image_in_one_run_has_no_interval():
    found = figures_of([row()])
    assert found["over"] is None
    assert found["rdlv"]["mean"] == pytest.approx(0.25)
    for name in ("ssim", "rdlv", "asr"):
        assert (found[name]["lower95"], found[name]["upper95"]) == (None, None)
    assert (found["images"], found["patients"], found["seeds"], found["runs"]) == (1, 1, 1, 1)


def test_one_image_in_several_runs_has_an_interval_over_runs_and_says_so():
    found = figures_of([row(ssim=s, seed=k) for k, s in enumerate((0.3, 0.5, 0.7))])
    assert found["over"] == "runs"
    # Three runs exclude little: the mean of three more may well lie beyond all of these.
    assert -1 <= found["ssim"]["lower95"] < 0.3
    assert 0.7 < found["ssim"]["upper95"] <= 1
    assert (found["images"], found["seeds"], found["runs"]) == (1, 3, 3)


def test_runs_of_several_patients_widen_no_count_of_patients():
    once = figures_of([row(k, s) for k, s in enumerate((0.3, 0.5, 0.7))])
    many = figures_of([row(k, s, seed=t) for t in range(9) for k, s in enumerate((0.3, 0.5, 0.7))])
    assert many["over"] == once["over"] == "patients"
    for bound in ("lower95", "upper95"):
        assert many["ssim"][bound] == pytest.approx(once["ssim"][bound])
        assert many["asr"][bound] == pytest.approx(once["asr"][bound])


def test_images_of_one_patient_are_resampled_together():
    one = figures_of([row(k, s, patient=7) for k, s in enumerate((0.3, 0.5, 0.7))])
    assert one["over"] is None
    assert (one["images"], one["patients"], one["ssim"]["lower95"]) == (3, 1, None)


def test_patients_of_two_sites_are_different_patients():
    found = figures_of([row(0, 0.2), row(0, 0.6, site="site-2")])
    assert (found["images"], found["patients"], found["over"]) == (2, 2, "patients")


def test_attack_success_is_counted_at_the_threshold_and_over_the_sweep():
    rows = [row(k, s, mse=m) for k, (s, m) in enumerate([(0.9, 1e-3), (0.95, 3e-3), (0.6, 0.1)])]
    found = figures_of(rows)
    asr = found["asr"]
    assert asr["mean"] == pytest.approx(2 / 3)
    assert (asr["successes"], asr["threshold"]) == (2, 0.9)
    assert asr["ssim_of_successes"] == pytest.approx(0.925)
    assert asr["mse_of_successes"] == pytest.approx(2e-3)
    assert 0.2 < asr["lower95"] < 2 / 3 < asr["upper95"] < 1
    assert list(found["asr_sweep"]) == [f"{t:g}" for t in SWEEP]
    assert found["asr_sweep"]["0.5"] == 1.0
    assert found["asr_sweep"]["0.95"] == pytest.approx(1 / 3)


def test_no_success_has_no_average_of_successes():
    asr = figures_of([row(0), row(1)])["asr"]
    assert (asr["mean"], asr["ssim_of_successes"], asr["mse_of_successes"]) == (0, None, None)
    assert asr["upper95"] > 0.5  # two images exclude little


def test_nulls_stand_beside_with_the_lead_over_each():
    rows = [row(k, 0.5 + k / 10, ssim_class_mean=0.45, ssim_other=0.3 + k / 10) for k in range(3)]
    nulls = figures_of(rows)["nulls"]
    assert nulls["prior"]["mean"] == pytest.approx(0.4)
    assert nulls["class_mean"]["excess"]["mean"] == pytest.approx(0.15)
    assert nulls["nonmember"] is None
    # Paired: a lead that is the same for each image is certain, however images differ.
    lead = nulls["other"]["excess"]
    assert (lead["lower95"], lead["upper95"]) == pytest.approx((0.2, 0.2))


def identified(k, neighbours, match, **changes):
    return row(
        k,
        iip_match=match,
        iip_site_match=match,
        neighbours=neighbours,
        class_mates=50,
        gallery=90,
        embedding="resnet18 x",
        **changes,
    )


def test_iip_is_a_share_of_all_the_clients_images_attacked_or_not():
    found = figures_of([identified(0, "7", True), identified(1, "-", False)])
    iip = found["iip"]
    assert iip["mean"] == pytest.approx(1 / 4)
    assert (iip["matches"], iip["k"], iip["gallery"]) == (1, 1, 90)
    # The assignment could choose among the client's four images, of whatever class the two unseen.
    assert iip["p"] == pytest.approx(4 / 50)
    assert iip["null"]["mean"] == pytest.approx(4 / 50 / 4)
    assert found["iip_site"]["mean"] == pytest.approx(1 / 4)
    assert found["embedding"] == "resnet18 x"


def test_chance_counts_the_clients_images_of_the_class_that_the_assignment_chose_from():
    seen = [identified(k, "-", False, truth_label=k % 2) for k in range(3)]
    found = figures_of([*seen, identified(3, "7", True, truth_label=1)])
    assert found["iip"]["p"] == pytest.approx(2 / 50)
    (alone,) = [identified(0, "7", True, truth_label=1, site_images=1)]
    assert figures_of([alone])["iip"]["p"] == pytest.approx(1 / 50)
    two_sites = [alone, dataclasses.replace(alone, site="site-2", neighbours="8")]
    assert figures_of(two_sites)["iip"]["p"] == pytest.approx(1 / 50**2)


def test_intervals_end_where_a_figure_does():
    found = figures_of([row(k, s, cosine=s) for k, s in enumerate((0.2, 1.0))])
    for name in ("ssim", "cosine"):
        assert (found[name]["lower95"], found[name]["upper95"]) == (-1, 1)
    assert found["mse"]["lower95"] >= 0
    assert found["rdlv"]["lower95"] < -1  # RDLV has no such end


def test_iip_over_runs_is_the_mean_over_runs():
    rows = [identified(0, "7", True, seed=s, site_images=1) for s in range(3)]
    rows.append(identified(0, "9", False, seed=3, site_images=1))
    iip = figures_of(rows)["iip"]
    assert iip["mean"] == pytest.approx(3 / 4)
    assert iip["p"] == pytest.approx(1 / 50)  # one image, however often it is found
    assert iip["null"]["mean"] == pytest.approx(4 / 50 / 4)


def test_without_a_network_the_result_says_why_there_is_no_iip():
    found = figures_of([row(embedding="none: no weights here")])
    assert (found["iip"], found["iip_site"]) == (None, None)
    assert found["embedding"] == "none: no weights here"


def test_figures_of_two_networks_are_not_mixed():
    other = dataclasses.replace(identified(1, "7", True), embedding="resnet18 y")
    found = figures_of([identified(0, "7", True), other])
    assert found["iip"] is None
    assert "2 different galleries or networks" in found["embedding"]


def test_rows_without_truth_are_counted_and_measured_nowhere():
    found = figures_of([ROW])
    assert (found["n"], found["images"], found["ssim"], found["asr"]) == (1, 0, None, None)
    assert all(null is None for null in found["nulls"].values())


def test_a_reconstruction_that_no_image_was_left_for_changes_nothing():
    alone = figures_of([row(0, 0.3), row(1, 0.5)])
    extra = dataclasses.replace(ROW, reconstruction=2)
    with_extra = figures_of([row(0, 0.3), row(1, 0.5), extra])
    assert with_extra["n"] == 3
    assert with_extra["ssim"] == alone["ssim"]
    assert with_extra["asr"] == alone["asr"]


def test_all_figures_are_plain_json_and_bounds_hold_the_mean():
    rng = np.random.default_rng(0)
    rows = [identified(k, "7", k == 3, ssim=float(rng.uniform(0.2, 0.95))) for k in range(12)]
    found = figures_of(rows)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for name in ("ssim", "rdlv", "mse", "asr", "iip", "iip_site"):
        figure = found[name]
        assert figure["lower95"] <= figure["mean"] <= figure["upper95"]
        assert figure["min"] <= figure["mean"] <= figure["max"]

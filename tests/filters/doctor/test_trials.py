"""Tests of what is said of filters that were tried."""

import time

import pytest
from tests.filters.doctor.kits import (
    LEDGER,
    MECHANISM,
    NOISE,
    PATH,
    here,
    policy,
    said,
    scope,
    write,
)

from medleak.filters import doctor


def test_dp_sgd_is_not_known_as_no_canary_can_try_it(kit):
    declare = {"path": f"{PATH}DeclareDPSGD", "args": {}}
    write(kit / "local/privacy.json", policy(scope(declare, LEDGER)))
    checks = here(doctor.examine(kit))
    assert doctor.verdict(checks) == doctor.NOT_KNOWN, said(checks, "failed")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("TopK", {"fraction": 0.05}),
        ("Sign", {}),
        ("RandomK", {"fraction": 0.1}),
        ("RandomK", {"fraction": 0.001}),
        ("RandomK", {"fraction": 0.3, "rescale": True}),
    ],
)
def test_compression_alone_is_said_to_be_without_noise(name, args, kit):
    write(kit / "local/privacy.json", policy(scope({"path": PATH + name, "args": args})))
    checks = doctor.examine(kit)
    assert any("no noise" in c for c in said(checks, "warning"))
    assert not any("canary leaves with noise" in c for c in said(checks, "ok"))


def test_noise_beside_compression_is_noise(kit):
    few = {"path": f"{PATH}RandomK", "args": {"fraction": 0.1}}
    write(kit / "local/privacy.json", policy(scope(few, NOISE)))
    assert any("canary leaves with noise" in c for c in said(doctor.examine(kit), "ok"))


def test_statistics_that_noise_of_one_scale_does_not_reach_are_named(kit):
    published = {"path": f"{PATH}PercentileGaussian", "args": {"sigma0": 1}}
    write(kit / "local/privacy.json", policy(scope(published)))
    assert any("statistics leave almost" in w for w in said(doctor.examine(kit), "warning"))


def test_an_update_of_the_size_of_resnet18_is_tried_in_seconds(kit, monkeypatch):
    monkeypatch.undo()  # the real size
    write(kit / "local/privacy.json", policy(scope(MECHANISM, LEDGER), scope(NOISE, name="other")))
    start = time.process_time()
    checks = here(doctor.examine(kit))
    assert time.process_time() - start < 20
    assert said(checks, "failed") == []

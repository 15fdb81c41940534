"""Tests of an examination as a whole."""

from tests.filters.doctor.kits import here, said

from medleak.filters import doctor


def test_a_sound_site_passes(kit, job):
    checks = here(doctor.examine(kit, job))
    assert said(checks, "failed") == []
    assert said(checks, "warning") == []
    assert doctor.healthy(checks)


def test_a_folder_that_is_no_kit_is_named(tmp_path):
    (only,) = doctor.examine(tmp_path)
    assert only.status == "failed"
    assert "has no startup/" in only.detail

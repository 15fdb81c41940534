"""Tests of what is said of a site's other rules."""

import pytest
from tests.filters.doctor.kits import here, resources, rules, said, write

from medleak.filters import doctor
from medleak.filters.allowed import SITE_CLASSES


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("authorization.json", rules({"lead": {"byoc": "any"}}), "lead may bring code"),
        ("authorization.json", rules({"admin": "any"}), "admin may bring code"),
        ("authorization.json", rules({"lead": {"byoc": ["o:us"]}}), "lead may bring code"),
        ("authorization.json", rules({"lead": {"byoc": "not o:us"}}), "lead may bring code"),
        ("resources.json", resources(allow_log_streaming=True), "logs are streamed"),
        ("resources.json", {"class_allow_list": list(SITE_CLASSES)}, "logs are streamed"),
        ("resources.json", resources(allow_log_streaming="false"), "logs are streamed"),
        ("resources.json", resources(class_allow_list=[SITE_CLASSES[2]]), "cannot be built here"),
        ("resources.json", resources(class_allow_list=["mylab.nets."]), "you vouch for that"),
    ],
)
def test_what_a_person_must_decide_is_a_warning(file, content, message, kit):
    write(kit / "local" / file, content)
    checks = here(doctor.examine(kit))
    assert any(message in w for w in said(checks, "warning"))
    assert doctor.healthy(checks)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("resources.json", resources(class_allow_list=["*"]), "any class may be built"),
        ("resources.json", resources(class_list_enforcement_mode="warn"), "any class may be built"),
        ("resources.json", resources(class_allow_list=["nvflare.", "medleak."]), "ClientAPIExec"),
        ("resources.json", resources(class_allow_list=["nvflare.app_common.ccwf."]), "Swarm"),
        ("resources.json", resources(class_allow_list=["medleak.filters."]), "admits Guard"),
        ("resources.json", {"allow_log_streaming": False}, "NVFlare's built-in list admits"),
        ("resources.json", resources(class_allow_list="nvflare."), "is not known"),
        ("resources.json", resources(class_allow_list=["nvflare"]), "is not known"),
        ("resources.json", resources(class_list_enforcement_mode="off"), "is not known"),
        ("resources.json", [], "is not known"),
        ("authorization.json", {"permissions": {"lead": {"byoc": "none"}}}, "is not known"),
        ("authorization.json", rules({"lead": {"byoc": "nobody"}}), "is not known"),
        ("authorization.json", rules({}), "is not known"),
    ],
)
def test_rules_that_open_the_site_or_cannot_be_read_fail(file, content, message, kit):
    write(kit / "local" / file, content)
    assert any(message in f for f in said(here(doctor.examine(kit)), "failed"))


@pytest.mark.parametrize("name", ["authorization.json", "resources.json"])
def test_rules_that_are_no_json_fail(name, kit):
    (kit / "local" / name).write_text("{broken")
    assert any("is no JSON" in f for f in said(doctor.examine(kit), "failed"))


def test_a_site_without_rules_lets_everybody_bring_code(kit):
    (kit / "local/authorization.json").unlink()
    assert any("lets everybody bring" in f for f in said(doctor.examine(kit), "failed"))


def test_defaults_of_the_kit_are_read_where_the_site_has_no_own_file(kit):
    (kit / "local/authorization.json").unlink()
    write(kit / "local/authorization.json.default", rules({"lead": {"byoc": "any"}}))
    assert any("lead may bring code" in w for w in said(doctor.examine(kit), "warning"))


def test_a_broken_list_of_networks_fails(kit, job):
    write(kit / "local/medleak.json", {"networks": "os."})
    assert any("local/medleak.json" in c for c in said(doctor.examine(kit, job), "failed"))


def test_a_file_that_nvflare_could_take_for_the_sites_is_a_failure(kit):
    write(kit / "local" / "comm_config.json", {})
    write(kit / "earlier_job" / "app" / "config" / "resources.json", {"class_allow_list": ["*"]})
    (failure,) = [c for c in said(here(doctor.examine(kit)), "failed") if "lies outside" in c]
    assert "earlier_job/app/config/resources.json" in failure

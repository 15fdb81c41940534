"""What the command refuses at once; its answers are tested in tests/inversion/final_model."""

import pytest
from tests.inversion.cli.commands import medleak, refused

from medleak.inversion.results.files import write_json

pytestmark = pytest.mark.usefixtures("here")


def test_a_run_that_is_not_there_is_one_line():
    assert "does not exist" in refused(medleak("final-model", "nowhere"), 1)


def test_an_audit_of_another_run_gets_no_answer_about_this_ones_model(make_run, tmp_path):
    make_run()
    write_json(tmp_path / "audit" / "config.json", {"record": {"job": "another"}})
    result = medleak("final-model", "--no-inversion", "--out", "audit")
    assert "is the audit of another run" in refused(result, 2)
    assert not (tmp_path / "audit" / "final_model.json").exists()


@pytest.mark.parametrize("options", [("--reference-models", 2), ("--iterations", 0)])
def test_settings_that_prove_nothing_are_refused(options):
    result = medleak("final-model", *options)
    assert result.exit_code == 2
    assert options[0] in result.output

"""What the command refuses at once; its answers are tested in tests/inversion/final_model."""

import pytest
from tests.inversion.cli.commands import medleak, refused

pytestmark = pytest.mark.usefixtures("here")


def test_a_run_that_is_not_there_is_one_line():
    assert "does not exist" in refused(medleak("final-model", "nowhere"), 1)


@pytest.mark.parametrize("options", [("--reference-models", 2), ("--iterations", 0)])
def test_settings_that_prove_nothing_are_refused(options):
    result = medleak("final-model", *options)
    assert result.exit_code == 2
    assert options[0] in result.output

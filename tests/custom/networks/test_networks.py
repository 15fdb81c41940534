"""Tests of what the package medleak.custom.networks adds to its modules."""

import subprocess
import sys

import pytest

from medleak.custom import networks


def test_a_network_is_imported_when_it_is_asked_for_and_not_before():
    program = (
        "import sys\n"
        "from medleak.custom import networks\n"
        "from medleak.custom.networks.weights import load_weights\n"
        "assert 'monai' not in sys.modules\n"
        "assert networks.resnet18().get_submodule('features')\n"
        "assert 'monai' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["torch", "architecture", "nn", "_group_norm", "UNet"])
def test_nothing_but_what_it_lists_has_a_name_in_it(name):
    with pytest.raises(AttributeError, match=name):
        getattr(networks, name)

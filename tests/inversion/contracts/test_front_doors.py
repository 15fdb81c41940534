"""Tests of the front doors: what a package names, and that naming it costs nothing."""

import doctest
import importlib
import subprocess
import sys

import pytest

PACKAGES = ["medleak.inversion.audit", "medleak.inversion.calibration"]


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_that_a_package_names_can_be_had(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert callable(getattr(module, name)), name
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = module.nonsense


@pytest.mark.parametrize("package", PACKAGES)
def test_the_examples_run(package):
    failed, tried = doctest.testmod(importlib.import_module(package))
    assert failed == 0
    assert tried > 0


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_nothing_heavy(package):
    heavy = f"import sys, {package}; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0

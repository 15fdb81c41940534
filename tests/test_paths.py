"""Names that stand in users' files outlive every move: in records, exported jobs, policies, code.

A name may be added here, never taken away: somebody's ``meta.json`` from years ago still says it.
"""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.places import ROOT

ADAPTERS = """
    ClippedGaussian ClippedLaplace DeclareDPSGD GaussianPerturbation GlobalModel Guard
    LaplacePerturbation LeakageGate PercentileGaussian PrivacyBudget PrivacyLedger Quantisation
    RandomK RestoreWithheld Sign TopK Withhold
"""
RECORD = """
    FORMAT_VERSION Hashes InputSpec LeftOut Manifest ModelSpec Record RecordError TaskSpec
    UpdateInfo check_site find_records list_updates natural_key read_info read_manifest read_record
    utc_now verify write_global write_manifest write_record write_update
"""
NETWORKS = """
    WeightsError resnet18 resnet18_groupnorm resnet18_cifar densenet121 densenet121_groupnorm unet
    load_weights
"""
STANDING = {
    "medleak.filters.adapters": ADAPTERS,  # in sites' privacy.json
    "medleak.filters.clipping": "clipping_factor global_l1_norm global_l2_norm",
    "medleak.custom.record": RECORD,  # in code that writes records of other frameworks
    "medleak.custom.networks": NETWORKS,  # in the manifest of every record
    "medleak.custom.small_networks": "lenet cnn4 strided_cnn",
    "medleak.custom.client": "main",  # in the client.py of every exported job
    "medleak.inversion.gate": "measure",
    "medleak.inversion.cli": "main",
}
FACES = {
    "medleak.custom.recorder.UpdateRecorder": "medleak.custom.flare.recorder",
    "medleak.custom.test_metrics.TestMetrics": "medleak.custom.flare.tested_model",
    "medleak.custom.best_model.BestModelLocator": "medleak.custom.flare.best_model",
    "medleak.custom.encryption.RestoreShapes": "medleak.custom.flare.encryption",
    "medleak.custom.encryption.SimulationContexts": "medleak.custom.flare.encryption",
    "medleak.custom.fedopt.FedOpt": "medleak.custom.flare.fedopt",
    "medleak.custom.installed.InstalledClient": "medleak.custom.flare.installed_client",
    "medleak.custom.initial.initial_network": "medleak.custom.training.initial",
    "medleak.custom.client.main": "medleak.custom.training.client",
    "medleak.filters.clipping.global_l2_norm": "medleak.filters.clipping",
}
"""Where jobs name a class that were exported before it moved, and the module it moved to."""

RENAMED = {"medleak.custom.test_metrics.TestMetrics": "GlobalModelScores"}
"""What such a class is called now, where that differs."""


def found(path: str) -> Any:
    """What the dotted ``path`` names, as NVFlare finds a class."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def named(value: Any) -> Iterator[str]:
    """Every dotted path that a configuration gives to something that imports it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            # A component has arguments; a path without them is one of a file.
            component = key == "path" and "args" in value
            if isinstance(inner, str) and (component or key in ("model_path", "measure")):
                yield inner.replace(":", ".")
            yield from named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named(inner)
    elif isinstance(value, str) and "--model_path " in value:
        yield value.partition("--model_path ")[2].split()[0]


def paths_in(pattern: str) -> list[str]:
    files = sorted(ROOT.glob(pattern))
    assert files, pattern
    return sorted({path for file in files for path in named(json.loads(file.read_text()))})


@pytest.mark.parametrize("module", STANDING)
def test_a_module_keeps_every_name_that_users_import_from_it(module):
    imported = importlib.import_module(module)
    assert [name for name in STANDING[module].split() if not hasattr(imported, name)] == []


@pytest.mark.parametrize("face", FACES)
def test_a_class_is_found_where_older_jobs_look_for_it(face):
    name = RENAMED.get(face, face.rpartition(".")[2])
    assert found(face) is found(f"{FACES[face]}.{name}")


def test_the_script_of_a_job_is_the_installed_client():
    script = (ROOT / "jobs" / "client.py").read_text()
    assert "from medleak.custom.client import main" in script
    assert Path(importlib.import_module("medleak.custom.client").__file__ or "").is_file()


@pytest.mark.parametrize("path", paths_in("jobs/*/app_*/config/*.json"))
def test_every_class_that_a_committed_job_names_can_be_imported(path):
    assert callable(found(path))


@pytest.mark.parametrize("path", paths_in("docs/deploy/privacy*.json"))
def test_every_filter_of_the_policies_in_the_docs_can_be_imported(path):
    assert callable(found(path))


def test_the_paths_of_jobs_are_found_by_this_test():
    paths = paths_in("jobs/*/app_*/config/*.json")
    assert "medleak.custom.networks.unet" in paths
    assert "medleak.custom.flare.recorder.UpdateRecorder" in paths
    assert any(path.startswith("nvflare.") for path in paths)

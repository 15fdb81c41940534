"""Build hook: what the wheel has and an editable install must not have; see init.py."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackageNotNamespace(BuildHookInterface):
    """Makes ``medleak`` a regular package in the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the package's ``__init__.py`` unless the build is an editable one."""
        if version == "standard":
            source = Path(self.root, "filters", "wheel", "init.py")
            build_data["force_include"][str(source)] = "medleak/__init__.py"

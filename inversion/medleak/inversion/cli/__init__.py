"""The ``medleak`` command: one module a group of commands, heavy imports inside them."""

from medleak.inversion.cli.app import app
from medleak.inversion.cli.shared.quiet import quiet_libraries

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the installed command."""
    quiet_libraries()
    app()

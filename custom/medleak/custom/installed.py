"""Where exported jobs find the client that ships no code; the path is in users' files."""

from medleak.custom.flare.installed_client import InstalledClient

__all__ = ["InstalledClient"]

"""The small federation of the tests of inversion, for pages whose programs read a run."""

from tests.inversion.conftest import make_run

__all__ = ["make_run"]

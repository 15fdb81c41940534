"""What tests of the report share: a browser to open it in."""

from tests.inversion.report.browsers import browser, open_page

__all__ = ["browser", "open_page"]

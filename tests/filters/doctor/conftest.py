"""The kit and the job of these tests."""

from tests.filters.doctor.kits import job, kit, quick

__all__ = ["job", "kit", "quick"]

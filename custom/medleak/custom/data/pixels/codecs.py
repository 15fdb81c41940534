"""The decoders that are not Pillow's, and what to install where one is missing."""

from types import ModuleType

from medleak.custom.data.pixels.samples import UnreadableError


def codecs(what: str) -> ModuleType:
    """imagecodecs, for ``what``.

    Raises:
        UnreadableError: It is not installed.
    """
    try:
        import imagecodecs
    except ImportError:
        raise UnreadableError(
            f"is {what}, and imagecodecs, which decodes it, is not installed",
            "its pixels cannot be read. Run pip install imagecodecs.",
        ) from None
    return imagecodecs

"""Image files of noise, and the one line that refuses them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medleak.custom.data.data_error import DataError


def picture(
    path: Path, size: tuple[int, int] = (9, 7), format: str = "PNG", seed: int = 0, **options: Any
) -> Path:
    """An image of ``size`` (width, height) in ``path``, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    Image.fromarray(pixels).save(path, format=format, **options)
    return path


def refusal(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The message of the DataError that ``call`` raises: one line of what, why, what to do."""
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(r"\. [A-Z].*\.$", message)
    return message

"""Pictures inside a page's own text, which fetches nothing then."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 85  # of WebP


def data_url(content: bytes, kind: str) -> str:
    """The content of a picture's file as an address; ``kind`` is the format, such as ``"png"``."""
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"


def picture_url(image: Image, *, exact: bool = False) -> str:
    """A picture as an address, small (WebP) or exact (PNG)."""
    file = io.BytesIO()
    if exact:
        image.save(file, "PNG")
    else:
        image.save(file, "WEBP", quality=QUALITY, method=4)
    return data_url(file.getvalue(), "png" if exact else "webp")

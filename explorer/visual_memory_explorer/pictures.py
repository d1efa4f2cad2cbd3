"""Pictures that browsers send: read once, and shown as a JPEG of the explorer's own making."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from visual_memory_explorer.sessions import Picture

PIXELS_MAX = 100_000_000
SHOWN_PIXELS = 480  # the longer side
SHOWN_TYPE = "image/jpeg"
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


class BadPicture(Exception):
    """Bytes that are no picture, or too large a one; the message says why."""


def read(data: bytes) -> Picture:
    """Return a picture with what is shown of it. Raises BadPicture."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > PIXELS_MAX:
                raise BadPicture(
                    f"The picture has {opened.width:,} × {opened.height:,} pixels, but at most "
                    f"{PIXELS_MAX // 1_000_000} million are read."
                )
            opened.draft("RGB", (2 * SHOWN_PIXELS, 2 * SHOWN_PIXELS))
            image = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise BadPicture(
            "This file is no picture that can be read, such as a JPEG, PNG, WebP or GIF."
        ) from None
    image.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    white = Image.new("RGBA", image.size, "white")
    made = io.BytesIO()
    Image.alpha_composite(white, image).convert("RGB").save(made, "JPEG", quality=85)
    return Picture(data, made.getvalue())

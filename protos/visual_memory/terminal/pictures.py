"""Pictures on terminals that show them: by kitty's graphics protocol, or iTerm2's inline images."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from visual_memory.terminal.output import printable, say

ROWS, PIXELS = 6, 192
CHUNK = 4096  # of base64 in one command of kitty's
SHOWN_MAX = 8
OF_ITERM = ("iTerm.app", "WezTerm", "mintty")
OF_KITTY = ("ghostty",)


def show(pictures: Iterable[tuple[Path, str]]) -> None:
    """Print the first pictures, each above its text, where the terminal shows pictures."""
    draw = protocol(os.environ) if sys.stdout.isatty() else ""
    if not draw:
        return
    for number, (path, text) in enumerate(pictures):
        if number == SHOWN_MAX:
            return
        drawn = kitty(png(path)) if draw == "kitty" else iterm(png(path))
        print(drawn)  # control characters, which ``say`` would escape
        say(printable(text))


def protocol(environment: Mapping[str, str]) -> str:
    """Return ``kitty`` or ``iterm``, or nothing for a terminal of which neither is known.

    A multiplexer, such as tmux, passes neither on.
    """
    program = environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or environment.get("TERM", "").startswith("screen"):
        return ""
    if environment.get("KITTY_WINDOW_ID") or program in OF_KITTY:
        return "kitty"
    return "iterm" if program in OF_ITERM else ""


def png(path: Path) -> bytes:
    """Return a small PNG of a picture."""
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        opened.draft("RGB", (PIXELS, PIXELS))
        image = ImageOps.exif_transpose(opened).convert("RGBA")
    image.thumbnail((PIXELS, PIXELS))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def kitty(data: bytes) -> str:
    """Return the commands that have kitty show a PNG, ROWS lines high."""
    text = base64.b64encode(data).decode()
    parts = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    commands = list[str]()
    for number, part in enumerate(parts):
        more = int(number < len(parts) - 1)
        head = f"a=T,f=100,r={ROWS},q=2,m={more}" if number == 0 else f"m={more}"
        commands.append(f"\x1b_G{head};{part}\x1b\\")
    return "".join(commands)


def iterm(data: bytes) -> str:
    """Return the command that has iTerm2 show a picture, ROWS lines high."""
    text = base64.b64encode(data).decode()
    return f"\x1b]1337;File=inline=1;size={len(data)};height={ROWS}:{text}\a"

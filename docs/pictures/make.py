"""Takes the pictures of mend.md again: Chromium looks at the page that its commands make."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops
from tests.conftest import Server
from tests.test_docs import draw_pictures, run, runnable

HERE = Path(__file__).resolve().parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, TOP, BOTTOM = 960, 1180, 757
MARGIN = 30
WHOLE = 4000  # higher than the page
CHOSEN = {"fox/night.jpg": "keep", "dog/tom.jpg": "proposed"}


def main() -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        sys.exit(f"None of {', '.join(BROWSERS)} is installed.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = choose(make_page(folder))
        save(look(browser, page, TOP), "suspects")
        whole = look(browser, page, WHOLE)
        end = ImageChops.difference(whole, Image.new("RGB", whole.size, whole.getpixel((0, 0))))
        _, _, _, bottom = end.getbbox() or (0, 0, *whole.size)
        save(whole.crop((0, bottom - BOTTOM, WIDTH, bottom + MARGIN)), "pairs")


def make_page(folder: Path) -> Path:
    """What the how-to's commands write, up to the page."""
    draw_pictures(folder)
    server = Server(folder / "data")
    page = folder / "suspects.html"
    try:
        for command, _ in runnable("docs/mend.md"):
            if not page.exists():
                run(command, folder, server.address).check_returncode()
    finally:
        server.end()
    return page


def choose(page: Path) -> Path:
    """As a browser leaves it that comes back to a page on which a person has chosen."""
    html = page.read_text(encoding="utf-8")
    for id, choice in CHOSEN.items():
        before, form, after = html.partition(f'<form data-id="&quot;{id}&quot;"')
        html = before + form + after.replace(f"value={choice}>", f"value={choice} checked>", 1)
    page.write_text(html, encoding="utf-8")
    return page


def look(browser: str, page: Path, height: int) -> Image.Image:
    """What a window shows; without a sandbox, for containers have none and the page is ours."""
    shot = page.with_suffix(".png")
    command = [browser, "--headless", "--no-sandbox", "--hide-scrollbars"]
    command += [f"--user-data-dir={page.parent / 'profile'}", f"--window-size={WIDTH},{height}"]
    command += [f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with Image.open(shot) as image:
        return image.convert("RGB")


def save(image: Image.Image, name: str) -> None:
    """With as few colours as a page has."""
    image.quantize(128, dither=Image.Dither.NONE).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()

"""Take the pictures of README.md and curation.md again, from the pages that commands write."""

from __future__ import annotations

import re
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
DECISIONS = ("sunflower", "butterfly")  # one class is learnt, one has a vote against it
ARTICLE = re.compile(r"<article.*?</article>", re.DOTALL)
PLAIN = "<style>h1, h2, p.lead, p.note, .tiles, dl, .show, footer { display: none } \
main > p.legend ~ p.legend { display: none }</style></main>"


def main() -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        sys.exit(f"None of {', '.join(BROWSERS)} is installed.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = choose(make_page(folder))
        save(look(browser, page, TOP), "suspects")
        whole = look(browser, page, WHOLE)
        _, _, _, bottom = printed(whole)
        save(whole.crop((0, bottom - BOTTOM, WIDTH, bottom + MARGIN)), "pairs")
        decisions = look(browser, make_decisions(folder), WHOLE)
        left, top, right, bottom = printed(decisions)
        picture = decisions.crop((left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN))
        picture.save(HERE / "decision.jpg", quality=90, optimize=True)


def printed(image: Image.Image) -> tuple[int, int, int, int]:
    """Return the box of everything that differs from the background."""
    plain = Image.new("RGB", image.size, image.getpixel((0, 0)))
    return ImageChops.difference(image, plain).getbbox() or (0, 0, *image.size)


def make_decisions(folder: Path) -> Path:
    """Write the page of the demo with the first decision of each class of DECISIONS alone."""
    command = [sys.executable, "-m", "visual_memory_service", "demo", f"--output={folder}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    page = folder / "demo.html"
    html = page.read_text(encoding="utf-8")
    cards = ARTICLE.findall(html)
    captions = [f"<figcaption>{label}</figcaption>" for label in DECISIONS]
    shown = [next(card for card in cards if caption in card) for caption in captions]
    html = ARTICLE.sub(lambda card: card[0] if card[0] in shown else "", html)
    page.write_text(html.replace("</main>", PLAIN), encoding="utf-8")
    return page


def make_page(folder: Path) -> Path:
    """Run the commands of the guide up to the one that writes the page."""
    draw_pictures(folder)
    server = Server(folder / "data")
    page = folder / "suspects.html"
    try:
        for command, _ in runnable("docs/curation.md"):
            if not page.exists():
                run(command, folder, server.address).check_returncode()
    finally:
        server.end()
    return page


def choose(page: Path) -> Path:
    """Check the choices on the page as a browser does after a person has chosen."""
    html = page.read_text(encoding="utf-8")
    for id, choice in CHOSEN.items():
        before, form, after = html.partition(f'<form data-id="&quot;{id}&quot;"')
        html = before + form + after.replace(f"value={choice}>", f"value={choice} checked>", 1)
    page.write_text(html, encoding="utf-8")
    return page


def look(browser: str, page: Path, height: int) -> Image.Image:
    """Take a screenshot of a window; without a sandbox, which containers lack."""
    shot = page.with_suffix(".png")
    command = [browser, "--headless", "--no-sandbox", "--hide-scrollbars"]
    command += [f"--user-data-dir={page.parent / 'profile'}", f"--window-size={WIDTH},{height}"]
    command += [f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with Image.open(shot) as image:
        return image.convert("RGB")


def save(image: Image.Image, name: str) -> None:
    """Save as PNG with few colours."""
    image.quantize(128, dither=Image.Dither.NONE).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()

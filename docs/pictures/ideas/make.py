"""Draw the pictures of the pages on ideas: ``python docs/pictures/ideas/make.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

STYLE = """<style>
text { font: 15px system-ui, sans-serif; fill: #1d1f23; }
.faint { fill: #5c6068; font-size: 13px; }
.box { fill: #ffffff; stroke: #8b8f97; }
.line { stroke: #5c6068; fill: none; stroke-width: 1.5; }
.head { fill: #5c6068; }
.one { fill: #2f59b6; } .two { fill: #b07d10; }
.gone { fill: none; stroke: #a8322a; stroke-width: 2; }
.vote { stroke: #2f59b6; } .vote.two { stroke: #b07d10; }
@media (prefers-color-scheme: dark) {
  text { fill: #e9e8e4; } .faint { fill: #a4a9b2; } .box { fill: #1e2125; stroke: #787d86; }
  .line { stroke: #a4a9b2; } .head { fill: #a4a9b2; }
  .one { fill: #82a6f5; } .two { fill: #d3b06a; } .gone { stroke: #ee8178; }
  .vote { stroke: #82a6f5; } .vote.two { stroke: #d3b06a; }
}
</style>"""


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """Write words at a place."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{kind}">{words}</text>'


def box(x: float, y: float, width: float, height: float, *lines: str) -> str:
    """Draw a box with lines of words, the first in black."""
    rect = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="9" class="box"/>'
    top = y + height / 2 - 9 * (len(lines) - 1) + 5
    words = (
        text(x + width / 2, top + 18 * n, line, "faint" if n else "")
        for n, line in enumerate(lines)
    )
    return rect + "".join(words)


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """Draw an arrow to the right or down."""
    head = (
        f"{to_x},{to_y} {to_x - 9},{to_y - 5} {to_x - 9},{to_y + 5}"
        if y == to_y
        else f"{to_x},{to_y} {to_x - 5},{to_y - 9} {to_x + 5},{to_y - 9}"
    )
    line = f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" class="line"/>'
    return f'{line}<polygon points="{head}" class="head"/>'


def dot(x: float, y: float, kind: str, radius: float = 7) -> str:
    """Draw an entry."""
    return f'<circle cx="{x}" cy="{y}" r="{radius}" class="{kind}"/>'


def memory() -> Iterator[str]:
    """A picture becomes a vector, and the vector with its label an entry."""
    yield box(10, 60, 120, 60, "picture")
    yield arrow(130, 90, 170, 90)
    yield box(170, 60, 150, 60, "embedder", "a frozen network")
    yield arrow(320, 90, 360, 90)
    yield box(360, 60, 130, 60, "vector", "1,280 numbers")
    yield arrow(490, 90, 530, 90)
    yield '<rect x="530" y="10" width="180" height="160" rx="9" class="box"/>'
    yield text(620, 36, "memory")
    for n, (label, kind) in enumerate((("cat", "one"), ("cat", "one"), ("dog", "two"))):
        yield dot(560, 62 + 30 * n, kind) + text(580, 67 + 30 * n, label, anchor="start")
    yield text(620, 157, "a new class: insert it", "faint")


def vote() -> Iterator[str]:
    """The nearest entries vote with weights that fall with their rank."""
    yield text(150, 24, "the nearest entries vote", "faint")
    near = ((210, 110, "one"), (110, 75, "one"), (85, 165, "two"), (215, 205, "one"))
    for rank, (x, y, kind) in enumerate(near):
        line = f'<line x1="150" y1="140" x2="{x}" y2="{y}" class="vote {kind}"'
        yield f'{line} stroke-width="{9 - 2 * rank}" stroke-opacity=".6"/>{dot(x, y, kind)}'
    for x, y, kind in ((40, 225, "two"), (270, 60, "one"), (285, 235, "two"), (25, 60, "two")):
        yield dot(x, y, kind, 5)
    yield '<rect x="142" y="132" width="16" height="16" class="head"/>'
    yield text(150, 172, "query", "faint")
    yield arrow(310, 140, 360, 140)
    weights = [1 / (rank + 2) for rank in range(len(near))]
    of_dog = weights[2] / sum(weights)
    for n, (label, share, kind) in enumerate((("cat", 1 - of_dog, "one"), ("dog", of_dog, "two"))):
        y = 110 + 44 * n
        yield text(410, y + 5, label, anchor="end")
        yield f'<rect x="420" y="{y - 9}" width="{220 * share}" height="18" rx="4" class="{kind}"/>'
        yield text(428 + 220 * share, y + 5, f"{100 * share:.0f} %", "faint", "start")


def exactness() -> Iterator[str]:
    """Codes propose candidates, exact products decide, and the file is what counts."""
    yield box(10, 20, 190, 70, "codes in RAM", "a byte a number")
    yield arrow(200, 55, 250, 55)
    yield box(250, 20, 210, 70, "candidates", "all that could be among the k")
    yield arrow(460, 55, 510, 55)
    yield box(510, 20, 200, 70, "exact distances", "decide the order")
    yield box(10, 120, 190, 60, "one SQLite file", "on disk before the answer")
    yield '<line x1="105" y1="120" x2="105" y2="92" class="line"/>'
    yield '<polygon points="105,92 100,101 110,101" class="head"/>'
    yield text(455, 156, "the same entries give the same answer, to the last bit", "faint")


def erasure() -> Iterator[str]:
    """An unlearning erases, searches for traces, and signs."""
    steps = (
        ("entry", "with its vector"),
        ("erased", "row, log, free pages"),
        ("searched", "files and RAM"),
        ("certificate", "signed, in the log"),
    )
    for n, (name, says) in enumerate(steps):
        yield box(10 + 180 * n, 40, 150, 66, name, says)
        if n:
            yield arrow(180 * n - 20, 73, 10 + 180 * n, 73)
    yield '<line x1="18" y1="98" x2="152" y2="48" class="gone"/>'
    yield text(
        360, 142, "the certificate is signed after the search, and says what it searched", "faint"
    )


DRAWINGS = {
    memory: (720, 180),
    vote: (720, 260),
    exactness: (720, 200),
    erasure: (720, 160),
}

if __name__ == "__main__":
    for draw, (width, height) in DRAWINGS.items():
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        drawn = "\n".join((head, f"<title>{draw.__doc__}</title>", STYLE, *draw(), "</svg>\n"))
        Path(__file__).with_name(f"{draw.__name__}.svg").write_text(drawn, encoding="utf-8")

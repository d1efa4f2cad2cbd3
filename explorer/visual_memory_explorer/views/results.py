"""Results of benchmarks: a Markdown page of a folder that the command names, with pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape
from starlette.responses import FileResponse, Response

from visual_memory import NotFound
from visual_memory_explorer.pages import url
from visual_memory_explorer.visit import Visit

PAGE = "results.md"
TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
DARK = re.compile(r'<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)"')
IMAGE = re.compile(r'<img alt="([^"]*)" src="([^"]+)"')
SUMMARY = re.compile(r"<summary>([^<]*)</summary>")
NOT_WORD = re.compile(r"[^\w\- ]")


async def page(visit: Visit) -> Response:
    """Show the page of the results."""
    text = found(visit, PAGE).read_text("utf-8")
    return visit.page("results.html", content=Markup(MARKDOWN.render(text)))


async def picture(visit: Visit) -> Response:
    """Send a picture of the results."""
    file = found(visit, visit.request.path_params["path"])
    if file.suffix not in TYPES:
        raise NotFound("The results have no such picture.")
    return FileResponse(file, media_type=TYPES[file.suffix])


def found(visit: Visit, path: str) -> Path:
    """Return a file in the folder of results. Raises NotFound."""
    folder = visit.site.results
    if folder is not None:
        file = (folder / path).resolve()
        if file.is_relative_to(folder.resolve()) and file.is_file():
            return file
    raise NotFound(f"There is no file {path} of results: --results names their folder.")


def html(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Make the few HTML blocks of a report anew: pictures for light and dark, and details."""
    block = tokens[index].content
    made = ""
    if "<details>" in block and (summary := SUMMARY.search(block)):
        made += f"<details><summary>{escape(unescape(summary[1]))}</summary>"
    if image := IMAGE.search(block):
        made += figure(image, DARK.search(block))
    return made + "</details>" * ("</details>" in block)


def figure(image: re.Match[str], dark: re.Match[str] | None) -> str:
    """Return a figure of a picture, and of its dark form where there is one."""
    source = Markup('<source media="(prefers-color-scheme: dark)" srcset="{}">')
    return Markup(
        '<figure><picture>{}<img class="plot" alt="{}" src="{}"></picture></figure>'
    ).format(
        source.format(address(unescape(dark[1]))) if dark else "",
        unescape(image[1]),
        address(unescape(image[2])),
    )


def address(path: str) -> str:
    """Return the address that a picture of the results has here."""
    return url("results", *path.split("/"))


def heading(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Open a heading with the anchor that links of the page have for it."""
    token = tokens[index]
    name = NOT_WORD.sub("", tokens[index + 1].content.lower()).replace(" ", "-")
    return f'<{token.tag} id="{escape(name)}">'


def link(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Open a link within the page; files beside it and other sites are named, but not linked."""
    to = str(tokens[index].attrGet("href"))
    return f'<a {"href" if to.startswith("#") else "title"}="{escape(to)}">'


def table(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Open or close a table, in a region of its own that is scrolled by keys, too."""
    if tokens[index].type == "table_close":
        return "</table></div>"
    return '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>'


def text(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Show HTML within a line as the text that it is."""
    return escape(tokens[index].content)


RULES = {
    "heading_open": heading,
    "html_block": html,
    "html_inline": text,
    "link_open": link,
    "table_close": table,
    "table_open": table,
}


def reader() -> MarkdownIt:
    """Return what turns Markdown into HTML of which each tag is made here."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    for name, rule in RULES.items():
        markdown.add_render_rule(name, rule)
    return markdown


MARKDOWN = reader()

"""Pages: the templates, and how they show texts, numbers and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from visual_memory.terminal.output import plural, printable, size

BAR_WIDTH = 100


def text(value: object) -> Markup:
    """Show a text that somebody chose: control characters escaped, its direction its own."""
    return Markup("<bdi>{}</bdi>").format(printable(value))


def share(value: float) -> str:
    """Show a share as per cent."""
    return f"{100 * value:.1f} %"


def moment(value: datetime | None) -> str:
    """Show a time to the minute, in UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if value is not None else ""


def bar(part: float, kind: str = "weight") -> Markup:
    """Draw a bar that is full at 1; the number beside it says the same to a screen reader."""
    width = BAR_WIDTH * min(max(part, 0.0), 1.0)
    return Markup(
        '<svg class="bar {}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rest" width="100" height="6"/><rect width="{:.1f}" height="6"/></svg>'
    ).format(kind, width)


def url(*parts: str, **query: object) -> str:
    """Return an address of these parts of a path; of the query, what is empty is left out."""
    path = "/" + "/".join(quote(each, safe="") for each in parts)
    said = [(name, each) for name, value in query.items() for each in listed(value)]
    return f"{path}?{urlencode(said)}" if said else path


def listed(value: object) -> list[str]:
    """Return the values that a parameter has, none for an empty one."""
    if isinstance(value, list | tuple):
        return [str(each) for each in value]
    return [] if value in (None, "") else [str(value)]


TEMPLATES = Environment(
    loader=PackageLoader("visual_memory_explorer"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
FILTERS: Mapping[str, Any] = {"text": text, "share": share, "time": moment, "size": size}
TEMPLATES.filters.update(FILTERS)
TEMPLATES.globals.update(bar=bar, plural=plural, url=url)


def render(template: str, **values: Any) -> str:
    """Render a template."""
    return TEMPLATES.get_template(template).render(values)


def source(template: str) -> str:
    """Return the text of a template, such as to name its scripts in a content security policy."""
    assert TEMPLATES.loader is not None
    return TEMPLATES.loader.get_source(TEMPLATES, template)[0]

"""Print docs/api/configuration.md: every setting of a server, from the code that reads them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from visual_memory_service import config
from visual_memory_service.commands import serve

HEAD = f"""# Configuration

Written by `make reference` from the code; [the server](server.md#configuration) says more of
some. A flag goes before a variable of the environment, a variable before the file that
`--config` or `{config.CONFIG}` names, and that before the default. In the environment lists are
separated by commas or spaces, and an empty variable sets nothing; a setting that is not known is
refused, in a file as in the environment.

| setting in TOML | flag | variable | value | default | |
| --- | --- | --- | --- | --- | --- |
"""


def flags() -> dict[str, argparse.Action]:
    """Return the flags of ``serve`` by the settings that they set."""
    parser = argparse.ArgumentParser()
    serve.add_to(parser.add_subparsers())
    (commands,) = (each for each in parser._actions if isinstance(each.choices, dict))
    return {each.dest: each for each in commands.choices["serve"]._actions if each.option_strings}


def value(name: str) -> str:
    """Return what a setting may be, in words."""
    kind = config.KINDS[name].said.partition(",")[0]
    kind = kind.removeprefix("a ").removesuffix(" in quotes")
    if name not in config.RANGES:
        return kind
    least, most = config.RANGES[name]
    return f"{kind}, {least} or more" if most > 1 << 50 else f"{kind}, {least} to {most}"


def default(field: Any) -> str:
    if field.default is MISSING:
        return "needed"
    if field.name == "threads":
        return "one for each core"
    return str(field.default)


def rows() -> Iterator[str]:
    """Yield a row of each setting."""
    of_setting = flags()
    for field in fields(config.Settings):
        flag = of_setting[field.name]
        said = str(flag.help).partition("; default")[0]
        said = "" if said.startswith("default: ") else said
        if flag.choices:
            kind = ", ".join(f"`{each}`" for each in flag.choices)
        else:
            kind = value(field.name)
        variable = f"{config.ENVIRONMENT}{field.name.upper()}"
        ways = f"`{field.name}` | `{flag.option_strings[0]}` | `{variable}`"
        yield f"| {ways} | {kind} | {default(field)} | {said} |"


if __name__ == "__main__":
    print(HEAD + "\n".join(rows()))

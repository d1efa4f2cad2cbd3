"""Print llms.txt: each page of the site with its first sentence, for programs that read it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = re.compile(r"^ +- (?:(?P<title>[^:\n]+): )?(?P<path>[\w/.-]+\.md)$")
SECTION = re.compile(r"^  - (?P<name>[^:\n]+):$")


def main() -> None:
    """Print the list in the order of the site."""
    print("# Visual memory\n")
    print(f"> {first_sentence(ROOT / 'docs/index.md')}\n")
    for line in (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("nav:\n")[1].splitlines():
        if section := SECTION.match(line):
            print(f"\n## {section['name']}\n")
        elif page := PAGE.match(line):
            path = ROOT / "docs" / page["path"]
            print(f"- [{heading(path)}]({page['path']}): {first_sentence(path)}")


def heading(path: Path) -> str:
    """Return the first heading of a page."""
    return path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")


def first_sentence(path: Path) -> str:
    """Return the first sentence of a page that stands in a paragraph."""
    for part in path.read_text(encoding="utf-8").split("\n\n"):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", part.replace("\n", " ")).strip()
        if re.match(r"[A-Z`*]", text) and not text.startswith("```"):
            found = re.match(r".*?\.(?= |$)", text)
            return (found[0] if found else text).replace("**", "")
    return ""


if __name__ == "__main__":
    main()

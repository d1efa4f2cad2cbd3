"""Print the oldest versions that pyproject.toml allows, as constraints for pip.

With ``--client`` those of the base install; else of all extras together, some of which need newer
ones.
"""

from __future__ import annotations

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
TOOLS = ("hypothesis", "pytest", "pytest-randomly", "pytest-xdist")


def floor(requirement: str) -> tuple[str, str]:
    """``name[extra]>=1,<3`` as ``name`` and ``name==1``; what is pinned stays so."""
    plain = re.sub(r"\[.*\]", "", requirement)
    pinned = plain.partition(",")[0].replace(">=", "==")
    return pinned.partition("==")[0], pinned


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    base = dict(map(floor, project["dependencies"]))
    extras = dict(map(floor, chain(*project["optional-dependencies"].values())))
    if "--client" in sys.argv:
        extras = {name: pinned for name, pinned in extras.items() if name in TOOLS}
    print("\n".join(sorted({**base, **extras}.values())))

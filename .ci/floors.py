"""Print the oldest versions that pyproject.toml allows, as constraints for pip."""

from __future__ import annotations

import tomllib
from itertools import chain
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def floor(requirement: str) -> str:
    """``name>=1,<3`` as ``name==1``; what is pinned stays so."""
    return requirement.partition(",")[0].replace(">=", "==")


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = chain(project["dependencies"], *extras)
    print("\n".join(sorted({floor(requirement) for requirement in wanted})))

"""What deploy/ and the workflows name is there: settings, commands, extras, files and targets."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from visual_memory_service.config import CONFIG, ENVIRONMENT, KINDS

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = sorted(path for path in (ROOT / "deploy").iterdir() if path.is_file())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("path", DEPLOY, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    for name in re.findall(rf"\b{ENVIRONMENT}([A-Z_]+)\b", path.read_text()):
        assert f"{ENVIRONMENT}{name}" == CONFIG or name.lower() in KINDS, name


def test_the_container_has_all_that_it_copies_and_known_extras() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, source
    (wanted,) = re.findall(r"\[\$\{EXTRA\},([a-z,]+)\]", text)
    assert set(wanted.split(",")) < EXTRAS.keys()
    assert {"cpu", "gpu"} < EXTRAS.keys()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_target_of_a_workflow_is_there(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in re.findall(r"\bmake ([a-z -]+)$", path.read_text(), re.MULTILINE):
        for target in line.split():
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_nothing_that_the_unit_may_not_do_is_needed_elsewhere() -> None:
    unit = (ROOT / "deploy" / "visual-memory.service").read_text()

    assert "MemoryDenyWriteExecute=yes" not in unit  # Numba compiles
    assert re.search(r"^Environment=NUMBA_CACHE_DIR=%C/visual-memory$", unit, re.MULTILINE)
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0]) > 30

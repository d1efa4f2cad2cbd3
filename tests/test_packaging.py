"""The wheel holds what is needed and nothing else, and the client in it stays light."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

import visual_memory

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "visual_memory",
    "visual_memory_explorer",
    "visual_memory_benchmarks",
    "visual_memory_embedders",
    "visual_memory_index",
    "visual_memory_service",
)
SERVER_ONLY = ("PIL", "numba", "onnx", "onnxruntime", "sqlite3", "structlog", "torch")
NOT_AT_ONCE = (*SERVER_ONLY, "visual_memory.terminal")


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def build(root: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    built = subprocess.run(
        [*command, "--outdir", str(folder), str(root)],
        capture_output=True,
        check=False,
        cwd=folder,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_every_source_file(names: list[str]) -> None:
    packages = [path for name in PACKAGES for path in ROOT.glob(f"*/{name}")]
    sources = {
        str(path.relative_to(package.parent))
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert sources == {name for name in names if ".dist-info/" not in name}


def test_the_wheel_holds_the_six_packages_and_no_tests(names: list[str]) -> None:
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}

    assert tops == set(PACKAGES)
    assert [name for name in names if "test" in name] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str, names: list[str]) -> None:
    assert f"{package}/py.typed" in names


@pytest.mark.parametrize("kind", ["_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi"])
def test_the_stubs_are_in_the_wheel(kind: str, names: list[str]) -> None:
    assert f"visual_memory/v1/service{kind}" in names


def test_the_demo_finds_its_page(names: list[str]) -> None:
    assert "visual_memory_explorer/templates/demo.html" in names


def test_the_licence_and_the_command_are_in_the_wheel(wheel: Path, names: list[str]) -> None:
    (points,) = (name for name in names if name.endswith("entry_points.txt"))

    assert any(name.endswith("licenses/LICENSE") for name in names)
    with ZipFile(wheel) as archive:
        assert b"visual-memory = visual_memory_service.__main__:main" in archive.read(points)


def test_the_base_install_is_the_client_alone() -> None:
    names = " ".join(PROJECT["dependencies"])

    assert [name for name in ("numba", "onnx", "torch", "structlog") if name in names] == []


@pytest.mark.parametrize(
    "wanted",
    [
        set(PROJECT["dependencies"]),
        {each for extra in PROJECT["optional-dependencies"].values() for each in extra},
    ],
    ids=["base", "extras"],
)
def test_every_dependency_has_one_floor(wanted: set[str]) -> None:
    """The floor is installed by ``make floors``; an extra may need a newer one than the client."""
    floors = [re.match(r"[\w-]+(?=(\[[\w,]+\])?[=>]=\d)", each) for each in wanted]

    assert [each for each in wanted if not re.match(r"[\w-]+(\[[\w,]+\])?[=>]=\d", each)] == []
    assert len({floor[0] for floor in floors if floor}) == len(wanted)


def test_another_folder_at_another_time_gives_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "wheel"
    folder.mkdir()
    roots = {path.parent.name for name in PACKAGES for path in ROOT.glob(f"*/{name}")}
    for name in roots:
        shutil.copytree(ROOT / name, root / name, copy_function=shutil.copyfile)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copyfile(ROOT / name, root / name)

    again = build(root, folder)

    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())


def test_the_changelog_the_client_and_the_wheel_name_the_release_of_pyproject(wheel: Path) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+), (?:not released yet|\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)

    assert newest
    assert newest[1] == visual_memory.__version__ == PROJECT["version"]
    assert wheel.name.startswith(f"visual_memory-{PROJECT['version']}-")


def test_importing_the_client_from_the_wheel_loads_nothing_of_server_and_commands(
    wheel: Path, tmp_path: Path
) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = (
        "import sys, visual_memory; print(visual_memory.__file__); "
        f"print([name for name in {NOT_AT_ONCE!r} if name in sys.modules])"
    )

    printed = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        text=True,
    )

    assert printed.stdout.splitlines() == [str(tmp_path / "visual_memory/__init__.py"), "[]"]

"""Every module has tests under its own name."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "embedders/visual_memory_embedders": "tests/embedders",
    "index/visual_memory_index": "tests/index",
    "protos/visual_memory": "tests/client",
    "service/visual_memory_service": "tests/service",
}
LEFT_OUT = ("__init__", "__main__", "_pb2", "_pb2_grpc")
SHARE = 0.8


def mirrored(path: Path, tests: Path) -> bool:
    """Return True if a test file is named after the module, or after its folder.

    Names of test files omit a leading underscore.
    """
    *packages, name = (part.lstrip("_") for part in path.with_suffix("").parts)
    folder = tests.joinpath(*packages)
    own = (folder / f"test_{name}.py").is_file() or any(folder.glob(f"test_{name}_*.py"))
    return own or (folder / f"test_{folder.name}.py").is_file()


def test_four_modules_of_five_have_a_test_file_of_their_name() -> None:
    modules = [
        (package, tests, module.relative_to(ROOT / package))
        for package, tests in TESTS.items()
        for module in (ROOT / package).rglob("*.py")
        if not module.stem.endswith(LEFT_OUT)
    ]

    without = sorted(
        f"{package}/{module}"
        for package, tests, module in modules
        if not mirrored(module, ROOT / tests)
    )

    assert len(without) <= (1 - SHARE) * len(modules), "\n".join(without)

"""Mutation testing: how many small changes of the code that matters most do tests notice?

It works in a folder of its own, since mutmut wants packages at the top, and prints the score of
each module and the changes that no test noticed. mutmut leaves out decorated functions and what
stands outside of functions. It asks the tests that ran a function, of those that share a fixture
the first alone; so whatever was not noticed is then asked of all tests of its module.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ROOTS = ("index", "protos", "embedders", "service", "benchmarks")
SETTINGS = """
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "--strict-markers"]
filterwarnings = ["error"]
[tool.mutmut]
source_paths = [{packages}]
only_mutate = [{modules}]
timeout_multiplier = 4.0
pytest_add_cli_args = ["-p", "no:randomly"]
pytest_add_cli_args_test_selection = [{tests}]
"""
NOTICED = ("killed", "timeout")
CODES = {0: "survived", 1: "killed", 2: "killed"}  # of pytest; 2: tests cannot even be loaded
SECONDS = 300  # that the tests of a module may take, and more than any do


class Group(NamedTuple):
    """Modules of one package, the folder of their tests, and other tests that are to notice."""

    package: str
    folder: str
    modules: Sequence[str]
    others: Sequence[str] = ()

    def tests(self) -> list[str]:
        """The test files of the modules, and the others."""
        paths = [Path("tests", self.folder, module) for module in self.modules]
        return [*(str(path.with_name(f"test_{path.name}.py")) for path in paths), *self.others]


INDEX = [
    "curation/explanation",
    "curation/prune_methods",
    "curation/pruning",
    "curation/valuation",
    "erasure/residue",
    "erasure/search",
    "ledger/digest",
    "records/filter",
    "scan/ranking",
    "sqlite/filter_sql",
    "sqlite/unlearn",
    "memory/unlearn",
    "votes/exponential",
    "votes/voting",
]
METRICS = [
    "metrics/accuracy",
    "metrics/bias_summary",
    "metrics/bootstrap",
    "metrics/confusion",
    "metrics/consistency",
    "metrics/dataset_summary",
    "metrics/developmental",
    "metrics/difficulty",
    "metrics/leaderboard",
    "metrics/shape_bias",
    "metrics/summary",
    "metrics/triplets",
    "trials/panel",
]
GROUPS = {
    "index": Group("visual_memory_index", "index", INDEX, ["tests/golden"]),
    "certificate": Group("visual_memory", "client", ["proofs/certificate"]),
    "metrics": Group(
        "visual_memory_benchmarks",
        "benchmarks",
        METRICS,
        ["tests/benchmarks/test_golden_human_alignment.py"],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder; what is in it goes")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    options = parser.parse_args()
    for name in options.groups or GROUPS:
        folder = options.work / name
        prepare(folder, GROUPS[name])
        found = run(folder)
        print_scores(found | asked_again(folder, found))


def prepare(folder: Path, group: Group) -> None:
    """Copy packages and tests."""
    shutil.rmtree(folder, ignore_errors=True)
    packages = [path.parent for root in ROOTS for path in (ROOT / root).glob("*/py.typed")]
    for package in packages:
        shutil.copytree(package, folder / package.name)
    shutil.copytree(ROOT / "tests", folder / "tests")
    (folder / "shared").symlink_to(ROOT.parent / "shared")
    modules = [f"{group.package}/{each}.py" for each in group.modules]
    for each in (*modules, *group.tests()):
        if not (folder / each).exists():
            sys.exit(f"no such file: {each}")
    settings = SETTINGS.format(
        packages=quoted(each.name for each in packages),
        modules=quoted(modules),
        tests=quoted(group.tests()),
    )
    (folder / "pyproject.toml").write_text(settings, encoding="utf-8")


def quoted(texts: Iterable[str]) -> str:
    """As the items of a TOML list."""
    return ", ".join(f'"{each}"' for each in texts)


def run(folder: Path) -> dict[str, str]:
    """Return the outcome of each change, by its name. Ends the program where mutmut did not run."""
    mutmut = [sys.executable, "-m", "mutmut"]
    log = folder / "mutmut.log"
    with log.open("w") as output:
        command = [*mutmut, "run", "--max-children", str(os.cpu_count())]
        if subprocess.run(command, cwd=folder, stdout=output, stderr=output).returncode:
            sys.exit(f"mutmut failed: see {log}")
    command = [*mutmut, "results", "--all", "true"]
    told = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    pairs = (line.strip().rpartition(": ") for line in told.splitlines() if ": " in line)
    return {name: became for name, _, became in pairs}


def asked_again(folder: Path, found: Mapping[str, str]) -> dict[str, str]:
    """Return the outcome of changes that survived or timed out, before all tests of their module.

    A change takes long by itself, or because the machine was busy.
    """
    doubtful = [name for name, became in found.items() if became in ("survived", "timeout")]
    return {name: before_all(folder / "mutants", name) for name in doubtful}


def before_all(folder: Path, name: str) -> str:
    """Return the outcome of one change before all tests. Ends the program where pytest fails."""
    module = name.rpartition(".")[0].rpartition(".")[2]
    tests = map(str, sorted((folder / "tests").rglob(f"test_{module}.py")))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-qx", "-p", "no:randomly", *tests],
            cwd=folder,
            env={**os.environ, "MUTANT_UNDER_TEST": name},
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "timeout"
    if done.returncode not in CODES:
        sys.exit(f"pytest failed for {name}:\n{done.stdout}{done.stderr}")
    return CODES[done.returncode]


def print_scores(found: dict[str, str]) -> None:
    """A line a module, then what nobody noticed."""
    modules: dict[str, Counter[str]] = defaultdict(Counter)
    for name, became in found.items():
        modules[name.rpartition(".")[0]][became] += 1
    for module, counts in sorted(modules.items()):
        noticed = sum(counts[each] for each in NOTICED)
        print(f"{noticed / counts.total():6.1%} of {counts.total():5,} {module} {dict(counts)}")
    for name, became in sorted(found.items()):
        if became not in NOTICED:
            print(f"    {became}: {name}")


if __name__ == "__main__":
    main()

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.benchmarks.conftest import Small
from tests.conftest import as_command

from visual_memory_benchmarks.__main__ import main
from visual_memory_benchmarks.commands.estimate import INTERVALS
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.runs.benchmarks import BENCHMARKS

Run = Callable[..., subprocess.CompletedProcess[str]]


def bench(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "visual_memory_benchmarks", *map(str, arguments)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more},
        text=True,
    )


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return as_command("visual-memory-bench", main, monkeypatch, capsys)


def address(small: Small) -> str:
    return repr(small.client).split()[-1].rstrip(">")


def test_a_run_is_listed_asked_and_compared_with_people(
    small: Small, command: Run, shared: Path, tmp_path: Path
) -> None:
    silhouette = Path("filled_silhouettes/cat/cat1.png")
    (small.data / silhouette).parent.mkdir(parents=True)
    shutil.copyfile(shared / "data" / silhouette, small.data / silhouette)
    (small.data / "edges").symlink_to(shared / "data" / "edges")

    listed = command("list", "--json")
    ran = bench(
        *("run", "edge", "silhouette", "--memory", small.memory.name),
        *("--data", small.data, "--out", tmp_path, "-k", 1),
        VISUAL_MEMORY_SERVER=address(small),
    )
    people = shared / "data" / "human_responses" / "human"
    compared = bench("metrics", tmp_path, people / "edge", "--json", "--resamples", 20)
    table = command("metrics", tmp_path, people / "edge", "--resamples", 20)

    maker = f"{small.memory.name}-rank-k1"
    assert set(json.loads(listed.stdout)) == set(BENCHMARKS)
    assert ran.returncode == 0, ran.stderr
    assert all(" questions of " in line for line in ran.stderr.splitlines()), "progress alone"
    assert ran.stdout.splitlines()[1].split()[:2] == ["edge", "160"]
    model = json.loads(compared.stdout)["models"][maker]
    assert model["datasets_with_people"] == ["edge"]
    assert model["error_consistency"]["value"] is not None
    assert maker in table.stdout
    assert "people" in table.stdout
    assert all(INTERVALS in each.stdout for each in (ran, table))


def test_what_one_benchmark_lacks_keeps_no_other_from_being_asked(
    small: Small, tmp_path: Path
) -> None:
    shutil.rmtree(small.data / "caltech20")
    small.memory.purge('label = "cat"', apply=True)
    arguments = ("--data", small.data, "--out", tmp_path, "--limit", 1, "-k", 1, "--json")

    ran = bench(
        *("run", "distortion:laion-c-mosaic", "distortion:colour", *arguments),
        *("--memory", small.memory.name, "--server", address(small)),
    )
    found = bench(
        *("experiment", "distortions", "triplets", "--other-embedder", "--data", small.data),
        *("--out", tmp_path, "--server", address(small), "--json"),
    )

    assert (ran.returncode, found.returncode) == (1, 1)
    assert list(json.loads(ran.stdout)) == ["distortion:colour"]
    assert list(json.loads(found.stdout)) == ["triplets"]
    assert "distortion:laion-c-mosaic: The set caltech20 cannot be used" in ran.stderr
    assert "3 of 48 pictures show what no label of the memory stands for (cat)" in ran.stderr
    assert "distortions: The set caltech20 cannot be used" in found.stderr


def test_triplets_are_answered_from_a_file(small: Small, command: Run, tmp_path: Path) -> None:
    small.memory.insert(
        vectors=np.eye(1280)[[0, 0, 0]] + np.eye(1280)[[0, 1, 2]] * [[0], [0.1], [0.9]],
        labels=["cat"] * 3,
        ids=["o", "near", "far"],
    )
    path = tmp_path / "answers.csv"
    path.write_text("o,y,z,answer\no,near,far,y\no,far,near,z\nfar,near,o,y\n")
    where = ("--memory", small.memory.name, "--server", address(small))

    found = command("triplets", path, *where, "--json")
    table = command("triplets", path, *where)
    path.write_text("o,y,z,answer\no,near,gone,y\n")
    refused = command("triplets", path, *where)

    value = json.loads(found.stdout)
    assert value["accuracy"]["value"] == pytest.approx(2 / 3)
    assert (value["triplets"], value["pictures"], value["ties"]) == (3, 3, 0)
    assert "0.6667" in table.stdout
    assert table.stdout.endswith(f"\n\n{INTERVALS}\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "has no entries with these ids: gone." in refused.stderr


def test_neighbors_are_exported_and_compared(small: Small, command: Run, tmp_path: Path) -> None:
    arguments = ("--memory", small.memory.name, "--server", address(small), "--out", tmp_path)

    first = bench("neighbors", "export", small.data / "natural16", *arguments, "-k", 5)
    classes = tmp_path / "classes.csv"
    classes.write_text(f"label,class\n{'cat,1'}\n")
    refused = command(
        *("neighbors", "export", small.data / "natural16", *arguments, "--classes", classes)
    )
    path = first.stdout.strip()
    compared = bench("neighbors", "compare", path, path, "--json")
    table = command("neighbors", "compare", path, path)

    assert Path(path).name == (
        f"memory-{small.memory.name}_msplit-all_query-natural16_qsplit-all_"
        "efficientnet-lite0_full_neighbor_info.json"
    )
    assert json.loads(compared.stdout)["queries"] == 32
    assert json.loads(compared.stdout)["same_order"] == 1.0
    assert "overlap of the 1 nearest" in table.stdout
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "have no class number: airplane" in refused.stderr


def test_an_experiment_is_done_once(small: Small, command: Run, tmp_path: Path) -> None:
    arguments = ("experiment", "triplets", "--data", small.data, "--out", tmp_path)
    where = ("--server", address(small), "--other-embedder")

    listed = json.loads(command("experiments", "--json").stdout)
    first = bench(*arguments, "--json", *where)
    second = command(*arguments, "--json", *where)

    assert set(listed) == {*EXPERIMENTS, "edits"}
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert "is there already" in second.stderr
    path = tmp_path / "experiments" / "triplets.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "parameters": {**found["parameters"], "seeds": 99}}))
    assert "is there already" not in command(*arguments, *where).stderr
    assert json.loads(path.read_text()) == found
    found = json.loads((tmp_path / "experiments/triplets.json").read_bytes())
    assert found == json.loads(first.stdout)["triplets"]
    record = json.loads((tmp_path / "experiments/triplets.record.json").read_bytes())
    assert record["server_version"] == small.client.server_info().version


def test_sets_are_listed(command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edge").mkdir()
    (tmp_path / "filled_silhouettes").mkdir()

    rows = json.loads(command("data", "list", "--data", tmp_path, "--json").stdout)
    monkeypatch.setenv("VISUAL_MEMORY_BENCH_DATA", str(tmp_path))
    table = command("data", "list").stdout

    assert [row["name"] for row in rows if row["there"]] == ["edge", "silhouette"]
    assert table.splitlines()[1].split()[:2] == ["edge", "yes"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "none", "--memory", "m"], "No benchmark is called none"),
        (["run", "edge", "--memory", "m", "--timeout", "1", "--server", "127.0.0.1:9"], "127.0.0"),
        (["metrics", "none"], "No table of trials"),
        (["report", "--out", "none"], "There are no results in none; name their folder with --out"),
        (["neighbors", "compare", "a.json", "b.json"], "cannot be read"),
        (["data", "get", "none"], "nothing is known of it"),
        (["data", "get", "imagenet-sketch"], "ImageNet-Sketch"),
        (["experiment", "none"], "No experiment is called none"),
    ],
)
def test_a_refusal_is_one_sentence_and_exits_with_1(
    command: Run, arguments: list[str], sentence: str
) -> None:
    refused = command(*arguments)

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert sentence in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "edge"],
        ["run", "edge", "--memory", "m", "-k", "0"],
        ["run", "edge", "--memory", "m", "--voting", "loudest"],
        ["metrics"],
        ["nothing"],
    ],
)
def test_wrong_usage_exits_with_2(command: Run, arguments: list[str]) -> None:
    assert command(*arguments).returncode == 2

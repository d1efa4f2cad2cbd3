"""Every command, with all settings: JSON for programs, and nothing that moves the cursor."""

from __future__ import annotations

import json
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.api_keys import add
from tests.conftest import Server, to_picture
from tests.service.conftest import Done, Run

from visual_memory import Client, Memory
from visual_memory.terminal.output import is_shown
from visual_memory_service.cli import build_parser

FORGED = "FORGED"
LABELS = (f"cat\x1b[31m\n{FORGED}", f"\u202edog\r\n{FORGED}")
KEY, VALUE = f"from\n{FORGED}", f"\x9b2J\u2066web\n{FORGED}"
COUNT = 24
ROWS = np.random.default_rng(3).normal(size=(COUNT, 8)) + np.repeat([[4], [-4]], COUNT // 2, 0)
IDS = [f"{number:02}\n{FORGED}\x07\u200f" for number in range(COUNT)]
NAME = "settled"
# They answer no program.
UNASKED = {"accept", "serve", "explorer", "label-studio", "reranker", "demo", "completion"}


def commands() -> set[str]:
    """Return the names of all commands."""
    (action,) = (each for each in build_parser()._actions if isinstance(each, _SubParsersAction))
    return {name for name, each in action.choices.items() if isinstance(each, ArgumentParser)}


@pytest.fixture(scope="module")
def server(server_of_files: Server) -> Server:
    return server_of_files


@pytest.fixture
def settled(tmp_path: Path, client: Client) -> Iterator[Memory]:
    """A memory with every setting and kind of operation, all of whose texts are malicious."""
    memory = client.create_memory(NAME, embedder="efficientnet-lite0", store_images=True)
    vectors = ROWS @ np.random.default_rng(4).normal(size=(8, memory.info().dimension))
    pictures = [to_picture(number) for number in range(COUNT)]
    labels = [LABELS[number * 2 // COUNT] for number in range(COUNT)]
    memory.insert(
        vectors=vectors,
        images=pictures,
        labels=labels,
        ids=IDS,
        metadata=[{KEY: VALUE}] * COUNT,
    )
    memory.set_taxonomy({label: f"pet\n{FORGED}" for label in LABELS})
    memory.prune(method="ids", ids=IDS[:1], apply=True)
    memory.relabel({IDS[-1]: LABELS[0]}, apply=True)
    memory.unlearn([IDS[1]]).save(tmp_path / "certificate.json")
    memory.calibrate(k=3)
    memory.assess(k=3)
    client.backup(NAME, tmp_path / "backup.vmb")
    folder = tmp_path / f"new\n{FORGED}" / f"cat\n{FORGED}"
    folder.mkdir(parents=True)
    (folder / f"a\n{FORGED}.png").write_bytes(to_picture(99))
    (folder / f"text\n{FORGED}.txt\x1b").write_bytes(b"")
    (tmp_path / "ids.txt").write_text("nobody\n")
    add(tmp_path / "guarded", "guard", "read", memories=("pets*",))
    (tmp_path / "labels.csv").write_text(f'id,label\n"{IDS[2]}",x\n', newline="")
    yield memory
    for each in {NAME, "restored", "copied", "former"} & {info.name for info in client.memories()}:
        client.delete_memory(each)


def told() -> dict[str, list[object]]:
    """Return the arguments of each command, in an order in which all can run."""
    folder, picture = f"new\n{FORGED}", f"new\n{FORGED}/cat\n{FORGED}/a\n{FORGED}.png"
    return {
        "create": ["made", "--dimension", 8],
        "list": [],
        "info": [NAME],
        "entries": [NAME],
        "classify": [NAME, picture, "--k", 3, "--calibrated", "--coverage", 0.9],
        "evaluate": [NAME, folder],
        "search": [NAME, picture, "--k", 3],
        "insert": [NAME, folder],
        "update": [NAME, "--id", IDS[2], "--metadata", f"{KEY}={VALUE}"],
        "assess": [NAME],
        "calibrate": [NAME, "--k", 3],
        "tune": [NAME, "--measure", "accuracy"],
        "prune": [NAME, "--method", "random", "--fraction", 0.2, "--apply"],
        "relabel": [NAME, "--from", "labels.csv", "--apply"],
        "purge": [NAME, "--filter", f'id = "{IDS[2]}"'],
        "delete": [NAME, "--id", IDS[3]],
        "audit": [NAME],
        "check": [NAME],
        "operations": [],
        "keys": ["list", "--data", "guarded"],
        "signing-keys": [],
        "verify": ["certificate.json", "--id", IDS[1]],
        "unlearn": [NAME, "--ids-file", "ids.txt", "--certificate", "out.json"],
        "backup": [NAME, f"again\n{FORGED}.vmb"],
        "export": [NAME, f"all\n{FORGED}.parquet"],
        "restore": ["backup.vmb", "restored"],
        "copy": [NAME, "copied"],
        "reembed": [NAME, "former", "--embedder", "efficientnet-lite0"],
        "undo": [NAME],
        "delete-memory": ["made", "--apply"],
    }


def carried_out(run: Run, client: Client, *flags: str) -> Iterator[tuple[str, Done]]:
    """Run each command, and yield its name and result."""
    for name, arguments in told().items():
        if name == "undo":
            undoable = (each for each in client.operations(NAME) if each.kind == "relabel")
            arguments.append(next(undoable).name)
        yield name, run(name, *arguments, *flags)


def test_no_command_is_forgotten() -> None:
    assert told().keys() | UNASKED == commands()


def test_every_command_answers_with_json(run: Run, client: Client, settled: Memory) -> None:
    for name, done in carried_out(run, client, "--json"):
        assert (name, done.returncode, done.stderr) == (name, 0, "")
        json.loads(done.stdout)
        assert all(each == "\n" or is_shown(each) for each in done.stdout), name


def test_no_command_obeys_what_it_prints(run: Run, client: Client, settled: Memory) -> None:
    for name, done in carried_out(run, client):
        said = done.stdout + done.stderr
        assert (name, done.returncode) == (name, 0)
        assert all(each == "\n" or is_shown(each) for each in said), name
        assert not [line for line in said.splitlines() if line.startswith(FORGED)], name

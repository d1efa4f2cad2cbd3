"""The command line against a real server: results, refusals and exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import time
import zlib
from argparse import ArgumentParser, ArgumentTypeError, _SubParsersAction
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from tests.service.conftest import Done, Run, answer, text
from tests.service.slow import write_network

import visual_memory
from visual_memory import options as words
from visual_memory.terminal import arguments, progress
from visual_memory_benchmarks.cli import build_parser as build_benchmark_parser
from visual_memory_embedders.images.images import KINDS
from visual_memory_index import HEADS, VOTINGS, Rule
from visual_memory_service.cli import COMMANDS, build_parser
from visual_memory_service.commands import insert
from visual_memory_service.completion import commands_of

PYTHON = [sys.executable, "-W", "error"]
COMMAND = [*PYTHON, "-m", "visual_memory_service"]


def call(*arguments: object, **options: Any) -> Done:
    command = [*options.pop("command", COMMAND), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, **options)


def start(data: Path, *flags: str) -> subprocess.Popen[str]:
    command = [*COMMAND, "serve", "--data", str(data), "--listen", "127.0.0.1:0", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def address(server: subprocess.Popen[str]) -> str:
    assert server.stdout
    return server.stdout.readline().removeprefix("listening on ").strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with start(tmp_path_factory.mktemp("data"), "--allow-embedder", "onnx:*") as process:
        yield address(process)
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def run(command: Run, server: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process or, given a ``command`` line, in a process of its own."""
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", server)
    here = command

    def run(*arguments: object, command: list[str] | None = None) -> Done:
        return call(*arguments, command=command) if command else here(*arguments)

    return run


def create(server: str, **content: Any) -> str:
    with visual_memory.connect(server) as client:
        return client.create_memory(f"memory-{uuid4().hex}", **content).name


@pytest.fixture
def pets(server: str) -> str:
    """The name of a memory for pictures."""
    return create(server)


@pytest.fixture
def colours(server: str, tmp_path: Path) -> str:
    """The name of a memory for many pictures, embedded at no cost: as their mean colours."""
    return create(server, embedder=write_network(tmp_path / "colours.onnx"))


@pytest.fixture
def rows(server: str) -> str:
    """The name of a memory for vectors of 4 dimensions."""
    return create(server, dimension=4)


@pytest.fixture(scope="module")
def empty(server: str) -> str:
    """The name of a memory for vectors of 4 dimensions, to be left empty."""
    return create(server, dimension=4)


def draw(path: Path, seed: int) -> Path:
    """Write a picture of noise around red or blue, by the folder's name; return the path."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 60, (24, 24, 3), np.uint8)
    pixels[..., 0 if path.parent.name == "red" else 2] += 190
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three red and three blue pictures."""
    for number in range(3):
        draw(tmp_path / "pictures" / "red" / f"{number}.png", number)
        draw(tmp_path / "pictures" / "blue" / f"{number}.PNG", 10 + number)
    return tmp_path / "pictures"


def vectors(path: Path, count: int = 3, **more: Any) -> Path:
    """Write a Parquet file with rows that are not of unit length; return the path."""
    table = {
        "id": [f"id-{number}" for number in range(count)],
        "label": ["cat", "dog", "cat"] * (count // 3),
        "vector": [[1.0, 2.0, 3.0, float(number)] for number in range(count)],
        **more,
    }
    pyarrow.parquet.write_table(pa.table(table), path)
    return path


def refused(result: Done) -> str:
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert result.returncode == 1
    return result.stderr


def misused(result: Done) -> str:
    """Check that argparse printed the command's usage, and return its error."""
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: visual-memory")
    *usage, problem = result.stderr.splitlines()
    assert problem.startswith(f"{usage[0].split(' [')[0].removeprefix('usage: ')}: error: ")
    return problem


def test_serve_says_where_it_listens_logs_json_and_ends_with_0_on_sigterm(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        listening = address(process)
        process.terminate()
        rest, log = process.communicate(timeout=20)

    assert listening.startswith("127.0.0.1:")
    assert rest == ""
    assert [json.loads(line)["event"] for line in log.splitlines()][-1] == "stopped"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("| true; exit ${PIPESTATUS[0]}", 141, ""),
        ("> /dev/full", 1, "Its address could not be written: No space left on device.\n"),
    ],
)
def test_a_server_that_cannot_tell_its_address_ends(
    tmp_path: Path, shell: str, code: int, said: str
) -> None:
    line = f"{' '.join(COMMAND)} serve --data {tmp_path} --listen 127.0.0.1:0 --log-level error"

    done = call(command=["bash", "-c", f"{line} {shell}"])

    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


@pytest.mark.parametrize("module", COMMANDS)
def test_a_module_has_the_commands_for_which_it_is_loaded(module: str) -> None:
    assert tuple(commands_of(build_parser((module,)))) == COMMANDS[module]


def test_the_version_is_told_without_what_commands_need() -> None:
    program = (
        "import sys\n"
        "from visual_memory_service import cli\n"
        "try:\n    cli.run(['--version'])\n"
        "except SystemExit:\n    print([n for n in ('grpc', 'numpy', 'PIL') if n in sys.modules])"
    )

    printed = subprocess.run([*PYTHON, "-c", program], check=True, capture_output=True, text=True)

    assert printed.stdout.splitlines() == [visual_memory.__version__, "[]"]


def test_a_command_is_loaded_without_arrays_and_pictures_unless_it_reads_some() -> None:
    reading = ("insert", "export", "classify", "evaluate", "search", "calibrate")
    readers = {f"commands.{name}" for name in reading}
    others = [module for module in COMMANDS if module not in {*readers, "demo.story"}]
    program = (
        "import sys, visual_memory.client\n"
        "from visual_memory_service import cli\n"
        f"cli.build_parser({others})\n"
        "print([name for name in ('numpy', 'PIL') if name in sys.modules])"
    )

    printed = subprocess.run([*PYTHON, "-c", program], check=True, capture_output=True, text=True)

    assert printed.stdout == "[]\n"


def test_every_command_explains_itself() -> None:
    for name, command in commands_of(build_parser()).items():
        assert f"visual-memory {name}" in command.format_help()


@pytest.mark.parametrize("build", [build_parser, build_benchmark_parser])
def test_every_argument_explains_itself_and_says_if_it_is_needed(
    build: Callable[[], ArgumentParser],
) -> None:
    unexplained = list(unexplained_arguments(build()))

    assert unexplained == []


@pytest.mark.parametrize("build", [build_parser, build_benchmark_parser])
def test_no_path_may_be_empty(build: Callable[[], ArgumentParser]) -> None:
    paths = [each for each in arguments_of(build()) if each.type and is_path(each.type)]

    for each in paths:
        with pytest.raises(ArgumentTypeError, match="must name a file or folder, but is empty"):
            each.type("")
    assert len(paths) > 8


def is_path(read: Callable[[str], object]) -> bool:
    try:
        return isinstance(read("1"), Path)
    except ArgumentTypeError:
        return False


def arguments_of(parser: ArgumentParser) -> Iterator[Any]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield from arguments_of(each)
        else:
            yield action


@pytest.mark.parametrize(
    "line",
    [
        "evaluate pets {}",
        "backup pets {}",
        "export pets {}",
        "check --data {}",
        "accept pets --data {}",
        "signing-keys --rotate {}",
        "keys list --data {}",
        "assess pets --page {}",
        "assess pets --page page.html --images {}",
        "insert pets {}",
        "classify pets {}",
        "restore {} new",
        "verify {}",
        "unlearn pets --ids-file {} --certificate c.json",
        "relabel pets --from {}",
        "demo --images {}",
    ],
)
def test_a_path_that_is_too_long_is_refused_by_its_name(run: Run, rows: str, line: str) -> None:
    long = "x" * 300

    done = run(*line.replace("pets", rows).format(long).split())

    assert long[:200] in refused(done)


@pytest.mark.parametrize("flag", ["--data", "--config"])
def test_a_server_of_a_path_that_is_too_long_is_refused(flag: str) -> None:
    assert "File name too long" in refused(
        call("serve", flag, "x" * 300, "--listen", "127.0.0.1:0")
    )


def unexplained_arguments(parser: ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield from unexplained_arguments(each)
        elif not action.help or (
            action.required and action.option_strings and "needed" not in action.help
        ):
            yield f"{parser.prog} {action.dest}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["info", "nobody"], 'no memory named "nobody"'),
        (["list", "--server", "127.0.0.1:1"], "No server answers at 127.0.0.1:1"),
        (["insert", "{empty}", "nowhere"], "no file or folder nowhere"),
        (["insert", "{empty}", "empty"], "no pictures in empty"),
        (["insert", "{empty}", "loose"], "directly in loose"),
        (
            ["insert", "{empty}", "text.parquet"],
            "neither a folder nor a Parquet file that can be read; name a folder, a CSV table",
        ),
        (["insert", "{empty}", "columns.parquet"], "has the columns name (string), x (int64)"),
        (["insert", "{empty}", "wide.parquet"], "has dimension 5, but this memory holds 4"),
        (["insert", "{empty}", "twice.parquet"], "id a comes twice"),
        (["insert", "{empty}", "ragged.parquet"], "has dimension 1, but this memory holds 4"),
        (["insert", "{empty}", "null.parquet"], "Row 0 of null.parquet lacks"),
        (["insert", "{empty}", "zero.parquet"], "b.vector must be finite and not zero"),
        (["insert", "{empty}", "labels"], "send vectors"),
        (["classify", "{empty}", "nothing.jpg"], "no file or folder nothing.jpg"),
        (["classify", "{empty}", "empty"], "no pictures in empty"),
        (["evaluate", "{empty}", "nowhere"], "no folder nowhere"),
        (
            ["evaluate", "{empty}", "columns.parquet"],
            "columns.parquet is a file, and evaluate takes a folder with a folder for each label: ",
        ),
        (["entries", "{empty}", "--filter", "colour = 1"], "filter is wrong at character 1"),
        (["purge", "{empty}", "--filter", " "], "filter must not be empty"),
        (["update", "{empty}", "--id", "x", "--label", "cat"], "x"),
        (["delete", "{empty}", "--id", "x", "y"], "nothing was changed: x, y"),
        (["create", "{empty}", "--dimension", "4"], "exists already"),
        (["insert", "{empty}", "labels", "--label", ""], "The label is empty"),
        (["create", "a", "--dimension", "0"], "dimension must be"),
        (["create", "a", "--embedder", "nonesuch"], '"nonesuch"'),
        (["delete-memory", "nobody", "--apply"], 'no memory named "nobody"'),
        (["export", "{empty}", "text.parquet"], "exists already; use --force"),
        (["export", "{empty}", "nowhere/x.parquet"], "no folder for nowhere/x.parquet"),
        (
            ["serve", "--data", "text.parquet", "--listen", "127.0.0.1:0"],
            "cannot be the data folder",
        ),
        (["serve", "--data", "a", "--config", "nothing.toml"], "nothing.toml cannot be read"),
        (
            ["serve", "--data", "-----BEGIN PRIVATE KEY-----"],
            "data must name a file or folder, but is what such a file holds.",
        ),
        (["serve", "--data", "a", "--listen", "here"], "must be HOST:PORT"),
        (["serve", "--data", "a", "--listen", "{server}"], "cannot be listened on"),
        (["serve", "--data", "a", "--device", "cuda"], "The device cannot be a GPU: "),
        (["serve", "--data", "a", "--threads", "0"], "threads must be at least 1"),
        (["signing-keys", "--rotate", "empty"], "empty is no data folder that a server has used"),
        (
            ["signing-keys", "--rotate", "nowhere"],
            "nowhere is no data folder that a server has used",
        ),
        (
            ["signing-keys", "--data", "empty"],
            "empty/keys/signing.pem cannot be read: No such file",
        ),
        (["demo", "--images", "labels"], "the demo needs two"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_1(
    run: Run, empty: str, server: str, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "loose" / "a.png", 0)
    draw(tmp_path / "labels" / "red" / "a.png", 0)
    (tmp_path / "text.parquet").write_text("no")
    for name, table in {
        "columns": {"name": ["a"], "x": [1]},
        "wide": {"id": ["a"], "label": ["a"], "vector": [[1.0] * 5]},
        "twice": {"id": ["a", "a"], "label": ["a", "a"], "vector": [[1.0] * 4] * 2},
        "ragged": {"id": ["a", "b"], "label": ["a", "a"], "vector": [[1.0], [1.0] * 4]},
        "null": {"id": [None, "b"], "label": ["a", "a"], "vector": [[1.0] * 4] * 2},
        "zero": {"id": ["a", "b"], "label": ["a", "a"], "vector": [[1.0] * 4, [0.0] * 4]},
    }.items():
        pyarrow.parquet.write_table(pa.table(table), tmp_path / f"{name}.parquet")

    own_process = COMMAND if arguments[0] in ("serve", "demo") else None

    line = [each.format(empty=empty, server=server) for each in arguments]
    said = refused(run(*line, command=own_process))

    assert sentence in said
    assert said.count("\n") == 1
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "required: COMMAND"),
        ("remember", "invalid choice"),
        ("create", "required: NAME"),
        (
            "create a --embedder b --dimension 3",
            "--dimension: not allowed with argument --embedder",
        ),
        ("classify a b --k many", "--k: invalid int value"),
        ("classify a b --voting loudly", "--voting: invalid choice"),
        ("classify a", "required: IMAGE"),
        ("entries a --limit -1", "--limit: must not be negative"),
        ("update a --id b --metadata c", "--metadata: must be KEY=VALUE"),
        ("update a --id b", "one of the arguments --label --metadata --no-metadata is required"),
        ("list --timeout 0", "--timeout: must be a positive number"),
        ("purge a", "required: --filter"),
        ("prune a --method prototype", "required with --method prototype: --fraction"),
        ("prune a --method value --value-k 3", "required with --method value: --fraction"),
        ("prune a --method random --apply", "required with --method random: --fraction"),
        ("prune a --fraction 0.5", "--fraction: not allowed with argument --method hard"),
        ("prune a --method value --fraction 0.5 --k 3", "--k: not allowed with argument --method"),
        ("prune a --ids-file b --seed 1", "--seed: not allowed with argument --ids-file"),
        ("operations wait", "required with wait: ID"),
        ("operations cancel --json", "required with cancel: ID"),
        ("operations wait a --memory b", "--memory: not allowed with argument ACTION"),
        ("assess a --images b", "--images: not allowed without argument --page"),
        ("assess a --csv --json", "--csv: not allowed with argument --json"),
        ("assess a --all", "--all: not allowed without argument --csv"),
        ("tune a --group-by=", "argument --group-by: must not be empty"),
        ("calibrate a --group-by=", "argument --group-by: must not be empty"),
        ("audit a --verify --limit 3", "--limit: not allowed with argument --verify"),
        ("check", "one of the arguments NAME --data is required"),
        ("classify a b -K 5", "unrecognized arguments: -K 5"),
        ("insert a b --skip", "unrecognized arguments: --skip"),
        ("list --serv 127.0.0.1:1", "unrecognized arguments: --serv 127.0.0.1:1"),
        ("reranker crops --port 1", "unrecognized arguments: --port 1"),
        ("--vers list", "unrecognized arguments: --vers"),
        ("insert a b --keep --replace", "--replace: not allowed with argument --keep"),
        (
            "prune a --method value --fraction 0.5 --k 3",
            "--k: not allowed with argument --method value, whose neighbours are --value-k",
        ),
        ("completion cmd", "invalid choice"),
        ("clasify a b", "there is no command clasify; did you mean classify?"),
        ("--verson", "there is no option --verson; did you mean --version?"),
        ("colour", "invalid choice: 'colour'"),
        (
            "list --api-key vm_0123456789ab_cd",
            "unrecognized arguments: --api-key vm_0123456789ab_…",
        ),
        ("list --sever=a:1", "unrecognized arguments: --sever=a:1 (did you mean --server?)"),
    ],
)
def test_wrong_usage_exits_2(
    command: Run, monkeypatch: pytest.MonkeyPatch, line: str, problem: str
) -> None:
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", "127.0.0.1:1")  # where nobody could be asked

    done = command(*line.split())

    assert problem in misused(done)


def test_a_server_without_a_folder_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("threads = 2\n")

    for flags in ([], ["--config", "settings.toml"]):
        assert "No data folder was given" in misused(call("serve", *flags, cwd=tmp_path))
    assert "--data: must name a file or folder, but is empty" in misused(call("serve", "--data="))
    assert misused(call("serve", "--port", "1")).endswith("unrecognized arguments: --port 1")
    near = misused(call("serve", "--metric-listen", "a:1"))
    assert "unrecognized arguments: --metric-listen a:1 (did you mean --metrics-listen?)" in near


@pytest.mark.parametrize("line", ["classify a b", "evaluate a b", "assess a", "calibrate a"])
def test_what_is_not_given_of_a_rule_is_left_to_the_server(line: str) -> None:
    names = [each.name for each in fields(Rule)]

    options = vars(build_parser().parse_args(line.split()))
    given = vars(build_parser().parse_args([*line.split(), "-k", "3", "--blend", "0"]))

    assert {name: options[name] for name in names} == dict.fromkeys(names)
    assert {name: given[name] for name in names if given[name] is not None} == {"k": 3, "blend": 0}


def test_without_k_the_50_nearest_are_found() -> None:
    assert build_parser().parse_args(["search", "a", "b"]).k == 50


def test_the_votings_and_heads_that_can_be_asked_for_are_those_that_there_are() -> None:
    assert tuple(VOTINGS) == words.VOTINGS
    assert words.HEADS == HEADS


@pytest.mark.parametrize("voting", VOTINGS)
def test_every_voting_can_be_asked_for(voting: str) -> None:
    options = build_parser().parse_args(["classify", "pets", "a.jpg", "--voting", voting])

    assert options.voting == voting


def test_a_folder_per_class_is_remembered_by_its_paths(run: Run, pets: str, folder: Path) -> None:
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "red" / "notes.txt").write_text("no picture")

    done = answer(run("insert", pets, folder, "--json"))

    assert (done["inserted"], done["skipped"], done["others"]) == (6, 0, {".txt": 1})
    again = run("insert", pets, folder)
    assert again.stderr == "Left out, as no pictures: 1 .txt.\n"
    found = answer(run("entries", pets, "--json"))
    assert [(each["id"], each["label"]) for each in found] == [
        (f"{label}/{number}.{suffix}", label)
        for label, suffix in (("blue", "PNG"), ("red", "png"))
        for number in range(3)
    ]


def test_what_is_stored_is_skipped_and_what_was_changed_is_refused_or_replaced(
    run: Run, pets: str, folder: Path
) -> None:
    run("insert", pets, folder)
    run("update", pets, "--id", "red/0.png", "--metadata", "seen=yes")
    again = answer(run("insert", pets, folder, "--json"))
    draw(folder / "red" / "0.png", 99)
    draw(folder / "red" / "9.png", 9)

    said = refused(run("insert", pets, folder))
    count = answer(run("info", pets, "--json"))["count"]
    replaced = answer(run("insert", pets, folder, "--json", "--replace"))

    assert (again["inserted"], again["skipped"]) == (0, 6)
    assert "nothing was stored: red/0.png; use --keep to" in said
    assert count == 6
    assert (replaced["inserted"], replaced["replaced"], replaced["skipped"]) == (1, 1, 5)
    kept = answer(run("entries", pets, "--filter", 'id = "red/0.png"', "--json"))
    assert kept[0]["metadata"] == {"seen": "yes"}


def test_a_picture_that_does_not_decode_stops_all_unless_it_may_be_skipped(
    run: Run, pets: str, folder: Path
) -> None:
    (folder / "red" / "bad.png").write_bytes(b"no picture")
    whole = (folder / "red" / "0.png").read_bytes()
    (folder / "red" / "cut.png").write_bytes(whole[: len(whole) // 2])

    said = refused(run("insert", pets, folder))
    count = answer(run("info", pets, "--json"))["count"]
    skipped = run("insert", pets, folder, "--skip-bad", "--json")

    assert "red/bad.png is not a whole JPEG" in said
    assert "red/cut.png is damaged" in said
    assert count == 0
    assert skipped.returncode == 1
    assert json.loads(skipped.stdout)["bad"].keys() == {"red/bad.png", "red/cut.png"}
    assert "2 pictures left out" in skipped.stderr
    assert answer(run("info", pets, "--json"))["count"] == 6


INTERRUPTED = """
import builtins, os, signal, sys
from visual_memory_service.__main__ import main

load, library = builtins.__import__, sys.argv.pop()

def interrupted(name, *given):
    if name == library:
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *given)

builtins.__import__ = interrupted
sys.argv.append("list")
sys.exit(main())
"""


@pytest.mark.parametrize("library", ["grpc", "visual_memory.terminal.ending"])
def test_an_interrupt_while_a_command_is_loaded_makes_no_traceback(library: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, library], capture_output=True, timeout=60
    )

    assert done.returncode == -signal.SIGINT
    assert (done.stdout, done.stderr) == (b"", b"")


def test_an_interrupted_insertion_goes_on_where_it_ended(
    run: Run, rows: str, server: str, tmp_path: Path
) -> None:
    count = 21_000
    file = vectors(tmp_path / "many.parquet", count)
    command = [*COMMAND, "insert", rows, str(file), "--server", server]
    with (
        visual_memory.connect(server) as client,
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as interrupted,
    ):
        while not (stored := client.memory(rows).info().count):
            time.sleep(0.01)
        interrupted.send_signal(signal.SIGINT)
        _, said = interrupted.communicate(timeout=20)

    done = answer(run("insert", rows, file, "--json"))

    assert 0 < stored < count
    assert interrupted.returncode == 130
    *_, told, last = said.splitlines()
    assert last == "Interrupted."
    assert re.fullmatch(
        rf"[\d,]+ of {count:,} are stored in {rows}, perhaps some more; the same command goes on "
        "after them.",
        told,
    )
    assert done["skipped"] >= stored
    assert done["inserted"] + done["skipped"] == count
    assert answer(run("info", rows, "--json"))["count"] == count


def test_an_insertion_that_is_stopped_says_what_is_stored(
    run: Run, rows: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = vectors(tmp_path / "many.parquet", 3000)
    compare = insert.compare

    def compared(*args: Any) -> insert.Plan:
        plan = compare(*args)
        with visual_memory.connect(server) as client:
            client.memory(rows).insert(vectors=[[1.0] * 4], labels=["bird"], ids=["id-2500"])
        return plan

    monkeypatch.setattr(insert, "compare", compared)
    done = run("insert", rows, file)

    assert done.returncode == 1
    why, before = done.stderr.splitlines()[-2:]
    assert why.startswith("Stored meanwhile with other content, label or metadata: id-2500; use ")
    stored = answer(run("info", rows, "--json"))["count"] - 1
    assert 2048 <= stored <= 2500
    assert (
        before
        == f"The {stored:,} before are stored in {rows}; the same command goes on after them."
    )


def test_an_export_is_the_same_for_the_memory_it_came_from_and_for_another(
    run: Run, rows: str, tmp_path: Path
) -> None:
    other = f"{rows}-2"
    assert (
        run("create", other, "--dimension", 4).stdout
        == f"{other} remembers vectors of 4 dimensions.\n"
    )
    more = pa.array([[("seen", "yes")], [], None], pa.map_(pa.string(), pa.string()))
    run("insert", rows, vectors(tmp_path / "in.parquet", metadata=more))

    exported = answer(run("export", rows, "out.parquet", "--json"))
    there = [answer(run("insert", name, "out.parquet", "--json")) for name in (rows, other, other)]

    assert exported["entries"] == 3
    assert [each["inserted"] for each in there] == [0, 3, 0]
    assert [each["skipped"] for each in there] == [3, 0, 3]
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names[:4] == ["id", "label", "vector", "metadata"]
    assert table["metadata"].to_pylist() == [[("seen", "yes")], [], []]
    assert list(tmp_path.glob(".*")) == []


def test_a_vector_with_another_label_is_not_told_as_other_content(
    run: Run, rows: str, tmp_path: Path
) -> None:
    run("insert", rows, vectors(tmp_path / "in.parquet"))
    run("export", rows, "out.parquet")
    table = pyarrow.parquet.read_table("out.parquet").select(["id", "label", "vector"])
    pyarrow.parquet.write_table(table, "unit.parquet")
    run("update", rows, "--id", "id-0", "--label", "fox")

    done = answer(run("insert", rows, "unit.parquet", "--replace", "--json"))

    assert (done["replaced"], done["changed_content"]) == (1, [])


def test_vectors_of_another_embedder_are_refused(
    run: Run, pets: str, folder: Path, tmp_path: Path
) -> None:
    run("insert", pets, folder)
    run("export", pets, "out.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    foreign = table.replace_schema_metadata({"visual_memory.embedder": "{}"})
    pyarrow.parquet.write_table(foreign, tmp_path / "foreign.parquet")

    said = refused(run("insert", pets, "foreign.parquet"))

    assert "made by another embedder" in said
    assert answer(run("insert", pets, "out.parquet", "--json"))["skipped"] == 6


def test_pictures_in_a_parquet_file_are_pictures(
    run: Run, pets: str, folder: Path, tmp_path: Path
) -> None:
    files = sorted(folder.glob("*/*"))
    images = [file.read_bytes() for file in files]
    names = [file.name for file in files]
    labels = [file.parent.name for file in files]
    table = pa.table({"id": names, "label": labels, "image": images})
    pyarrow.parquet.write_table(table, tmp_path / "images.parquet")

    done = [answer(run("insert", pets, "images.parquet", "--json")) for _ in range(2)]

    assert [each["inserted"] for each in done] == [6, 0]


def test_pictures_are_classified_searched_and_evaluated(
    run: Run, pets: str, folder: Path, tmp_path: Path
) -> None:
    run("insert", pets, folder)
    test = tmp_path / "test"
    query = draw(test / "red" / "new.png", 50)
    draw(test / "blue" / "new.png", 51)
    draw(test / "green" / "new.png", 52)

    decisions = answer(run("classify", pets, query, test, "--k", 3, "--json"))
    table = run("classify", pets, query)
    neighbors = answer(run("search", pets, query, "--k", 2, "--json"))[0]["neighbors"]
    evaluation = answer(run("evaluate", pets, test, "--k", 3, "--json"))
    report = run("evaluate", pets, test, "--k", 3).stdout

    assert [each["label"] for each in decisions] == ["red", "blue", "blue", "red"]
    assert len(decisions[0]["neighbors"]) == 3
    assert table.stdout.split()[:7] == [
        "picture",
        "label",
        "vote",
        "share",
        "nearest",
        str(query),
        "red",
    ]
    assert [each["label"] for each in neighbors] == ["red", "red"]
    assert evaluation["accuracy"] == pytest.approx(2 / 3)
    assert evaluation["confusion"]["green"] == {"blue": 1}
    assert evaluation["unknown_labels"] == ["green"]
    assert evaluation["remembered_pictures"] == 0
    assert (
        "accuracy 66.7 %: 2 of 3 pictures (by --k 3 --voting rank --balance 0 --head none); "
        "macro accuracy 66.7 %."
    ) in report
    assert (evaluation["k"], evaluation["head"], evaluation["temperature"]) == (3, "none", None)
    assert "does not know: green." in report


def test_a_command_is_named_where_labels_have_uneven_numbers_of_entries(
    run: Run, pets: str, folder: Path
) -> None:
    for number in range(3, 30):
        draw(folder / "red" / f"{number}.png", number)
    run("insert", pets, folder)
    remark = "Labels have 3 to 30 entries, and the mean of their accuracies is "

    plain = run("evaluate", pets, folder).stdout
    balanced = run("evaluate", pets, folder, "--balance", "1", "--head", "means").stdout
    macro = answer(run("evaluate", pets, folder, "--json"))["macro_accuracy"]
    advised = run("tune", pets, "--apply").stdout
    tuned = run("evaluate", pets, folder).stdout

    assert f"{remark}{macro:.2%}: visual-memory tune {pets}   looks for a rule" in plain
    assert f"{pets} decides by it from now on;" in advised
    assert remark not in balanced + tuned
    by = "pictures (by --k 50 --voting rank --balance 1 --head means --head-temperature 0.05 "
    assert f"{by}--blend 0.5); macro accuracy 100.0 %." in balanced


def test_nodes_of_a_memory_without_a_taxonomy_are_said_to_be_labels(
    run: Run, pets: str, folder: Path
) -> None:
    run("insert", pets, folder)
    asked = ("classify", pets, folder / "red" / "0.png", "--min-confidence", "0.1")

    without = run(*asked)
    with visual_memory.connect(os.environ["VISUAL_MEMORY_SERVER"]) as client:
        client.memory(pets).set_taxonomy({"red": "colour", "blue": "colour"})
    told = run(*asked)

    assert without.stderr == (
        f"{pets} has no taxonomy, so its nodes are its labels; in Python set_taxonomy sets one.\n"
    )
    assert (without.returncode, told.returncode, told.stderr) == (0, 0, "")


def test_a_decision_by_a_calibration_of_other_entries_says_so(
    run: Run, pets: str, folder: Path
) -> None:
    for number in range(3, 10):
        draw(folder / "red" / f"{number}.png", number)
        draw(folder / "blue" / f"{number}.png", 10 + number)
    run("insert", pets, folder)
    run("calibrate", pets, "--k", 5)
    picture = folder / "red" / "0.png"
    asked = ("classify", pets, picture, "--k", 5, "--calibrated")

    fresh, fresh_json = run(*asked), answer(run(*asked, "--json"))
    run("delete", pets, "--id", "red/9.png")
    stale, plain, stale_json = run(*asked), run(*asked[:-1]), run(*asked, "--json")

    told = (
        f"{pets} was changed since it was calibrated; "
        f"visual-memory calibrate {pets}   does it anew, with the pictures or the --group-by of "
        "before, if there were any.\n"
    )
    assert (fresh.returncode, stale.returncode, plain.returncode) == (0, 0, 0)
    assert (fresh.stderr, stale.stderr, plain.stderr) == ("", told, "")
    assert not fresh_json[0]["calibration_stale"]
    assert json.loads(stale_json.stdout)[0]["calibration_stale"]
    assert stale_json.stderr == told


def test_a_rule_that_was_tuned_is_shown_where_it_decides_and_is_calibrated(
    run: Run, pets: str, folder: Path
) -> None:
    for number in range(3, 10):
        draw(folder / "red" / f"{number}.png", number)
        draw(folder / "blue" / f"{number}.png", 10 + number)
    run("insert", pets, folder)
    run("tune", pets, "--apply")
    default = answer(run("info", pets, "--json"))["default_rule"]["rule"]
    by = arguments.flags(default)
    other = arguments.flags(default | {"k": 7, "balance": 0.25})

    report = run("evaluate", pets, folder).stdout
    typed = run("evaluate", pets, folder, "--k", 7, "--balance", 0.25).stdout
    told = answer(run("evaluate", pets, folder, "--json"))
    calibrated = run("calibrate", pets).stdout
    info = run("info", pets)
    again = run("calibrate", pets, "--k", 5).stdout
    found = answer(run("calibrate", pets, "--json"))

    assert default["head"] != "none"
    assert f"20 of 20 pictures (by {by}); macro accuracy 100.0 %." in report
    assert f"20 of 20 pictures (by {other}); macro accuracy 100.0 %." in typed
    assert {name: told[name] for name in default} == default
    assert found["rule"] == default
    assert calibrated.startswith(f"{pets} is calibrated for decisions by {by}, by 20 entries.\n")
    assert "when this began" not in calibrated
    gone = rf"\nThe calibration of \S+ \S+ UTC for {re.escape(by)}, which .* began, is gone\.\n"
    assert re.search(gone, again)
    assert f"\nDecisions are by {by} where" in info.stdout
    assert re.search(rf"^Calibrated \S+ \S+ UTC for {re.escape(by)}\.$", info.stdout, re.MULTILINE)


@pytest.mark.parametrize("key", ["scene", 'the owner\'s "key" *\\', "two\nlines"])
def test_entries_in_no_group_are_told_of_with_the_command_that_lists_them(
    run: Run, server: str, rows: str, key: str
) -> None:
    vectors = np.random.default_rng(0).normal(size=(24, 4))
    ids = [f"{number:02}" for number in range(24)]
    grouped = [{key: id} for id in ids[:18]] + [{}] * 6
    with visual_memory.connect(server) as client:
        memory = client.memory(rows)
        memory.insert(vectors=vectors, labels=["cat", "dog"] * 12, ids=ids, metadata=grouped)
        memory.prune(method="ids", ids=ids[-1:], apply=True)

    for name in ("tune", "calibrate"):
        told = text(run(name, rows, "--group-by", key))
        commands = re.findall("^visual-memory (entries .*)   lists them.$", told, re.MULTILINE)
        shown = key.replace("\n", "\\n")
        assert f"Voting entries without {shown} in their metadata: 5. Each is" in told
        assert len(commands) == (1 if key.isprintable() else 0)
        for command in commands:
            assert text(run(*shlex.split(command), "--ids")).split() == ids[18:23]
    run("delete", rows, "--id", *ids[18:])
    assert "Voting entries without" not in text(run("calibrate", rows, "--group-by", key))


def test_a_memory_is_calibrated_by_a_folder_of_other_pictures(
    run: Run, pets: str, folder: Path, tmp_path: Path
) -> None:
    run("insert", pets, folder)
    held = tmp_path / "held"
    for number in range(6):
        for label, offset in (("red", 0), ("blue", 10)):
            path = held / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(path, offset + number)
    (held / "red" / "bad.png").write_bytes(b"no picture")
    (held / "green").mkdir()
    draw(held / "green" / "0.png", 20)

    refused = run("calibrate", pets, held)
    left_out = run("calibrate", pets, held, "--skip-bad")
    info = run("info", pets)

    assert refused.returncode == 1
    assert "bad.png" in refused.stderr
    assert left_out.returncode == 1
    assert "calibrated for decisions by" in left_out.stdout
    assert ", by 13 pictures.\n" in left_out.stdout
    assert "count as wrong: green" in left_out.stderr
    assert "\nCalibrated " in info.stdout
    for wrong in (("--group-by", "x"), ("--skip-bad",)):
        given = (held,) if wrong[0] == "--group-by" else ()
        assert run("calibrate", pets, *given, *wrong).returncode == 2
    assert "some voting entry has" in run("calibrate", pets, "--group-by", "x").stderr


def test_a_drift_is_told_where_it_is_asked_for_calibrated_decisions(
    run: Run, colours: str, folder: Path, tmp_path: Path
) -> None:
    for number in range(3, 10):
        draw(folder / "red" / f"{number}.png", number)
        draw(folder / "blue" / f"{number}.png", 10 + number)
    for number in range(20):
        path = tmp_path / "green" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (24, 24), (0, 250 - number, 0)).save(path)
    run("insert", colours, folder)
    run("calibrate", colours)
    ask = ("classify", colours, "--calibrated")

    like, unlike = run(*ask, folder), run(*ask, tmp_path / "green")
    unasked = run("classify", colours, tmp_path / "green")
    run("delete", colours, "--id", "red/9.png")
    stale = run(*ask, tmp_path / "green", "--json")

    told = f"{colours}: 20 of the last 20 calibrated queries were rejected, "
    fitted = "to be expected: drift. These pictures are unlike those it was calibrated by"
    way_out = (
        "; insert some with labels and calibrate again, or try --domain. Where entries come in "
        "groups, such as frames of a scene, a calibration by entries without --group-by makes "
        "drift, too.\n"
    )
    assert (like.stderr, unasked.stderr) == ("", "")
    assert (like.returncode, unlike.returncode, stale.returncode) == (0, 0, 0)
    assert unlike.stderr.startswith(told)
    assert unlike.stderr.endswith(f"{fitted}{way_out}")
    assert stale.stderr.endswith(f"{fitted}, or the entries have changed since{way_out}")


def test_an_empty_memory_cannot_be_asked(run: Run, pets: str, folder: Path) -> None:
    assert "is empty" in refused(run("classify", pets, folder))


QUESTIONS = ("classify", "search", "evaluate")


@pytest.mark.parametrize("question", QUESTIONS)
def test_nobody_is_asked_about_pictures_of_which_some_do_not_decode(
    run: Run, pets: str, folder: Path, question: str
) -> None:
    bad = folder / "red" / "bad.png", folder / "red" / "cut.png"
    bad[0].write_bytes(b"no picture")
    bad[1].write_bytes((folder / "red" / "0.png").read_bytes()[:100])

    said = refused(
        run(question, pets, folder)
    )  # even before it is noticed that the memory is empty

    first, second, last = said.splitlines()
    assert first == f"{bad[0]} is not a whole {KINDS} image."
    assert second.startswith(f"{bad[1]} is damaged (")
    assert last == (
        "Nothing was asked, because of 2 pictures; use --skip-bad to ask about the others."
    )
    assert refused(run(question, pets, folder, "--json")) == said


@pytest.mark.parametrize("question", QUESTIONS)
def test_pictures_that_do_not_decode_are_skipped_on_request(
    run: Run, pets: str, folder: Path, question: str
) -> None:
    run("insert", pets, folder)
    expected = answer(run(question, pets, folder, "--json"))
    bad = folder / "red" / "bad.png"
    bad.write_bytes(b"no picture")

    found = run(question, pets, folder, "--skip-bad", "--json")
    table = run(question, pets, folder, "--skip-bad")

    assert found.returncode == table.returncode == 1
    assert found.stderr == table.stderr
    assert found.stderr == (f"{bad} is not a whole {KINDS} image.\n1 picture left out.\n")
    told = json.loads(found.stdout)
    if question == "evaluate":
        assert told["bad"] == {str(bad): f"is not a whole {KINDS} image"}
        for each in ("pictures", "correct", "confusion"):
            assert told[each] == expected[each]
    else:
        assert told == expected
    assert "red/0.png" in table.stdout or "accuracy 100.0 %: 6 of 6" in table.stdout


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_only_the_server_cannot_decode_is_named_and_leaves_no_half_of_an_answer(
    run: Run, colours: str, folder: Path, question: str
) -> None:
    run("insert", colours, folder)
    for number in range(70):  # more than are sent at once
        draw(folder / "red" / f"more{number}.png", number)
    bad = folder / "red" / "odd.png"
    bad.write_bytes(odd_picture())

    said = refused(run(question, colours, folder, "--json"))
    skipped = run(question, colours, folder, "--json", "--skip-bad")

    assert said == f"{bad} is damaged and cannot be decoded (palette index out of range).\n"
    assert skipped.stderr == f"{said}1 picture left out.\n"
    assert skipped.returncode == 1
    told = json.loads(skipped.stdout)
    assert (told["pictures"] if question == "evaluate" else len(told)) == 76


@pytest.mark.parametrize("question", QUESTIONS)
def test_how_far_many_pictures_are_is_told_on_standard_error(
    run: Run, colours: str, folder: Path, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    run("insert", colours, folder)
    for number in range(64):
        draw(folder / "red" / f"more{number}.png", number)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)

    done = run(question, colours, folder, "--json")

    checked, _, first, last = done.stderr.splitlines()
    assert checked == "64/70 pictures checked"
    assert first == "64/70 pictures"
    assert last.startswith("70/70 pictures, ")
    assert json.loads(done.stdout)


@pytest.mark.parametrize("question", QUESTIONS)
def test_where_no_picture_decodes_there_is_no_answer(
    run: Run, pets: str, tmp_path: Path, question: str
) -> None:
    bad = tmp_path / "all" / "red" / "bad.png"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"no picture")

    said = refused(run(question, pets, tmp_path / "all", "--skip-bad", "--json"))

    assert said.splitlines()[0].startswith(f"{bad} is not a whole JPEG")
    assert said.splitlines()[1] == "Nothing was asked, because no picture is left."


def odd_picture() -> bytes:
    """Return a PNG with more transparent colours than its palette has, which Pillow loads."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", bytes(300))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0\1" * 2))
    return b"\x89PNG\r\n\x1a\n" + parts + pixels + chunk(b"IEND", b"")


def test_a_purge_shows_what_it_would_do_until_it_is_applied(
    run: Run, rows: str, tmp_path: Path
) -> None:
    run("insert", rows, vectors(tmp_path / "in.parquet"))

    shown = run("purge", rows, "--filter", 'label = "cat"').stdout
    count = answer(run("info", rows, "--json"))["count"]
    applied = answer(run("purge", rows, "--filter", 'label = "cat"', "--apply", "--json"))

    assert "2 entries would be deleted" in shown
    assert "id-0, id-2" in shown
    assert "--apply" in shown
    assert count == 3
    assert applied == {
        "memory": rows,
        "count": 2,
        "sample_ids": ["id-0", "id-2"],
        "applied": True,
    }
    assert answer(run("info", rows, "--json"))["labels"] == {"dog": 1}


def test_entries_are_updated_and_deleted_alone_and_with_their_memory(
    run: Run, rows: str, tmp_path: Path
) -> None:
    run("insert", rows, vectors(tmp_path / "in.parquet"))

    updated = answer(
        run("update", rows, "--id", "id-0", "--label", "wolf", "--metadata", "a=b", "--json")
    )
    kept = answer(run("update", rows, "--id", "id-0", "--label", "fox", "--json"))
    emptied = answer(run("update", rows, "--id", "id-0", "--metadata", "c=", "--json"))
    bare = answer(run("update", rows, "--id", "id-0", "--no-metadata", "--json"))
    deleted = answer(
        run("delete", rows, "--id", "id-1", "id-7", "--id", "id-2", "--allow-missing", "--json")
    )
    left = run("entries", rows, "--limit", 5).stdout
    forgotten = answer(run("delete-memory", rows, "--apply", "--json"))

    assert (updated["label"], updated["metadata"]) == ("wolf", {"a": "b"})
    assert kept["metadata"] == {"a": "b"}
    assert (emptied["metadata"], bare["metadata"]) == ({"c": ""}, {})
    assert bare["label"] == "fox"
    assert deleted["deleted"] == 2
    assert [line.split()[0] for line in left.splitlines()] == ["id", "id-0"]
    assert forgotten == {"memory": rows, "deleted": True}
    assert rows not in run("list").stdout


def test_a_reader_that_goes_away_is_no_error(run: Run, rows: str, tmp_path: Path) -> None:
    run("insert", rows, vectors(tmp_path / "in.parquet", 3000))
    line = f"{' '.join(COMMAND)} entries {rows} | head -n 1; exit ${{PIPESTATUS[0]}}"

    result = call(command=["bash", "-c", line])

    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 1
    assert result.returncode == 141


def test_a_name_that_is_not_utf_8_is_shown_with_its_bytes(
    run: Run, pets: str, folder: Path, tmp_path: Path
) -> None:
    run("insert", pets, folder)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    os.rename(draw(tmp_path / "red" / "new.png", 50), odd)

    result = run("classify", pets, odd, command=COMMAND)

    assert result.stderr == ""
    assert "\\udcff.png" in result.stdout or "?.png" in result.stdout


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("serve --data nowhere", "cpu"),
        ("export {rows} out.parquet", "parquet"),
        ("insert {rows} in.parquet", "parquet"),
    ],
)
def test_what_the_base_install_lacks_is_named_with_its_extra(
    run: Run, rows: str, tmp_path: Path, line: str, extra: str
) -> None:
    (tmp_path / "in.parquet").write_text("")

    said = refused(run(*line.format(rows=rows).split(), command=base_install()))

    assert f"pip install -e '.[{extra}]'" in said
    assert said.count("\n") == 1


def test_the_base_install_asks_and_answers(run: Run, pets: str, folder: Path) -> None:
    done = run("insert", pets, folder, "--json", command=base_install())
    decisions = run("classify", pets, folder, "--json", command=base_install())

    assert answer(done)["inserted"] == 6
    assert len(answer(decisions)) == 6


def base_install() -> list[str]:
    """Return the command line of a program with only the client's dependencies."""
    absent = ("numba", "onnxruntime", "onnx", "structlog", "pyarrow", "sklearn", "grpc_health")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r})); "
        "from visual_memory_service.__main__ import main; sys.exit(main())"
    )
    return [*PYTHON, "-c", program]

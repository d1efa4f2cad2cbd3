"""The documents name every call, field, flag and room, and their examples run."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from argparse import ArgumentParser, _SubParsersAction
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import Field, fields
from itertools import pairwise, product
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor
from PIL import Image
from tests.conftest import Server, Start

import visual_memory
from visual_memory.v1 import (
    decision_pb2,
    entry_pb2,
    memory_pb2,
    operation_pb2,
    reranker_pb2,
    service_pb2,
)
from visual_memory_benchmarks.cli import build_parser as build_bench_parser
from visual_memory_index import VOTINGS, parse
from visual_memory_service.cli import build_parser
from visual_memory_service.config import Settings
from visual_memory_service.status import CODES

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "service/visual_memory_service",
    "index/visual_memory_index",
    "embedders/visual_memory_embedders",
    "protos/visual_memory",
    "benchmarks/visual_memory_benchmarks",
)
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if not path.stem.endswith(("_pb2", "_pb2_grpc", "__init__"))
)
DOCUMENTS = tuple(
    str(path.relative_to(ROOT))
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
)
API_PAGES = tuple(document for document in DOCUMENTS if document.startswith("docs/api/"))
GUIDES = ("README.md", "docs/backup.md", "docs/curation.md", "docs/guide.md", "docs/unlearn.md")
BYTES_MAX = {"README.md": 9_000, "ARCHITECTURE.md": 10_000, "CONTRIBUTING.md": 5_000}
SERVER = "127.0.0.1:50051"
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^(<!-- runs -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")
OPERATION = re.compile(r"\b[a-z0-9-]+/[0-9a-z]{26}\b")
MEASURED = re.compile(r"\b(\d+)\.\d{4}\b")
FILE = re.compile(r"`([\w.…-]+/[\w./…-]*)`")
ROOM = re.compile(r"`((?:client|service|index|embedders|benchmarks)/[a-z0-9]+)`")
REFERENCE = re.compile(r"`(\w+)\.((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)`")
MODULES = {path.stem for path in SOURCES}
FILES: tuple[FileDescriptor, ...] = (
    service_pb2.DESCRIPTOR,
    memory_pb2.DESCRIPTOR,
    entry_pb2.DESCRIPTOR,
    decision_pb2.DESCRIPTOR,
    operation_pb2.DESCRIPTOR,
    reranker_pb2.DESCRIPTOR,
)
MESSAGES = [message for file in FILES for message in file.message_types_by_name.values()]


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def sections(*documents: str) -> dict[str, str]:
    """Map each heading to the text below it, up to the next; equal headings share a text."""
    parts: defaultdict[str, str] = defaultdict(str)
    for document in documents:
        text = re.sub(r"^```.*?^```$", "", read(document), flags=re.MULTILINE | re.DOTALL)
        found = [*HEADING.finditer(text)]
        ends = [heading.start() for heading in found[1:]] + [len(text)]
        for heading, end in zip(found, ends, strict=True):
            parts[heading[1]] += text[heading.end() : end]
    return dict(parts)


def blocks(document: str, *languages: str) -> list[str]:
    return [found[3] for found in BLOCK.finditer(read(document)) if found[2] in languages]


def row(section: str, name: str) -> str:
    """Return the line of a table that begins with this name, empty if there is none."""
    return next((line for line in section.splitlines() if line.startswith(f"| `{name}` |")), "")


# docs/api names every call, field, flag, setting and refusal


API = sections(*API_PAGES)


@pytest.mark.parametrize(
    "call",
    [
        call
        for file in FILES
        for service in file.services_by_name.values()
        for call in service.methods_by_name
    ],
)
def test_every_call_has_a_section(call: str) -> None:
    assert API[call].strip()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_every_field_of_a_message_is_in_its_section(message: Descriptor) -> None:
    section = API[message.name.removesuffix("Request").removesuffix("Response")]

    missing = [name for name in message.fields_by_name if f"`{name}`" not in section]

    assert missing == []


@pytest.mark.parametrize("refusal", CODES, ids=lambda refusal: refusal.__name__)
def test_every_reason_stands_beside_its_code(refusal: type[Exception]) -> None:
    reason = re.sub(r"(?<!^)([A-Z])", r"_\1", refusal.__name__).upper()

    assert f"| {CODES[refusal].name} |" in row(API["Errors"], reason)


def test_no_reason_is_in_the_table_that_is_never_sent() -> None:
    listed = re.findall(r"^\| `([A-Z_]+)` \|", API["Errors"], re.MULTILINE)

    assert len(listed) == len(CODES)


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_every_setting_stands_beside_its_default(setting: Field[object]) -> None:
    name, default = setting.name, setting.default

    described = row(API["Configuration"], name)

    assert described
    if name not in ("data", "allow_embedder", "reranker", "threads"):
        assert f"| {default} |" in described


@pytest.mark.parametrize("voting", VOTINGS)
def test_every_voting_has_its_row(voting: str) -> None:
    assert row(API["Classify"], voting)


def commands(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    """Map the names of all commands below a parser, nested ones too, to their parsers."""
    below = [each for each in parser._actions if isinstance(each, _SubParsersAction)]
    found = {name: each for one in below for name, each in one.choices.items()}
    return found | {
        f"{name} {deeper}": each
        for name, one in found.items()
        for deeper, each in commands(one).items()
    }


@pytest.mark.parametrize(("name", "parser"), commands(build_bench_parser()).items())
def test_every_flag_of_the_benchmarks_is_in_their_section(
    name: str, parser: ArgumentParser
) -> None:
    section = API["visual-memory-bench"]

    missing = [
        action.option_strings
        for action in parser._actions
        if action.option_strings and "--help" not in action.option_strings
        if not any(f"`{flag}" in section for flag in action.option_strings)
    ]

    assert f"`{name}" in section or f"`{name.partition(' ')[0]}" in section
    assert missing == []


@pytest.mark.parametrize("command", commands(build_parser()))
def test_every_flag_and_operand_of_a_command_is_in_its_section(command: str) -> None:
    section = API[f"visual-memory {command.partition(' ')[0]}"]
    common = API["Options of every command that asks a server"]
    parser = commands(build_parser())[command]
    asks = any("--server" in action.option_strings for action in parser._actions)

    words = [
        word
        for action in parser._actions
        for word in action.option_strings or [str(action.metavar or action.dest.upper())]
        if word not in ("-h", "--help") and not (asks and word == "NAME")
    ]
    missing = [word for word in words if word not in section and not (asks and word in common)]

    assert missing == []


@pytest.mark.parametrize("name", visual_memory.__all__)
def test_every_public_name_of_the_client_is_in_a_section_on_python(name: str) -> None:
    assert re.search(rf"`{name}\b", API["In Python"])


@pytest.mark.parametrize("kind", [visual_memory.Client, visual_memory.Memory])
def test_every_method_of_the_client_is_in_a_table(kind: type) -> None:
    named = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
    forms = {name: f"{name}(" if callable(value) else f"{name}`" for name, value in named.items()}

    missing = [name for name, form in forms.items() if f"| `{form}" not in API["In Python"]]

    assert missing == []


# What they show is right


@pytest.mark.parametrize("line", "".join(blocks("docs/api/filters.md", "filter")).splitlines())
def test_every_filter_of_the_documents_parses(line: str) -> None:
    assert parse(line) is not None


def shell_lines() -> Iterator[str]:
    for document in DOCUMENTS:
        for block in blocks(document, "sh"):
            yield from (line for line in block.splitlines() if line.startswith("visual-memory "))


@pytest.mark.parametrize("line", sorted(set(shell_lines())))
def test_every_command_of_the_documents_is_right_usage(line: str) -> None:
    for command in re.split(r" \| (?=visual-memory )", line.partition(" > ")[0]):
        assert build_parser().parse_args(shlex.split(command, comments=True)[1:])


def scheduled() -> list[str]:
    """Return the backup commands in the documents' cron and systemd examples, as on a Monday."""
    text = "\n".join(each for document in DOCUMENTS for each in blocks(document, "crontab", "ini"))
    plain = text.replace("%%", "%").replace("\\%", "%").replace("%i", "pets")
    return re.findall(r"visual-memory (backup \S+ \S+ --\w+)", plain.replace("$(date +%u)", "1"))


@pytest.mark.parametrize("line", scheduled())
def test_every_command_that_is_scheduled_is_right_usage(line: str) -> None:
    options = build_parser().parse_args(line.split())

    assert (options.name, options.file, options.force) == (
        "pets",
        Path("/backups/pets-1.vmb"),
        True,
    )


def test_both_ways_to_schedule_are_there() -> None:
    assert len(scheduled()) == 2


@pytest.mark.parametrize("text", [b for d in DOCUMENTS for b in blocks(d, "toml")])
def test_every_configuration_of_the_documents_has_known_keys(text: str) -> None:
    assert tomllib.loads(text).keys() <= {field.name for field in fields(Settings)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_of_the_documents_is_there(document: str) -> None:
    targets = set(re.findall(r"(?:`|^)make ([a-z-]+)", read(document), re.MULTILINE))
    there = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))

    assert targets <= there


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_inside_the_repository_leads_somewhere(document: str) -> None:
    broken = []
    for link in LINK.findall(read(document)):
        path, _, anchor = link.partition("#")
        if path.startswith("https:"):
            continue
        target = (ROOT / document).parent / path if path else ROOT / document
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    headings = HEADING.findall(path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_page_of_a_folder_is_in_its_index() -> None:
    pages = [Path(each) for each in DOCUMENTS if Path(each).parts[:1] == ("docs",)]
    inner = [page for page in pages if len(page.parts) == 3 and page.name != "README.md"]

    missing = [
        page for page in inner if f"]({page.name}" not in read(str(page.parent / "README.md"))
    ]

    assert len(inner) >= 40
    assert missing == []


@pytest.mark.parametrize(("document", "limit"), BYTES_MAX.items())
def test_the_first_documents_are_short(document: str, limit: int) -> None:
    assert (ROOT / document).stat().st_size <= limit


def test_every_sentence_of_the_troubleshooting_table_is_one_that_the_program_says() -> None:
    table = sections("docs/troubleshooting.md")["When something is refused"]
    sentences = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    said = {line for path in SOURCES for line in templates(path)}

    unsaid = [text for text in sentences if not is_said(text, said)]

    assert len(sentences) >= 10
    assert unsaid == []


def is_said(text: str, said: Set[str]) -> bool:
    """Return True if a sentence is in the sources, without the file's name or with a way out."""
    without_name = text.removeprefix("… ")
    problem, _, way_out = without_name.removesuffix(".").partition("; ")
    in_parts = way_out in said and (problem == "…" or f"{problem}; …." in said)
    return in_parts or not said.isdisjoint({text, without_name})


def templates(path: Path) -> Iterator[str]:
    """Yield every line of every string in a source file, with … for its variable parts."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…"
            for part in parts
        ]
        yield from "".join(texts).split("\n")


# docs/promises.md


def test_every_test_that_holds_a_promise_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", read("docs/promises.md"))

    gone = [(path, test) for path, test in named if f"def {test}(" not in read(path)]

    assert len(named) >= 50
    assert gone == []


# Rooms


def rooms() -> dict[str, str]:
    """Map each room, named as for ``make test ROOM=``, to the docstring of its ``__init__``."""
    found = {}
    for package in PACKAGES:
        root = package.split("/")[0].replace("protos", "client")
        for path in sorted((ROOT / package).glob("*/__init__.py")):
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            found[f"{root}/{path.parent.name.lstrip('_')}"] = docstring or ""
    return found


ROOMS = rooms()
ROOMS_BY_HAND = ROOMS.keys() - {"client/v1"}  # which is generated


def test_the_architecture_names_every_room() -> None:
    assert set(ROOM.findall(read("ARCHITECTURE.md"))) == ROOMS.keys()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_room_of_the_documents_is_there(document: str) -> None:
    gone = set(ROOM.findall(read(document))) - ROOMS.keys()

    assert [name for name in sorted(gone) if not (ROOT / name).is_dir()] == []


@pytest.mark.parametrize("room", sorted(ROOMS_BY_HAND))
def test_every_room_says_its_contents_its_imports_and_its_tests(room: str) -> None:
    first, _, rest = ROOMS[room].partition("\n\n")

    assert first.endswith(".")
    assert re.search(r"\b[Ii]mports?\b", rest)
    assert f"make test ROOM={room}``" in rest
    assert (ROOT / "tests" / room).is_dir()


# docs/dependencies.md


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(each for extra in extras for each in extra)]
    names = {re.split(r"[<>=~!\[ ]", each)[0] for each in wanted}
    table = sections("docs/dependencies.md")["Dependencies"]

    assert [name for name in sorted(names) if not re.search(rf"[| ]{name}[, ]", table)] == []


# docs/extending.md


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "docs/extending.md"])
def test_every_name_of_a_document_is_defined_in_its_module(document: str) -> None:
    gone = [
        f"{module}.{name}"
        for module, name in REFERENCE.findall(read(document))
        if module in MODULES and name not in ("py", "sqlite")
        if not defined(module, name.split(".")[-1])
    ]

    assert gone == []


def defined(module: str, name: str) -> bool:
    pattern = re.compile(rf"^\s*(?:async )?(?:def|class) {name}\b|^{name}\b", re.MULTILINE)
    files = [path for path in SOURCES if path.stem == module]
    return any(pattern.search(path.read_text(encoding="utf-8")) for path in files)


def test_every_file_to_be_changed_is_there() -> None:
    """Paths with NAME, which the reader chooses, are left out; ``…`` is the package."""
    packages = dict(package.split("/") for package in PACKAGES)
    named = [
        path.replace("…", packages[path.split("/")[0]]) if "…" in path else path
        for path in FILE.findall(read("docs/extending.md"))
        if "NAME" not in path
    ]

    assert len(named) >= 50
    assert [path for path in named if not (ROOT / path).exists()] == []


# Examples run


def draw_pictures(folder: Path) -> None:
    """Create the pictures that the documents suppose: pets, pets-test, zoo and photo.jpg."""
    colours = {"cat": (200, 120, 40), "dog": (30, 60, 160), "fox": (170, 40, 40)}
    pictures = {"photo.jpg": (210, 125, 45)}
    for part, labels, count, step, first in (
        ("pets", ("cat", "dog"), 4, 7, 4),
        ("pets-test", ("cat", "dog"), 2, 7, 9),
        ("zoo", colours, 6, 10, 0),
    ):
        for label, number in product(labels, range(count)):
            red, green, blue = (each + first + step * number for each in colours[label])
            pictures[f"{part}/{label}/{number}.jpg"] = (red, green, blue)
    pictures["zoo/dog/tom.jpg"] = (208, 126, 46)
    pictures["zoo/fox/night.jpg"] = (38, 68, 168)
    for path, colour in pictures.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), colour).save(folder / path)


def runnable(document: str) -> Iterator[tuple[list[str], str]]:
    """Yield the command that runs each example, in order, with its printed output, if shown."""
    found = [*BLOCK.findall(read(document)), ("", "", "")]
    for (marked, language, text), (_, next_language, shown) in pairwise(found):
        printed = shown if next_language == "text" else ""
        if language == "python":
            yield [sys.executable, "-W", "error", "-c", text], printed
        elif marked:
            yield ["bash", "-euo", "pipefail", "-c", text], printed


def run(command: list[str], folder: Path, address: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [word.replace(SERVER, address) for word in command],
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path, "VISUAL_MEMORY_SERVER": address},
        text=True,
    )


def renamed(word: str, names: Mapping[str, str]) -> str:
    """Replace the operations of the document by those of this run."""
    return OPERATION.sub(lambda at: names.get(at[0], at[0]), word)


def settled(printed: str) -> str:
    """Hide the parts of an output that differ from run to run or between processors."""
    return MEASURED.sub(r"\1.…", OPERATION.sub("OPERATION", printed))


RUN = [document for document in DOCUMENTS if any(runnable(document))]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server for all documents, whose memories are deleted after each."""
    server = Server(tmp_path_factory.mktemp("documents") / "data")
    yield server.address
    assert server.end() == 0


@pytest.fixture
def emptied(address: str) -> Iterator[str]:
    """The address of the server, without memories before and afterwards."""
    with visual_memory.connect(address) as client:
        assert [*client.memories()] == []
        yield address
        for memory in client.memories():
            client.delete_memory(memory.name)


def run_examples(document: str, folder: Path, address: str) -> None:
    """Run the examples of a document, and compare their output with what it shows.

    They print what the document shows, but for the names of operations.
    """
    names: dict[str, str] = {}

    for command, shown in runnable(document):
        result = run([renamed(word, names) for word in command], folder, address)

        assert not result.returncode, (document, result.stderr)
        if shown:
            assert settled(result.stdout) == settled(shown), document
            pairs = zip(OPERATION.findall(shown), OPERATION.findall(result.stdout), strict=True)
            names |= dict(pairs)


@pytest.mark.parametrize("document", [each for each in RUN if each != "README.md"])
def test_the_examples_run_in_their_order(document: str, tmp_path: Path, emptied: str) -> None:
    draw_pictures(tmp_path)

    run_examples(document, tmp_path, emptied)


def test_the_examples_of_the_readme_run_and_after_it_those_of_the_guide(
    tmp_path: Path, start: Start
) -> None:
    """Nothing that the README leaves in the server or the folder stands in the way."""
    draw_pictures(tmp_path)
    address = start().address

    for document in ("README.md", "docs/guide.md"):
        run_examples(document, tmp_path, address)


@pytest.mark.parametrize("documents", [*zip(GUIDES), API_PAGES], ids=lambda each: each[0])
def test_the_examples_are_in_both_languages(documents: Sequence[str]) -> None:
    languages = {command[0] for document in documents for command, _ in runnable(document)}

    assert languages == {sys.executable, "bash"}

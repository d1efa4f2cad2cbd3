"""The page of ``assess --page`` against a real server: its content, and what it must not hold."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.conftest import to_picture
from tests.service.conftest import Run, refused, text
from tests.test_docs import draw_pictures

from visual_memory import Client, Memory
from visual_memory.terminal.refused import Refused
from visual_memory_service.cli import run
from visual_memory_service.console.assessment_page import to_page

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory, Server

Write = Callable[..., "Page"]
Tag = tuple[str, dict[str, str]]

COUNT = 60
CENTRES = np.random.default_rng(0).normal(size=(3, 16))
CODES = np.random.default_rng(1).integers(0, 3, COUNT)
ROWS = CENTRES[CODES] + 0.4 * np.random.default_rng(2).normal(size=(COUNT, 16))
IDS = [f"{number:04}" for number in range(COUNT)]
WRONG = IDS[::12]
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "<!--NAME-->",
    "&lt;&#13;\r &quot;",
)


class Page(HTMLParser):
    """A parsed page: its tags, its forms, and its texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[Tag] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, wanted: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == wanted]

    @property
    def judged(self) -> list[tuple[str, str, str]]:
        """Return each form's id, label and proposed label, as the script reads them."""
        names = ("data-id", "data-label", "data-proposed")
        return [tuple(json.loads(form[name]) for name in names) for form in self.all("form")]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    @property
    def near(self) -> list[str]:
        return [attributes["title"] for attributes in self.all("li")]


@pytest.fixture
def write(server: Server, tmp_path: Path) -> Write:
    """Return a function that runs ``assess --page`` and parses the page."""

    def write(memory: Memory, *flags: str) -> Page:
        file = tmp_path / "page.html"
        run(["assess", memory.name, "--page", str(file), "--server", server.address, *flags])
        return Page(file.read_text(encoding="utf-8"))

    return write


def labels(names: tuple[str, str, str] = ("a", "b", "c")) -> list[str]:
    """Return labels of which one in twelve is another class's."""
    return [names[(code + (id in WRONG)) % 3] for id, code in zip(IDS, CODES.tolist(), strict=True)]


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 60 entries of three labels, one in twelve of them wrong, without pictures."""
    crowd = client.create_memory(f"{empty.name}x", dimension=16)
    crowd.insert(vectors=ROWS, labels=labels(), ids=IDS)
    return crowd


@pytest.fixture
def gallery(client: Client, empty: RemoteMemory) -> Memory:
    """The entries of ``crowd``, with pictures for all but one of the suspects."""
    gallery = client.create_memory(f"{empty.name}x", dimension=16, store_images=True)
    images = [None if id == WRONG[1] else to_picture(int(id)) for id in IDS]
    gallery.insert(vectors=ROWS, images=images, labels=labels(), ids=IDS)
    return gallery


def test_every_suspect_is_there_likeliest_first_and_nothing_is_chosen(
    crowd: Memory, write: Write
) -> None:
    found = crowd.assess()

    page = write(crowd)

    assert page.judged == [(each.id, each.label, each.proposed) for each in found.suspects]
    assert sorted(id for id, _, _ in page.judged) == WRONG
    radios = [each for each in page.all("input") if each["type"] == "radio"]
    assert [each["value"] for each in radios] == ["keep", "proposed", "prune", "other"] * len(WRONG)
    assert not any("checked" in each for each in radios)
    for each in found.suspects:
        assert each.reason in page.text
        assert f"score {each.score:.4f}" in page.text


def test_beside_a_suspect_are_the_nearest_entries_of_either_label(
    crowd: Memory, write: Write
) -> None:
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    called = dict(zip(IDS, labels(), strict=True))

    page = write(crowd)

    expected = []
    for id, own, proposed in page.judged:
        order = np.argsort(1 - unit @ unit[IDS.index(id)])
        others = [IDS[row] for row in order if IDS[row] != id][:49]
        for label in (proposed, own):
            expected += [each for each in others if called[each] == label][:3]
    assert page.near == expected


def test_the_summary_is_that_of_the_assessment(crowd: Memory, write: Write) -> None:
    found = crowd.assess()

    page = write(crowd)

    numbers = (found.count, f"{found.accuracy:.2%}", f"{found.calibration_error:.4f}", len(WRONG))
    tiles = re.findall(r"<div class=tile><b>([^<]*)</b>", page.html)
    assert tiles == [*map(str, numbers), str(len(found.conflicts))]
    assert {each["value"] for each in page.all("option")} == {"a", "b", "c"}


def test_conflicting_pairs_may_each_get_the_label_of_the_other(crowd: Memory, write: Write) -> None:
    crowd.insert(vectors=ROWS[:6] + 1e-6, labels=["rare"] * 6, ids=[f"twin{n}" for n in range(6)])
    found = crowd.assess()
    suspects, conflicts = len(found.suspects), found.conflicts

    page = write(crowd)

    pairs = page.judged[suspects:]
    assert pairs[::2] == [(each.ids[0], *each.labels) for each in conflicts]
    assert pairs[1::2] == [(each.ids[1], *reversed(each.labels)) for each in conflicts]
    assert f"{conflicts[0].distance:.4f} apart" in page.text


def test_thin_labels_are_named(crowd: Memory, write: Write) -> None:
    crowd.insert(vectors=CENTRES[:1], labels=["<rare>"], ids=["one"])

    page = write(crowd)

    assert "1 label too thin to trust" in page.text
    assert "<rare> (1)" in page.text


def test_thumbnails_are_shown_where_there_are_any(gallery: Memory, write: Write) -> None:
    page = write(gallery)

    shown = [b64decode(each["src"].partition(",")[2]) for each in page.all("img")]
    stored = {entry.id: entry.thumbnail for entry in gallery.entries(include_thumbnails=True)}
    suspects = [id for id, _, _ in page.judged]
    wanted = [stored[id] for id in (*suspects, *page.near) if stored[id]]
    assert sorted(shown) == sorted(each for each in wanted if each is not None)
    assert page.text.count("no picture") == 1 + page.near.count(WRONG[1])
    assert "--store-images" not in page.text


def test_a_memory_without_pictures_says_how_one_gets_them(crowd: Memory, write: Write) -> None:
    page = write(crowd)

    assert page.all("img") == []
    assert "keeps no pictures" in page.text
    assert "visual-memory create NAME --store-images" in page.text
    assert "--images FOLDER" in page.text


@pytest.fixture
def zoo(client: Client, empty: RemoteMemory, tmp_path: Path) -> Memory:
    """A memory of the pictures in ``zoo``, which are not stored, with two likely wrong labels."""
    draw_pictures(tmp_path)
    zoo = client.create_memory(f"{empty.name}x")
    files = sorted((tmp_path / "zoo").glob("*/*"))
    ids = [file.relative_to(tmp_path / "zoo").as_posix() for file in files]
    zoo.insert(images=files, labels=[file.parent.name for file in files], ids=ids)
    return zoo


def test_pictures_are_taken_from_where_they_are(zoo: Memory, write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    (folder / "dog" / "tom.jpg").unlink()
    (folder / "fox" / "night.jpg").write_bytes(to_picture(1))

    page = write(zoo, "--k", "5", "--images", str(folder))

    ids = {id for id, _, _ in page.judged} | set(page.near)
    assert ids >= {"dog/tom.jpg", "fox/night.jpg"}
    places = len(page.judged) + len(page.near)
    missing = sum(id == "dog/tom.jpg" for id in (*(id for id, _, _ in page.judged), *page.near))
    other = sum(id == "fox/night.jpg" for id in (*(id for id, _, _ in page.judged), *page.near))
    assert page.html.count("<span class=blank>not in the folder</span>") == missing
    assert page.html.count("<span class=blank>not the picture inserted</span>") == other
    assert len(page.all("img")) == places - missing - other
    assert (
        f"Pictures are those in {folder}, by id: {len(ids) - 2} shown, 1 not in the folder, "
        "1 not the picture inserted." in page.text
    )


def test_how_many_pictures_a_folder_has_is_told_and_none_refused(
    command: Run, server: Server, zoo: Memory, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "zoo" / "dog" / "tom.jpg").unlink()
    asked = ("assess", zoo.name, "--server", server.address, "--k", "5", "--page")

    said = refused(command(*asked, "none.html", "--images", "other"))
    done = text(command(*asked, "some.html", "--images", "zoo"))

    assert said.startswith("No picture could be shown. Pictures are those in other, by id: ")
    assert said.endswith(" not in the folder. Name the folder that was inserted.\n")
    assert not (tmp_path / "none.html").exists()
    assert done.startswith("Pictures are those in zoo, by id: ")
    assert ", 1 not in the folder.\n" in done


def test_a_folder_that_is_not_there_is_refused(crowd: Memory, write: Write) -> None:
    with pytest.raises(Refused, match=r"There is no folder nowhere\."):
        write(crowd, "--images", "nowhere")


def test_it_loads_nothing_and_runs_only_its_own_script(gallery: Memory, write: Write) -> None:
    page = write(gallery)

    (policy,) = (each["content"] for each in page.all("meta") if "http-equiv" in each)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    assert rules.pop("img-src") == "data:"
    for kind in ("style", "script"):
        (text,) = re.findall(f"<{kind}>(.*?)</{kind}>", page.html, re.DOTALL)
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert rules == {}
    assert {each["src"].partition(",")[0] for each in page.all("img")} == {"data:image/jpeg;base64"}
    assert [each["href"] for each in page.all("a")] == ["#then"]
    assert not re.search(r"url\(|@import|https?:", page.html)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}


def test_ids_and_labels_are_never_markup(client: Client, empty: RemoteMemory, write: Write) -> None:
    memory = client.create_memory(f"{empty.name}x", dimension=16)
    ids = [HOSTILE[WRONG.index(id)] if id in WRONG else id for id in IDS]
    names = ("<script>alert(2)</script>", '" onclick="alert(2)', "line\nbreak & 'more'")
    memory.insert(vectors=ROWS, labels=labels(names), ids=ids)
    found = memory.assess()

    page = write(memory)

    assert sorted(id for id, _, _ in page.judged) == sorted(HOSTILE)
    assert page.judged == [(each.id, each.label, each.proposed) for each in found.suspects]
    assert (len(page.all("script")), len(page.all("img"))) == (1, 0)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not any("style" in attributes for _, attributes in page.tags)
    assert {each["value"] for each in page.all("option")} == set(names)


@pytest.mark.parametrize("id", ["a\nb", "a\r"])
def test_an_id_that_is_no_line_of_a_file_cannot_be_pruned(
    crowd: Memory, write: Write, id: str
) -> None:
    row = IDS.index(WRONG[0])
    crowd.delete(WRONG)
    crowd.insert(vectors=ROWS[[row]], labels=[labels()[row]], ids=[id])

    page = write(crowd)

    values = [each["value"] for each in page.all("input") if each["type"] == "radio"]
    assert page.judged[0][0] == id
    assert values == ["keep", "proposed", "other"]


def test_a_person_is_not_shown_more_than_can_be_looked_through(
    client: Client, empty: RemoteMemory, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 3, 1000)
    wrong = generator.random(1000) < 0.3
    memory = client.create_memory(f"{empty.name}x", dimension=16)
    memory.insert(
        vectors=CENTRES[codes] + 0.2 * generator.normal(size=(1000, 16)),
        labels=["abc"[code] for code in (codes + wrong) % 3],
    )
    found = memory.assess()
    suspects, conflicts = len(found.suspects), len(found.conflicts)
    assert (suspects > 200, conflicts > 100) == (True, True)

    page = write(memory)

    assert len(page.judged) == 200 + 2 * 100
    assert [id for id, _, _ in page.judged[:200]] == [each.id for each in found.suspects[:200]]
    assert f"These are the likeliest 200 of {suspects}." in page.text
    assert f"These are the nearest 100 of {conflicts:,}." in page.text
    assert f"200 of {suspects} suspects and 100 of {conflicts:,} conflicting pairs of" in (
        capsys.readouterr().out
    )


def test_a_memory_that_agrees_with_itself_has_a_page_that_says_so(
    crowd: Memory, write: Write
) -> None:
    crowd.relabel({id: "abc"[CODES[int(id)]] for id in WRONG}, apply=True)

    page = write(crowd)

    assert page.all("form") == []
    assert "No entry looks mislabelled." in page.text
    assert "No two entries with different labels are at most 0.06 apart." in page.text


def test_the_commands_are_those_of_the_memory(crowd: Memory, write: Write) -> None:
    page = write(crowd)

    assert f"visual-memory relabel {crowd.name} --from relabel.csv --apply" in page.text
    assert f"visual-memory prune {crowd.name} --ids-file prune.txt --apply" in page.text
    assert f"visual-memory undo {crowd.name} OPERATION" in page.text


def test_one_sentence_says_where_it_is_and_what_is_in_it(
    crowd: Memory, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(crowd)

    said = capsys.readouterr()
    assert said.out == (
        f"5 suspects and 0 conflicting pairs of {crowd.name} in {tmp_path / 'page.html'}; "
        "open it in a browser.\n"
    )


def test_with_json_the_assessment_is_printed_too(
    crowd: Memory, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    page = write(crowd, "--json")

    found = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in found["suspects"]] == [id for id, _, _ in page.judged]


def test_a_page_is_overwritten_by_force_only(crowd: Memory, write: Write, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("mine")

    with pytest.raises(Refused, match="exists already; use --force to overwrite it"):
        write(crowd)

    assert file.read_text() == "mine"
    assert write(crowd, "--force").all("form")


def test_a_page_that_cannot_be_written_says_why(
    crowd: Memory, server: Server, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere" / "page.html"

    with pytest.raises(Refused, match=r"There is no folder for .*page\.html"):
        run(["assess", crowd.name, "--page", str(nowhere), "--server", server.address])


def test_a_page_is_not_csv(crowd: Memory, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        write(crowd, "--csv")

    assert ended.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["crowd", "gallery"])
def test_what_went_since_the_assessment_is_left_out(
    request: pytest.FixtureRequest, kind: str
) -> None:
    memory: Memory = request.getfixturevalue(kind)
    memory.insert(vectors=ROWS[:2], labels=["other", "other"], ids=["twin-0", "twin-1"])
    found = memory.assess()
    assert {id for each in found.conflicts for id in each.ids} >= {"twin-0", "twin-1"}
    gone = found.suspects[0].id
    memory.delete([gone, "twin-0"])

    page = Page(to_page(memory, found, []))

    assert [id for id, _, _ in page.judged if id in WRONG] == [
        each.id for each in found.suspects[1:] if each.id in WRONG
    ]
    judged = [id for id, _, _ in page.judged]
    assert "twin-1" in judged
    assert not {gone, "twin-0"} & {*judged}

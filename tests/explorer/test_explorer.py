"""The explorer before a real server, asked as a browser asks it."""

from __future__ import annotations

import http.client
import re
import secrets
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import api_keys
from tests.conftest import SECONDS, Process, Server, to_picture

import visual_memory
from visual_memory import Client
from visual_memory_explorer import maps

HOSTILE = '<script>alert("1")</script>\u202e'
FORM = "application/x-www-form-urlencoded"


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Browser:
    """Keeps a cookie and the secret of the forms, and follows to where it is sent."""

    def __init__(self, address: str) -> None:
        self.address, self.cookie, self.csrf = address, "", ""

    def ask(self, verb: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send one request."""
        sent = {"cookie": self.cookie, "origin": f"http://{self.address}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.address, timeout=SECONDS)
        try:
            connection.request(verb, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """Load a page, and the pages that it leads to at once."""
        return self._follow(self.ask("GET", path))

    def post(self, path: str, **fields: str) -> Answer:
        """Send a form."""
        body = urlencode({"csrf": self.csrf, **fields}).encode()
        return self._follow(self.ask("POST", path, body, content_type=FORM))

    def send(self, path: str, picture: bytes) -> Answer:
        """Send a form with a picture."""
        edge = secrets.token_hex(8)
        parts = [('name="csrf"', self.csrf.encode()), ('name="picture"; filename="a"', picture)]
        body = b"".join(
            f"--{edge}\r\ncontent-disposition: form-data; {name}\r\n\r\n".encode() + data + b"\r\n"
            for name, data in parts
        )
        kind = f"multipart/form-data; boundary={edge}"
        whole = body + f"--{edge}--\r\n".encode()
        return self._follow(self.ask("POST", path, whole, content_type=kind))

    def _follow(self, answer: Answer) -> Answer:
        while answer.status == 303:
            if said := answer.headers.get("set-cookie"):
                self.cookie = said.partition(";")[0]
            answer = self.ask("GET", answer.headers["location"])
        if found := re.search(r'name="csrf" value="([^"]+)"', answer.body.decode("latin-1")):
            self.csrf = unescape(found[1])
        return answer


class Explorer(Process):
    """A ``visual-memory explorer`` process."""

    def __init__(self, server: Server) -> None:
        self.begin("explorer", "--server", server.address)
        self.web = urlsplit(self.address.removeprefix("explorer on ")).netloc

    def browser(self, key: str = "") -> Browser:
        """Return a browser that has logged in."""
        browser = Browser(self.web)
        assert browser.get("/login").status == 200
        if key:
            assert browser.post("/login", key=key).status == 200
        assert browser.get("/verify").status == 200  # for the secret of its form
        return browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("open") / "data", "--erasure", "files")
    yield server
    assert server.end() == 0


@pytest.fixture(scope="module")
def explorer(server: Server) -> Iterator[Explorer]:
    explorer = Explorer(server)
    yield explorer
    assert explorer.end() == 0
    assert "Traceback" not in explorer.last_log


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with visual_memory.connect(server.address) as client:
        yield client


@pytest.fixture
def name(client: Client) -> str:
    """A memory with vectors of two labels, one of them at the wrong place."""
    name = f"m{secrets.token_hex(4)}"
    memory = client.create_memory(name, dimension=2)
    vectors = [[1.0, 0.01 * n] for n in range(4)] + [[0.01 * n, 1.0] for n in range(4)]
    labels = ["cat", "cat", "cat", "dog", "dog", "dog", "dog", "dog"]
    memory.insert(vectors=vectors, labels=labels, ids=[f"e{n}" for n in range(8)])
    return name


def test_all_pages_answer_and_bind_the_browser(explorer: Explorer, name: str) -> None:
    browser = explorer.browser()
    of_memory = (
        "",
        "/entry?id=e0",
        "/decide?entry=e0",
        "/clean",
        "/map",
        "/unlearn",
        "/operations",
    )
    paths = ["/", "/compare", "/verify", f"/memories/{name}/audit?verify=1"]

    for path in [*paths, *(f"/memories/{name}{each}" for each in of_memory)]:
        answer = browser.get(path)
        assert answer.status == 200, path
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert re.findall(r'(?:src|href)="(?:https?:)?//', answer.text) == []
    assert "The log is whole" in browser.get(paths[-1]).text
    assert browser.get("/nowhere").status == 404
    assert browser.get("/memories/none").status == 404


def test_hostile_texts_stay_texts(explorer: Explorer, client: Client, name: str) -> None:
    client.memory(name).insert(vectors=[[0.5, 0.5]], labels=[HOSTILE], ids=[HOSTILE[:-1]])
    browser = explorer.browser()

    for path in ("", f"/entry?id={quote(HOSTILE[:-1])}", "/decide?entry=e0"):
        answer = browser.get(f"/memories/{name}{path}")
        assert answer.status == 200
        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;" in answer.text


def test_forms_of_other_sites_are_refused(explorer: Explorer, client: Client, name: str) -> None:
    browser = explorer.browser()
    path = f"/memories/{name}/relabel"
    mine = urlencode({"csrf": browser.csrf, "id": "e0", "label": "bird"}).encode()
    forged = urlencode({"csrf": "guessed", "id": "e0", "label": "bird"}).encode()

    assert browser.ask("POST", path, forged, content_type=FORM).status == 403
    for origin in ("http://evil.example", "null"):
        refused = browser.ask("POST", path, mine, content_type=FORM, origin=origin)
        assert refused.status == 403
    assert browser.ask("GET", "/", host="evil.example").status == 421
    browser.cookie = ""
    assert browser.ask("POST", path, mine, content_type=FORM).status == 303  # to the log-in
    assert client.memory(name).get("e0").label == "cat"


def test_a_label_is_set_and_undone(explorer: Explorer, client: Client, name: str) -> None:
    browser = explorer.browser()
    said = browser.post(f"/memories/{name}/relabel", id="e3", label="cat").text
    operation = re.search(r'name="operation" value="([^"]+)"', said)
    assert operation is not None
    assert client.memory(name).get("e3").label == "cat"

    browser.post(f"/memories/{name}/undo", operation=operation[1])
    assert client.memory(name).get("e3").label == "dog"


def test_a_question_writes_nothing_until_it_is_done_for_real(
    explorer: Explorer, client: Client, name: str
) -> None:
    browser, memory = explorer.browser(), client.memory(name)
    digest = memory.info().digest
    asked = f"/memories/{name}/decide?entry=e0&k=3&without=e1&label:e2=bird"
    assert "with your changes" in browser.get(asked).text
    again = urlencode({"csrf": browser.csrf, "entry": "e0", "without": "e1", "label:e2": "bird"})
    sent = browser.ask(
        "POST", f"/memories/{name}/decide/again", again.encode(), content_type=FORM
    ).headers["location"]
    assert browser.csrf not in sent
    assert "with your changes" in browser.get(sent).text
    assert memory.info().digest == digest

    browser.post(f"/memories/{name}/decide/apply", entry="e0", without="e1", **{"label:e2": "bird"})
    assert memory.get("e1").pruned_by
    assert memory.get("e2").label == "bird"


def test_somebody_elses_change_is_seen(explorer: Explorer, client: Client, name: str) -> None:
    one, other = explorer.browser(), explorer.browser()
    page = one.get(f"/memories/{name}").text
    state = re.search(r'hx-get="([^"]+/state[^"]+)"', page)
    assert state is not None
    assert one.get(unescape(state[1])).status == 204

    other.post(f"/memories/{name}/relabel", id="e0", label="dog")
    assert "Somebody changed this memory" in one.get(unescape(state[1])).text


def test_an_unlearning_is_counted_certified_and_verified(
    explorer: Explorer, client: Client, name: str
) -> None:
    browser = explorer.browser()
    assert "1 entry" in browser.post(f"/memories/{name}/unlearn", ids="e0\ngone").text
    assert client.memory(name).info().count == 8
    browser.post(f"/memories/{name}/unlearn/begin", ids="e0\ngone")
    (operation,) = client.operations(name)
    client.wait(operation.name)

    found = browser.get(f"/certificate?operation={quote(operation.name, safe='')}")
    assert found.status == 200
    assert found.headers["content-disposition"].startswith("attachment")
    assert "e0</bdi></b> is one of them" in browser.post("/verify", text=found.text, id="e0").text
    assert "is none of them" in browser.post("/verify", text=found.text, id="e1").text
    broken = found.text.replace(f'"{name}"', '"another"')
    assert browser.post("/verify", text=broken, id="").status == 400


def test_suspects_are_judged_in_one_step(explorer: Explorer, client: Client, name: str) -> None:
    memory = client.memory(name)
    found = memory.assess()
    browser = explorer.browser()
    assert browser.get(f"/operation?name={quote(found.operation, safe='')}").status == 200

    ours = {"operation": found.operation, "from": "0"}
    kept = {"id-1": "e0", "choice-1": "keep", "id-2": "e1", "choice-2": "prune"}
    set_ = {"id-3": "e3", "choice-3": "proposed", "proposed-3": "cat"}
    browser.post(f"/memories/{name}/clean/judged", **ours, **kept, **set_)
    labels = [memory.get(id).label for id in ("e0", "e3")]
    assert labels == ["cat", "cat"]
    assert memory.get("e1").pruned_by


def test_bad_input_is_told_and_changes_nothing(
    explorer: Explorer, client: Client, name: str
) -> None:
    browser, digest = explorer.browser(), client.memory(name).info().digest
    assert "k must be a whole number" in browser.get(f"/memories/{name}/decide?entry=e0&k=x").text
    for data in (b"<svg onload='x()'/>", b"\0" * (10 << 20), b""):
        refused = browser.send(f"/memories/{name}/decide", data)
        assert refused.status == 400
        assert "picture" in refused.text
    for path, fields in {
        "relabel": {"id": "e0", "label": " "},
        "clean/prune": {"method": "all"},
        "unlearn": {"ids": ""},
    }.items():
        assert browser.post(f"/memories/{name}/{path}", **fields).status == 400
    assert client.memory(name).info().digest == digest


def test_a_picture_is_decided_and_seen_by_its_sender_alone(
    explorer: Explorer, client: Client
) -> None:
    name = f"m{secrets.token_hex(4)}"
    memory = client.create_memory(name, embedder="efficientnet-lite0")
    memory.insert(images=[to_picture(1), to_picture(2)], labels=["one", "two"], ids=["1", "2"])
    browser = explorer.browser()

    page = browser.send(f"/memories/{name}/decide", to_picture(1, format="WEBP", lossless=True))
    assert page.status == 200
    assert "one" in page.text
    shown = re.search(r'src="(/picture\?[^"]+)"', page.text)
    assert shown is not None
    picture = browser.get(unescape(shown[1]))
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.body.startswith(b"\xff\xd8")
    assert explorer.browser().get(unescape(shown[1])).status == 410


def test_a_map_follows_labels_and_deletions_and_ends_with_an_unlearning(
    explorer: Explorer, client: Client, name: str
) -> None:
    browser, memory = explorer.browser(), client.memory(name)
    of = f"/memories/{name}/map"
    assert browser.get(f"{of}/points").status == 404
    browser.post(of)
    until(lambda: browser.get(f"{of}/points").status == 200)
    before = points(browser, of)
    assert len(before) == 8
    assert len(np.unique(before["label"])) == 2

    memory.relabel({"e0": "bird"}, apply=True)
    memory.prune(method="ids", ids=["e1"], apply=True)
    memory.delete(["e7"])
    memory.insert(vectors=[[1.0, 1.0]], labels=["cat"], ids=["e7"])  # another entry
    after = points(browser, of)
    assert (after[["x", "y"]][:7] == before[["x", "y"]][:7]).all()
    assert len(np.unique(after["label"][:7])) == 3
    assert after["state"].tolist() == [maps.VOTES, maps.PRUNED, *5 * [maps.VOTES], maps.GONE]
    assert (after[["x", "y", "label"]][7]).tolist() == (0, 0, 0)
    assert "1 entry came and 1 went" in browser.get(of).text
    assert "bird" in browser.get(f"{of}/point?n=0").text
    assert browser.get(f"{of}/point?n=7").status == 404
    assert browser.get(f"{of}/point?n=8").status == 400

    browser.post(f"/memories/{name}/unlearn/begin", ids="e2")
    assert browser.get(f"{of}/points").status == 404


def test_a_map_shows_the_suspects_of_the_last_assessment(
    explorer: Explorer, client: Client, name: str
) -> None:
    browser, found = explorer.browser(), client.memory(name).assess()
    of = f"/memories/{name}/map"
    browser.post(of)
    until(lambda: browser.get(f"{of}/points").status == 200)
    trouble = points(browser, of)["trouble"]
    assert {f"e{n}" for n in np.flatnonzero(trouble)} == {each.id for each in found.suspects}


def points(browser: Browser, of: str) -> NDArray[np.void]:
    """Load the points of a map."""
    return np.frombuffer(browser.get(f"{of}/points").body, maps.POINT)


def test_a_key_gives_its_own_rights_and_a_revoked_one_none(tmp_path: Path) -> None:
    data = tmp_path / "data"
    writer = api_keys.add(data, "ann", "admin")
    reader = api_keys.add(data, "ben", "read")
    server = Server(data)
    explorer = Explorer(server)
    with visual_memory.connect(server.address, api_key=writer) as client:
        memory = client.create_memory("pets", dimension=2)
        memory.insert(vectors=[[1.0, 0.0]], labels=["cat"], ids=["e0"])

    stranger = Browser(explorer.web)
    assert "API key" in stranger.get("/memories/pets").text
    assert stranger.post("/login", key="vm_wrong").status == 401
    browser = explorer.browser(reader)
    assert browser.get("/memories/pets").status == 200
    assert browser.post("/memories/pets/relabel", id="e0", label="dog").status == 403
    api_keys.revoke(data, "ben")
    until(lambda: "API key" in browser.get("/memories/pets").text)
    assert explorer.end() == 0
    assert server.end() == 0


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, and fail if it takes too long."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)

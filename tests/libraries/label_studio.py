"""A memory as the backend of a real Label Studio: ``make label-studio``."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Process, Server

import visual_memory
import visual_memory_service.demo as demo
from visual_memory import Memory

PHOTOGRAPHS = Path(demo.__file__).with_name("caltech101")
PROGRAM = os.environ.get("LABEL_STUDIO") or shutil.which("label-studio")
CONFIG = """<View><Image name="image" value="$picture"/>
<Choices name="kind" toName="image"><Choice value="bonsai"/><Choice value="laptop"/></Choices>
</View>"""
START_SECONDS = 240


class Studio:
    """A Label Studio with one user, asked by its API."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None, "Set LABEL_STUDIO to the program label-studio."
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.token = f"http://127.0.0.1:{port}", secrets.token_hex(20)
        command = [PROGRAM, "start", "--no-browser", "--internal-host", "127.0.0.1"]
        command += ["--port", str(port), "--data-dir", str(folder)]
        command += ["--username", "a@example.org", "--password", "passphrase"]
        command += ["--user-token", self.token]
        environment = {
            "USE_DEFAULT_BANNED_SUBNETS": "false",  # the backend is on this machine
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LATEST_VERSION_CHECK": "false",
            "COLLECT_ANALYTICS": "false",
            "SENTRY_DSN": "",
        }
        self._log = open(folder / "log", "w+")  # noqa: SIM115  # closed in ``end``
        self._process = subprocess.Popen(
            command, env=os.environ | environment, stdout=self._log, stderr=self._log
        )
        until(self._answers, START_SECONDS)

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Label Studio has ended"
        try:
            self.ask("GET", "/api/projects/")
        except OSError:
            return False
        return True

    def ask(self, verb: str, path: str, body: object = None) -> Any:
        """Send a request, and return what is answered."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=verb)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{verb} {path}: {error.code} {error.read()!r}") from None

    def upload(self, project: int, path: Path) -> int:
        """Import a picture, and return the number of its task."""
        edge = secrets.token_hex(8)
        head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"'
        whole = f"{head}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + path.read_bytes()
        request = urllib.request.Request(
            f"{self.url}/api/projects/{project}/import",
            whole + f"\r\n--{edge}--\r\n".encode(),
            {
                "Authorization": f"Token {self.token}",
                "Content-Type": f"multipart/form-data; boundary={edge}",
            },
        )
        before = {task["id"] for task in self.tasks(project)}
        urllib.request.urlopen(request, timeout=60).close()
        (new,) = {task["id"] for task in self.tasks(project)} - before
        return int(new)

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """Return the tasks of a project."""
        found: list[dict[str, Any]] = self.ask("GET", f"/api/tasks/?project={project}")["tasks"]
        return found


class Backend(Process):
    """A ``visual-memory label-studio`` process."""

    def __init__(self, server: Server, memory: Memory, studio: Studio, token: Path) -> None:
        token.chmod(0o600)
        options = ["--server", server.address, "--listen", "127.0.0.1:0"]
        self.begin(
            "label-studio", memory.name, *options, "--url", studio.url, "--token-file", token
        )
        self.url = self.address.removeprefix("backend of Label Studio on ")


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition, and fail if it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    studio = Studio(tmp_path_factory.mktemp("studio"))
    yield studio
    studio.end()


@pytest.fixture
def memory(server: Server) -> Iterator[Memory]:
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("labelled", embedder="efficientnet-lite0")
        for label in ("bonsai", "laptop"):
            pictures = sorted((PHOTOGRAPHS / label).iterdir())[:5]
            memory.insert(pictures, labels=[label] * 5)
        yield memory
        client.delete_memory("labelled")


@pytest.mark.parametrize("personal", [True, False])
def test_tasks_are_prelabelled_and_annotations_become_entries(
    studio: Studio, server: Server, memory: Memory, tmp_path: Path, personal: bool
) -> None:
    token = tmp_path / "token"
    token.write_text(studio.ask("POST", "/api/token/")["token"] if personal else studio.token)
    backend = Backend(server, memory, studio, token)
    project = studio.ask("POST", "/api/projects/", {"title": "pictures", "label_config": CONFIG})[
        "id"
    ]
    connected = {"url": backend.url, "project": project, "title": "visual memory"}
    studio.ask("POST", "/api/ml/", connected)
    task = studio.upload(project, sorted((PHOTOGRAPHS / "laptop").iterdir())[6])

    # A prediction before any annotation.
    studio.ask(
        "POST",
        f"/api/dm/actions/?id=retrieve_tasks_predictions&project={project}",
        {
            "project": project,
            "selectedItems": {"all": True, "excluded": []},
        },
    )
    until(lambda: bool(studio.ask("GET", f"/api/predictions/?task={task}")))
    (predicted,) = studio.ask("GET", f"/api/predictions/?task={task}")
    assert predicted["result"][0]["value"]["choices"] == ["laptop"]
    assert predicted["score"] > 0.5
    assert predicted["model_version"].startswith("labelled ")

    # A submitted annotation inserts.
    id = f"label-studio/{project}/{task}"
    choice = {"from_name": "kind", "to_name": "image", "type": "choices"}
    body = {"result": [{**choice, "value": {"choices": ["bonsai"]}}]}
    annotation = studio.ask("POST", f"/api/tasks/{task}/annotations/", body)["id"]
    until(lambda: id in memory)
    assert memory.get(id).label == "bonsai"

    # A changed one relabels, a deleted one goes.
    body = {"result": [{**choice, "value": {"choices": ["laptop"]}}]}
    studio.ask("PATCH", f"/api/annotations/{annotation}/", body)
    until(lambda: memory.get(id).label == "laptop")
    studio.ask("DELETE", f"/api/annotations/{annotation}/")
    until(lambda: id not in memory)
    assert len(memory) == 10

    # What is claimed by somebody else is not stored.
    forged = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": project},
        "task": {"id": task},
        "annotation": {"id": 7, "result": body["result"]},
    }
    request = urllib.request.Request(f"{backend.url}/webhook", json.dumps(forged).encode())
    urllib.request.urlopen(request).close()
    time.sleep(2)
    assert id not in memory
    assert backend.end() == 0
    assert "Traceback" not in backend.last_log

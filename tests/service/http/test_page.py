"""What docs/api/http.md says is so: each line of curl is run as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import to_picture
from tests.web import WebServer

from visual_memory.scopes import CALLS, SCOPES
from visual_memory_service.http.bodies import JSON_BYTES_MAX
from visual_memory_service.http.routes import make_routes

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "api" / "http.md").read_text()
SHOWN = "127.0.0.1:8080"  # the address in the page


def test_the_table_has_every_call_by_http() -> None:
    told = [line for line in PAGE.splitlines() if line.startswith("| `") and "/v1/" in line]

    assert told == [
        f"| `{route.verb} {route.template}` | {route.call} | "
        + ", ".join(f"`{scope}`" for scope in SCOPES if scope in CALLS[route.call].scopes)
        + " |"
        for route in make_routes()
    ]


def test_the_largest_body_is_what_the_page_says() -> None:
    assert f"of {JSON_BYTES_MAX >> 20} MiB at most" in PAGE


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_line_of_curl_runs(tmp_path: Path) -> None:
    web = WebServer(tmp_path / "data")
    for seed, name in enumerate(("cat.png", "dog.png")):
        (tmp_path / name).write_bytes(to_picture(seed))
    answers = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.replace(SHOWN, web.web)],
            cwd=tmp_path,
            env={**os.environ, "VISUAL_MEMORY_API_KEY": "no-matter"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        answers += [json.loads(line) for line in done.stdout.replace("}{", "}\n{").splitlines()]

    assert not [each for each in answers if "code" in each and each["code"] != 14]
    decided = [each["decisions"][0]["label"] for each in answers if "decisions" in each]
    assert decided == ["cat", "red"]
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    assert (certificate["count"], certificate["found"]) == (1, 0)
    assert web.end() == 0

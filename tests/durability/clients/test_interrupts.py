"""Ctrl-C at random moments, again and again, in a client with threads: nothing hangs or fails.

``make durability`` interrupts 300 times in each of 20 runs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import folder_in_ram
from tests.durability.clients import interrupted

if TYPE_CHECKING:
    from tests.conftest import Start

RUNS = int(os.environ.get("INTERRUPT_RUNS", "1"))
INTERRUPTS = int(os.environ.get("INTERRUPTS", "30"))


def test_however_often_a_client_is_interrupted_no_call_hangs(start: Start) -> None:
    for _ in range(RUNS):
        with folder_in_ram() as folder:
            config = Path(folder) / "config.toml"
            config.write_text(f"items_max = {interrupted.ENTRIES}\n")
            server = start(Path(folder) / "data", "--config", str(config))
            arguments = [server.address, folder, INTERRUPTS, random.randrange(1 << 32)]

            ended = subprocess.run(
                [sys.executable, interrupted.__file__, *map(str, arguments)],
                capture_output=True,
                text=True,
            )

            assert ended.returncode == 0, f"{arguments}:\n{ended.stderr}"
            assert sum(json.loads(ended.stdout)["done"].values()) > 0
            server.end()

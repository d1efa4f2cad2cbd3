"""Records of visited states, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from visual_memory_benchmarks.edits.edit import Edit
from visual_memory_benchmarks.edits.states import State
from visual_memory_benchmarks.errors import BadFile, OtherRun

States: TypeAlias = Mapping[tuple[int, Edit], State]  # by seed and edit


class Records:
    """A file of JSON lines: the parameters of a study, then the ``State`` of each edited memory.

    A line cut short by a kill is dropped. Raises OtherRun if the file has other parameters than
    ``study``, BadFile if it has another format.
    """

    def __init__(self, path: Path, study: Mapping[str, Any]) -> None:
        self._path = path
        self.states: dict[tuple[int, Edit], State] = {}
        wanted = json.loads(json.dumps(study))
        lines = list(self._whole_lines())
        if not lines:
            self._append({"study": wanted})
            return
        try:
            found = lines[0]["study"]
            states = [_to_state(line) for line in lines[1:]]
        except (KeyError, TypeError) as error:
            raise BadFile(path, f"is no record of states ({error})", "remove it") from None
        if differing := [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]:
            raise OtherRun(path, [f"other {key}" for key in differing])
        self.states = {(state.seed, state.edit): state for state in states}

    def add(self, state: State) -> None:
        """Append a measured memory to the file and to ``states``."""
        self._append({**state.to_json(), "answers": state.answers})
        self.states[state.seed, state.edit] = state

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def _whole_lines(self) -> Iterator[Any]:
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        try:
            yield from map(json.loads, whole.splitlines())
        except (ValueError, RecursionError) as error:
            raise BadFile(self._path, f"is no JSON lines ({error})", "remove it") from None


def _to_state(line: Mapping[str, Any]) -> State:
    return State(
        seed=line["seed"],
        edit=Edit(line["kind"], line["dose"]),
        size=line["size"],
        voting=line["voting"],
        digest=line["digest"],
        answers={int(k): answers for k, answers in line["answers"].items()},
    )

"""Datasets before FiftyOne's own importer and exporter, which need no database: ``make fiftyone``.

Written with the client, read with FIFTYONE, a Python that has the library.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
from tests.conftest import to_picture

from visual_memory import Decision, Neighbors, fiftyone

PYTHON = os.environ["FIFTYONE"]
IMPORT = """
import json, sys
import fiftyone.utils.data as data
importer = data.FiftyOneImageClassificationDatasetImporter(sys.argv[1])
with importer:
    found = [(path, label.label, label.confidence, label.to_dict()) for path, _, label in importer]
print(json.dumps(found, default=str))
"""
EXPORT = """
import sys
import fiftyone as fo, fiftyone.utils.data as data
exporter = data.FiftyOneImageClassificationDatasetExporter(
    sys.argv[1], export_media=True, include_confidence=True, include_attributes=True)
with exporter:
    for path, label in zip(sys.argv[2::2], sys.argv[3::2]):
        exporter.export_sample(path, fo.Classification(label=label, confidence=0.5, place="yard"))
"""


def run(script: str, *arguments: object) -> str:
    """Run a script with FiftyOne, outside of any folder whose names could hide its modules."""
    command = [PYTHON, "-c", script, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def test_what_is_written_is_imported(tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    picture.write_bytes(to_picture(0))
    neighbors = Neighbors(
        ids=["a/b"], labels=["cat"], distances=np.array([0.25]), weights=np.array([1.0])
    )
    decision = Decision("cat", 0.75, {"cat": 1.0}, neighbors)
    fiftyone.write_decisions(tmp_path / "set", [picture], [decision])
    ((path, label, confidence, all_of_it),) = json.loads(run(IMPORT, tmp_path / "set"))
    assert (path, label, confidence) == (str(picture), "cat", 0.75)
    assert all_of_it["nearest"] == "a/b"
    assert all_of_it["distance"] == 0.25


def test_what_it_exports_is_read(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        (tmp_path / f"{name}.png").write_bytes(to_picture(number))
    run(EXPORT, tmp_path / "set", tmp_path / "one.png", "cat", tmp_path / "two.png", "dog")
    items = list(fiftyone.read(tmp_path / "set"))
    assert [(item.id, item.label, item.metadata) for item in items] == [
        ("one", "cat", {"place": "yard"}),
        ("two", "dog", {"place": "yard"}),
    ]

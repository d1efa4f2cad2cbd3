"""The package is light to import, and exports what it says."""

import subprocess
import sys

import visual_memory_embedders

HEAVY = ("onnx", "onnxruntime", "torch", "timm", "open_clip")


def test_importing_the_package_loads_no_library_that_runs_networks() -> None:
    script = f"import sys, visual_memory_embedders; print([m for m in {HEAVY} if m in sys.modules])"

    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert answer.stdout.split() == [b"[]"]


def test_the_exports_are_there_each_once() -> None:
    exports = visual_memory_embedders.__all__

    assert len(exports) == len(set(exports))
    assert all(hasattr(visual_memory_embedders, name) for name in exports)

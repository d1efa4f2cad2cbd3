"""Build the wheel, and try it in fresh environments of every Python that is there.

In each: ``pip check``, a server that answers over gRPC and HTTP, and the client alone with the size
of its environment. Then the steps of ``deploy/Dockerfile`` in a plain folder. By ``make wheel``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ASK = """
import sys, numpy as np, visual_memory
with visual_memory.connect(sys.argv[1]) as client:
    memory = client.create_memory("pets", dimension=4)
    memory.insert(vectors=np.eye(4), labels=list("abcd"))
    print(visual_memory.__version__, memory.classify(vectors=np.eye(4)[2:3], k=1)[0].label)
"""


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command, and return its output."""
    texts = list(map(str, command))
    return subprocess.run(texts, check=True, cwd=cwd, stdout=subprocess.PIPE, text=True).stdout


def environment(python: str, folder: Path, *wanted: object) -> Path:
    """Make an environment with what is wanted, and return its folder of programs."""
    run(python, "-m", "venv", folder)
    binaries = folder / "bin"
    run(binaries / "python", "-m", "pip", "install", "--quiet", *wanted)
    print("   ", run(binaries / "python", "-m", "pip", "check").strip())
    return binaries


def runs(python: str) -> bool:
    """Return True if a program is there, and no shim of pyenv for one that is not chosen."""
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "--version"], capture_output=True).returncode == 0


def megabytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 20


def serves(binaries: Path, work: Path, asking: Path) -> None:
    """Start a server, ask it over gRPC by another environment, and over HTTP."""
    command = [binaries / "visual-memory", "serve", "--data", work / "data"]
    listen = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    server = subprocess.Popen(
        [*map(str, command), *listen], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    try:
        address, web = (server.stdout.readline().split()[-1] for _ in range(2))
        print("    gRPC:", run(asking / "python", "-c", ASK, address).strip())
        body = json.dumps({"vectors": [[0, 0, 1, 0]], "k": 1}).encode()
        request = urllib.request.Request(
            f"http://{web}/v1/memories/pets:classify", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            print("    HTTP:", json.load(answer)["decisions"][0]["label"])
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        server.stdout.close()


def container_steps(work: Path) -> None:
    """Do in a plain folder what ``deploy/Dockerfile`` copies and runs, but for its user."""
    text = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    build, app = work / "build", work / "app"
    build.mkdir()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, build / target, dirs_exist_ok=True)
            else:
                (build / target).mkdir(exist_ok=True)
                shutil.copy(ROOT / source, build / target)
    (step,) = re.findall(r"^RUN (python -m venv .+)$", text, re.MULTILINE)
    step = step.replace("/app", str(app)).replace("${EXTRA}", "cpu")
    run("sh", "-euc", step.replace("python -m venv", f"{sys.executable} -m venv"), cwd=build)
    print("   ", run(app / "bin" / "python", "-m", "pip", "check").strip())
    serves(app / "bin", work, app / "bin")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pythons", nargs="*", default=[], help="programs beside python3.N")
    options = parser.parse_args()
    found = [python for version in PYTHONS if runs(python := f"python{version}")]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", work, ROOT)
        (wheel,) = work.glob("*.whl")
        print(f"{wheel.name}: {wheel.stat().st_size >> 10} KiB")
        for python in [*found, *options.pythons]:
            version = run(python, "--version").strip()
            print(version)
            place = work / version.replace(" ", "-")
            server = environment(python, place / "server", f"{wheel}[cpu,http,telemetry]")
            client = environment(python, place / "client", wheel)
            print(f"    the client: {megabytes(place / 'client')} MB with pip")
            serves(server, place, client)
            shutil.rmtree(place)
        print("the container's steps")
        container_steps(work)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

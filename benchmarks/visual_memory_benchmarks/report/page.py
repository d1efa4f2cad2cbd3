"""The page: every section, with the origin of its numbers."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from visual_memory_benchmarks.edits.edit import KINDS
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.report.findings import EXPERIMENTS as FOLDER
from visual_memory_benchmarks.report.findings import RUNS, Findings, Json
from visual_memory_benchmarks.report.markdown import bullets, listed, paragraph, table
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.section import Section
from visual_memory_benchmarks.report.sections import SECTIONS
from visual_memory_benchmarks.report.seeds import SEEDS, answers

PAGE = "results.md"
PICTURES = "pictures/results"
DIGEST = 12  # characters that are shown

READING = (
    "A value stands with its 95 % interval in brackets. What was drawn again for it (pictures, or "
    "seeds that deal pictures out anew) is said below each result; where two values are compared "
    "on the same pictures, the interval is of their difference.",
    "BCa is the bias-corrected and accelerated interval (Efron, 1987): draws of a square, of κ or "
    "of a share near 0 or 1 do not scatter evenly about the value, and percentiles of them would "
    "be off. Means over seeds have Student’s t. Where all pictures are right, or none is, draws "
    "tell nothing, and an interval is a point.",
    "Below each result stand its seed papers, by their numbers in the list of seed papers, the "
    "command that makes it, its parameters, and the digest of the memory: equal digests mean equal "
    "decisions. All states of a memory have their digests in the linked file.",
    "Where a row is marked as published it was copied, all others were computed from trials.",
    "“Human-level” is not said of anything here: several measures stand side by side, and none of "
    "them alone says that something sees as people do (seeds 13 and 22).",
)
OUTDATED = (
    "**Of earlier code:** what makes these figures was changed since they were measured, and the "
    "command above gives others."
)
MAY = (
    "May: κ, accuracy and shape bias on cue-conflict, edge and silhouette, for people, networks "
    "and memories answered the same pictures, and are compared picture by picture.",
    "May: the course over levels of a distortion, and what changes when a memory is edited, for "
    "that is compared with itself.",
    "May not: a picture distorted here with any that people saw, or a level of it beyond its rough "
    "height. The photographs are others, and so are the people's hard ones.",
    "May not: mosaic, stickers and frost with published rows, for tiles and crystals are others; "
    "ImageNet-C and LAION-C with published rows, for pictures and labels are others. How far each "
    "distortion is from the released code is in [distortions.md](distortions.md).",
    "May not: accuracy on natural16 with anything but accuracy on natural16. Parts of it are of "
    "the training set of the embedders, which flatters all of them.",
)


def write(results: Path, people: Path, out: Path) -> Path:
    """Write the page and its pictures into ``out``; return the page's path.

    ``results`` is the --out folder of runs and experiments; ``people`` has tables in ``human`` and
    ``model``. A section without results names the command that measures it. Raises BadFile,
    BadTrials, NoTrials, MissingData, MissingExtra.
    """
    text, pictures = compose(results, people, out)
    folder = out / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        picture.save(folder)
    path = out / PAGE
    path.write_text(text, encoding="utf-8")
    return path


def compose(results: Path, people: Path, out: Path) -> tuple[str, list[Picture]]:
    """Return the page's text and its pictures, without writing them."""
    blocks = list(_blocks(Findings.read(results, people), os.path.relpath(results, out)))
    pictures = [block for block in blocks if isinstance(block, Picture)]
    texts = [each.to_markdown(PICTURES) if isinstance(each, Picture) else each for each in blocks]
    return "\n\n".join(texts) + "\n", pictures


def _blocks(findings: Findings, link: str) -> Iterator[str | Picture]:
    shown = link.replace("../", "", 1)
    yield "# Results"
    yield paragraph(
        "Does a memory see as people do, and do edits change that? This page is written by "
        f"`visual-memory-bench report` from the files in `{shown}` and the tables of "
        "people; no number on it was typed by hand. `make report` measures all of it anew, `make "
        "report-page` writes the page again."
    )
    yield "## How to read it"
    yield bullets(READING)
    if findings.records:
        yield _memories(findings)
    yield "## What may be compared"
    yield bullets(MAY)
    yield "## Seed papers and where they are answered"
    yield table(
        ("seed", "paper", "where"),
        [(seed, title, ", ".join(answers(SECTIONS, seed))) for seed, title in SEEDS.items()],
    )
    for section in SECTIONS:
        yield f"## {section.title}"
        if not all(map(findings.has, section.needs)):
            yield paragraph(f"Not among these results; `{section.command}` measures it.")
            continue
        yield from section.write(findings)
        yield bullets(_origin(section, findings, link))


def _memories(findings: Findings) -> str:
    """Describe the memories that answered the published pictures."""
    rows: dict[str, Sequence[object]] = {}
    for record in findings.records:
        memory, parameters = record["memory"], record["parameters"]
        rows[record["maker"]] = (
            record["maker"],
            (memory["embedder"] or {}).get("name", "vectors"),
            f"{memory['count']:,}",
            parameters["k"],
            parameters["voting"],
            f"`{record['memory']['digest'][:DIGEST]}`",
        )
    header = ("memory in tables and plots", "embedder", "entries", "k", "voting", "digest")
    return table(header, [rows[name] for name in findings.memories])


def _origin(section: Section, findings: Findings, link: str) -> list[str]:
    """Return lines on the origin of a section's numbers: papers, command, parameters, intervals.

    ``link`` is the path from the page to the folder of results.
    """
    seeds = listed([str(seed) for seed in section.papers])
    lines = [f"Seed{'s' * (len(section.papers) > 1)} {seeds}. Made by `{section.command}`."]
    for name in section.needs:
        if name == RUNS:
            lines += _of_runs(findings, link)
        elif "study" in findings.results[name]:
            lines += _of_study(name, findings.results[name], link)
        else:
            lines += _of_experiment(name, findings.results[name], link)
    return lines


def _of_experiment(name: str, result: Json, link: str) -> list[str]:
    design = " ".join((inspect.getdoc(EXPERIMENTS[name].function) or "").split()).replace("``", "`")
    embedders = listed([each["name"] for each in result["embedders"]])
    return [
        *[OUTDATED] * (result["intervals"] != EXPERIMENTS[name].intervals),
        f"{design} {_parameters(result['parameters'])}. Sets {listed(list(result['data']))}; "
        f"embedded by {embedders}. {_states(result['states'])} "
        f"All of it: [{name}.json]({link}/{FOLDER}/{name}.json).",
        f"Intervals: {result['intervals']}.",
        f"Comparison: {result['comparison']}",
    ]


def _of_study(name: str, result: Json, link: str) -> list[str]:
    study, states = result["study"], result["states"]
    before = {str(row["seed"]): row["digest"] for row in states if row["kind"] == "nothing"}
    controls = {edit["kind"]: edit["control"] for edit in result["edits"]}
    return [
        *[OUTDATED] * any(KINDS[kind].control != each for kind, each in controls.items()),
        f"Voting {study['voting']}, k = {listed([str(k) for k in study['ks']])}, embedded by "
        f"{study['sources']['embedder']['name']}, server {study['server_version']}. "
        f"{len(states):,} states of {len(before)} memories, each with its digest; before any edit "
        f"seed 0 is `{before['0'][:DIGEST]}`. "
        f"All of it: [{name}.json]({link}/{FOLDER}/{name}.json).",
        "Intervals: 95 %, seeds and items drawn again at once (pigeonhole bootstrap), which errs "
        "on the wide side.",
    ]


def _of_runs(findings: Findings, link: str) -> list[str]:
    servers = sorted({start["server_version"] for r in findings.records for start in r["starts"]})
    seeds = sorted({record["seed"] for record in findings.records})
    resampling = findings.summary["resampling"]
    links = [
        f"[{path.name}]({link}/{path.parent.name}/{path.name})"
        for name in sorted({record["benchmark"] for record in findings.records})
        for path in sorted((findings.folder / name).glob("*.csv"))[:1]
    ]
    return [
        f"Trials and records of every run lie beside {listed(links)}; "
        f"server {listed(servers)}, "
        f"seed {listed([str(seed) for seed in seeds])}; digests in the table at the top.",
        f"Intervals: 95 %, BCa bootstrap over pictures ({resampling['resamples']:,} draws), "
        "the same for all who answered them; people and memories are taken as given.",
    ]


def _parameters(parameters: Mapping[str, Any]) -> str:
    lines = []
    for name, value in parameters.items():
        text = value if isinstance(value, str) else _values(value)
        lines.append(f"{name.replace('_', ' ')} {text}")
    return f"Parameters: {'; '.join(lines)}" if lines else "No parameters"


def _values(value: Any) -> str:
    """Format a parameter as text: long lists by their length, None as all."""
    match value:
        case dict():
            return ", ".join(f"{key} {_values(each)}" for key, each in value.items())
        case list() if len(value) > 12:
            return f"all {len(value)}"
        case list():
            return ", ".join(
                " ".join(map(str, each)) if isinstance(each, list) else str(each) for each in value
            )
        case None:
            return "all"
        case _:
            return str(value)


def _states(states: Mapping[str, str]) -> str:
    first, digest = next(iter(states.items()))
    shown = f"`{digest[:DIGEST]}` ({first})"
    if len(states) == 1:
        return f"State {shown}."
    return f"{len(states):,} states, the first {shown}."

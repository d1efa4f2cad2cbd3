"""Write the tables of docs/performance.md from what was measured of this service and its peers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engines import ENGINES
from one import WORKLOADS

from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, logarithmic

ROOT = Path(__file__).parents[2]
PAGE, RESULTS = ROOT / "docs" / "performance.md", ROOT / "benchmarks" / "results" / "peers.json"
PICTURES = "pictures/performance"  # below the page
BEGIN, END = "<!-- peers -->\n", "<!-- /peers -->\n"
BASE = "100000 768"
LARGE = "1000000 768"
RATES = (1, 10, 100, 1000)
CALLS_MIN = 100  # of which the slowest hundredth is told

Found = dict[str, Any]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float | None) -> str:
    """Return a number with three significant digits or, from a hundred on, as an integer."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def gone(found: Found) -> str:
    """Say whether the bytes of a deleted vector are gone from the files."""
    if "deletes" not in found:
        return "–"
    if found["residue"] is False:
        return "yes"
    if found["residue"] is None:
        return "not as float32"
    return "compacted, yes" if found.get("residue compacted") is False else "no"


def durable(name: str, found: Found) -> str:
    """Say what an insertion has done when it returns, with the fsyncs that strace counted."""
    if ENGINES[name].in_ram:
        return "in RAM"
    syncs = found["syncs"]
    if syncs is None:
        return "not known"
    return f"{syncs:.1f} fsyncs a batch" if syncs else "no fsync"


def times(result: Found) -> str:
    """Return the middle and the slowest hundredth, in milliseconds, the latter of many calls."""
    slowest = number(result["p99"]) if result["calls"] >= CALLS_MIN else "–"
    return f"{number(result['p50'])}, {slowest}"


def measured(kept: dict[str, Found], size: str) -> dict[str, Found]:
    """Return what was measured at a size, by engine, this service first."""
    return {name: kept[f"{name} {size}"] for name in ENGINES if f"{name} {size}" in kept}


def quickest(runs: Sequence[Found]) -> Found:
    """Return the run with most queries a second, with all that was found once alone."""
    best = max(runs, key=lambda each: each.get("workloads", {}).get("base", each)["qps"])
    return runs[0] | best


def overview(kept: dict[str, Found]) -> str:
    header = [
        "",
        "queries/s",
        "p50, p99 in ms",
        "recall",
        "16 clients",
        "inserts/s",
        "an insertion",
    ]
    header += ["deletes/s", "bytes gone", "RAM, MB", "disk, MB", "start, s"]
    rows = []
    for name, found in measured(kept, BASE).items():
        base, many = found["workloads"]["base"], found["workloads"]["16 clients"]
        rows.append(
            [
                f"{name} {found['version']}",
                number(base["qps"]),
                times(base),
                "1" if base["recall"] == 1 else f"{base['recall']:.4f}",
                number(many["qps"]),
                number(found["inserts"] if is_told(name, "inserts") else None),
                durable(name, found),
                number(found.get("deletes")),
                gone(found),
                number(found["ram"]),
                number(found["disk"]),
                number(found["start"]),
            ]
        )
    return table(header, rows)


def factors(kept: dict[str, Found]) -> str:
    names = [work.name for work in WORKLOADS]

    def qps(found: Found, name: str) -> str:
        result = found["mixed"] if name == "mixed" else found["workloads"].get(name)
        return number(result["qps"]) if result else "–"

    rows = [
        [name, *(qps(found, work) for work in names), number(found.get("mixed", {}).get("qps"))]
        for name, found in measured(kept, BASE).items()
    ]
    return table(["queries/s", *names, "mixed calls"], rows)


def sizes(kept: dict[str, Found]) -> str:
    shown = ["10000 768", BASE, LARGE, "100000 384", "100000 1280"]
    header = [f"{int(rows):,} × {size}" for rows, size in (each.split() for each in shown)]

    def cell(name: str, size: str, read: Callable[[Found], float]) -> str:
        found = kept.get(f"{name} {size}")
        return number(read(found)) if found else ""

    def both(name: str, size: str) -> str:
        one = cell(name, size, lambda found: found["workloads"]["base"]["qps"])
        many = cell(name, size, lambda found: found["workloads"]["16 clients"]["qps"])
        return f"{one}, {many}" if one else ""

    rows = [[name, *(both(name, size) for size in shown)] for name in ENGINES]
    return table(["queries/s of 1, 16 clients", *header], rows)


def large(kept: dict[str, Found]) -> str:
    header = ["", "inserts/s", "deletes/s", "RAM, MB", "disk, MB", "start, s"]
    keys = ("inserts", "deletes", "ram", "disk", "start")
    rows = [
        [name, *(number(found.get(key) if is_told(name, key) else None) for key in keys)]
        for name, found in measured(kept, LARGE).items()
    ]
    return table(header, rows)


def is_told(name: str, key: str) -> bool:
    """Return True unless it is the rate of insertion into an array."""
    return key != "inserts" or ENGINES[name].collections


def small(kept: dict[str, Found]) -> str:
    header = ["", "ms to make one", "queries/s", "p99, ms", "RAM, MB", "files open", "disk, MB"]
    rows = [
        [
            name,
            *(number(found[key]) for key in ("made", "qps", "p99", "ram", "files", "disk")),
        ]
        for name, found in measured(kept, "small").items()
    ]
    return table(header, rows)


def asked(found: Found, work: str) -> float | None:
    """Return the queries a second of a workload, if it was asked."""
    result = found["workloads"].get(work)
    return result["qps"] if result else None


def dotted(name: str, engines: Sequence[str], rates: Mapping[str, dict[str, float]]) -> Picture:
    """Plot queries a second: a line for each of the ``engines``, a mark for each series."""

    def draw(canvas: Canvas) -> None:
        axes = canvas.figure.subplots()
        for label, look in canvas.series(list(rates)):
            places = [engines.index(engine) for engine in rates[label]]
            axes.plot(list(rates[label].values()), places, label=label, **look.dotted)
        axes.set_yticks(range(len(engines)), engines)
        logarithmic(axes, RATES)
        axes.set_xlabel("queries/s")
        canvas.legend_below(axes, len(rates))

    told = (
        f"{label}: " + ", ".join(f"{engine} {number(each[engine])}" for engine in reversed([*each]))
        for label, each in rates.items()
    )
    return Picture(name, f"Queries a second. {'; '.join(told)}.", (7.0, 3.8), draw)


def rates_of(kept: dict[str, Found], size: str, work: str) -> dict[str, float]:
    """Return queries a second of a workload at a size, by engine, the least first."""
    found = {name: asked(each, work) for name, each in measured(kept, size).items()}
    known = {name: rate for name, rate in found.items() if rate is not None}
    return dict(sorted(known.items(), key=lambda each: each[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    flags = parser.parse_args()
    runs: dict[str, list[Found]] = json.loads(flags.results.read_text())
    kept = {key: quickest(each) for key, each in runs.items()}
    settings = {
        (each.get("machine"), each.get("seconds")) for found in runs.values() for each in found
    }
    if len(settings) > 1:
        sys.exit(f"these cannot stand in one table: {settings}; run all.py again")
    ((machine, seconds),) = settings
    folder = flags.page.parent / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    clients = {"one client": "base", "16 clients": "16 clients"}
    entries = {"1,000,000 entries": LARGE, "100,000": BASE, "10,000": "10000 768"}
    by_clients = {label: rates_of(kept, BASE, work) for label, work in clients.items()}
    by_entries = {label: rates_of(kept, size, "base") for label, size in entries.items()}
    pictures = [
        dotted("engines", [*by_clients["16 clients"]], by_clients),
        dotted("sizes", [*by_entries["100,000"]], by_entries),
    ]
    for picture in pictures:
        picture.save(folder)
    shown = [f"{each.to_markdown(PICTURES)}\n" for each in pictures]
    text = "\n".join(
        [
            f"{machine}; {seconds:g} s of each; 100,000 × 768, k = 10, one client, one query a "
            f"call; the quicker of {len(runs[f'{next(iter(ENGINES))} {BASE}'])} runs:\n",
            shown[0],
            overview(kept),
            "The same, one thing changed at a time; of the mixed calls a fifth write or delete:\n",
            factors(kept),
            "Other sizes:\n",
            shown[1],
            sizes(kept),
            "1,000,000 × 768:\n",
            large(kept),
            "A thousand collections of 100 entries on one server, or in one process, each call to "
            "another one (this service has all open that were asked in the last minute):\n",
            small(kept),
        ]
    )
    page = flags.page.read_text()
    if BEGIN not in page or END not in page:
        sys.exit(f"{flags.page} has no {BEGIN.strip()} and {END.strip()} to write between")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    flags.page.write_text(before + BEGIN + text + END + after)


if __name__ == "__main__":
    main()

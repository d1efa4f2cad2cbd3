"""Tables of the rows of compare.py: each method by cell, and its lead over the best rival.

Rivals are the classifiers of scikit-learn, or the methods that --rivals says.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rows import Cell, Row, read

MEASURES: Mapping[str, Callable[[Row], float | None]] = {
    "accuracy": lambda row: row.accuracy,
    "macro": lambda row: row.macro,
    "rare": lambda row: row.rare,
    "log loss": lambda row: row.log_loss,
}
LESS_IS_BETTER = {"log loss"}
TRAINED = ("logistic", "ridge", "nearest centroid", "k-NN")  # begin names of classifiers
TOLERATED = 0.01  # by which a method may be behind, or by one standard error

Rivals = tuple[str, ...]  # how the names of methods begin that leads are over
BySeed = Mapping[int, float]
Table = Mapping[Cell, Mapping[str, BySeed]]  # by cell, by method


def table(rows: Sequence[Row], measure: str) -> Table:
    """Return what was measured in each cell, by method and seed."""
    found: dict[Cell, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        value = MEASURES[measure](row)
        if value is not None:
            found[row.cell][row.method][row.seed] = value
    return found


def common(found: Table, methods: Sequence[str], rivals: Rivals) -> Table:
    """Keep the seeds of each cell with rows of all ``methods`` and all rivals, so all are paired.

    While a comparison runs, methods that were added to it later lack some.
    """
    names = {name for by_method in found.values() for name in by_method}
    needed = {name for name in names if name in methods or name.startswith(rivals)}
    kept = dict[Cell, dict[str, BySeed]]()
    for cell, by_method in found.items():
        seeds = set.intersection(*(set(by_method.get(name, {})) for name in needed))
        of_seeds = {
            name: {seed: value for seed, value in by_seed.items() if seed in seeds}
            for name, by_seed in by_method.items()
        }
        if seeds:
            kept[cell] = {name: by_seed for name, by_seed in of_seeds.items() if by_seed}
    return kept


def mean_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error over seeds, NaN for one seed."""
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return float(np.mean(values)), error


def leads(ours: BySeed, theirs: BySeed) -> list[float]:
    """Return the paired differences of the seeds that both have."""
    return [ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))]


def best_rival(methods: Mapping[str, BySeed], rivals: Rivals, sign: int) -> str | None:
    """Return the rival with the best mean in a cell, None where none was run yet."""
    means = {
        name: sign * np.mean(list(of.values()))
        for name, of in methods.items()
        if name.startswith(rivals)
    }
    return max(means, key=means.__getitem__, default=None)


def shown(values: Sequence[float], pattern: str) -> str:
    mean, error = mean_error(values)
    return f"{mean:{pattern}} ± {error:.3f}"


def is_behind(differences: Sequence[float], sign: int) -> bool:
    """Return True if a mean is behind by more than TOLERATED and by more than its error."""
    mean, error = mean_error([sign * each for each in differences])
    return mean < -TOLERATED and not -mean <= error


def write(*row: str) -> None:
    print("| " + " | ".join(row) + " |")


def named(cell: Cell) -> str:
    noise = "clean" if cell.noise == "none" else f"{100 * cell.share:.0f} % {cell.noise}"
    return f"{cell.per_label} a label, {cell.ratio}:1, {noise}"


def of_cells(found: Table, measure: str, methods: Sequence[str], rivals: Rivals) -> None:
    """Print a table for each configuration: cells down, methods across, with their leads."""
    sign = -1 if measure in LESS_IS_BETTER else 1
    for configuration in dict.fromkeys(cell.configuration for cell in found):
        print(f"\n{configuration}: {measure}, and in brackets the lead over the best rival\n")
        write("cell", "seeds", "best rival", *methods)
        write(*["---"] * (3 + len(methods)))
        for cell, by_method in found.items():
            best = best_rival(by_method, rivals, sign)
            if cell.configuration != configuration or best is None:
                continue
            entries = []
            for method in methods:
                differences = leads(by_method.get(method, {}), by_method[best])
                if not differences:
                    entries.append("")
                    continue
                mark = "**" if is_behind(differences, sign) else ""
                mean = np.mean(list(by_method[method].values()))
                entries.append(f"{mean:.3f} ({mark}{shown(differences, '+.3f')}{mark})")
            scores = list(by_method[best].values())
            write(named(cell), f"{len(scores)}", f"{best}: {shown(scores, '.3f')}", *entries)


def of_methods(found: Table, measure: str, rivals: Rivals) -> None:
    """Print one line for each method: its mean over cells, and in how many cells it is behind."""
    sign = -1 if measure in LESS_IS_BETTER else 1
    methods = dict.fromkeys(name for by_method in found.values() for name in by_method)
    print(f"\nAll cells: {measure}, and the lead over the best rival of each cell\n")
    write("method", "cells", "mean", "mean lead", "worst lead", "in", "behind in")
    write(*["---"] * 7)
    for method in methods:
        lead_of, values, behind = dict[Cell, float](), list[float](), 0
        for cell, by_method in found.items():
            best = best_rival(by_method, rivals, sign)
            if best is None or method not in by_method:
                continue
            differences = leads(by_method[method], by_method[best])
            if differences:
                lead_of[cell] = float(np.mean(differences))
                values.append(float(np.mean(list(by_method[method].values()))))
                behind += is_behind(differences, sign)
        if lead_of:
            worst = min(lead_of, key=lambda cell: sign * lead_of[cell])
            write(
                method,
                f"{len(values)}",
                f"{np.mean(values):.3f}",
                f"{np.mean(list(lead_of.values())):+.3f}",
                f"{lead_of[worst]:+.3f}",
                f"{worst.configuration}: {named(worst)}",
                f"{behind}",
            )


def of_kinds(found: Table, measure: str, methods: Sequence[str], rivals: Rivals) -> None:
    """Print means over the cells of one configuration, ratio and noise: methods across."""
    sign = -1 if measure in LESS_IS_BETTER else 1
    kinds = defaultdict[tuple[str, str], list[Cell]](list)
    for cell in found:
        kinds[cell.configuration, kind(cell)].append(cell)
    print(f"\n{measure}, means over 5, 20 and 100 entries a label where there are as many\n")
    write("vectors", "labels", "best rival of each", *methods)
    write(*["---"] * (3 + len(methods)))
    for (configuration, name), cells in kinds.items():
        bests = {cell: best_rival(found[cell], rivals, sign) for cell in cells}
        whole = [
            cell for cell in cells if bests[cell] and all(each in found[cell] for each in methods)
        ]
        if whole:
            scores = [[mean_of(found[cell][each]) for each in methods] for cell in whole]
            rival = np.mean([mean_of(found[cell][bests[cell] or ""]) for cell in whole])
            entries = [f"{mean:.3f}" for mean in np.mean(scores, axis=0).tolist()]
            write(configuration, name, f"{rival:.3f}", *entries)


def kind(cell: Cell) -> str:
    return named(cell).partition(", ")[2]


def mean_of(by_seed: BySeed) -> float:
    return float(np.mean(list(by_seed.values())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, nargs="+", default=[Path("benchmark-runs/compare.csv")])
    parser.add_argument("--measure", choices=MEASURES, default="accuracy")
    parser.add_argument("--methods", nargs="*", default=[], help="a table of cells with these")
    parser.add_argument("--rivals", nargs="+", default=TRAINED, help="how their names begin")
    parser.add_argument("--vectors", default="", help="cells whose configuration has this in it")
    arguments = parser.parse_args()
    rivals = tuple(arguments.rivals)
    rows = [row for csv in arguments.csv for row in read(csv)]
    rows = [row for row in rows if arguments.vectors in row.cell.configuration]
    found = common(table(rows, arguments.measure), arguments.methods, rivals)
    of_methods(found, arguments.measure, rivals)
    if arguments.methods:
        of_kinds(found, arguments.measure, arguments.methods, rivals)
        of_cells(found, arguments.measure, arguments.methods, rivals)
    print(
        "\nMeans over seeds ± one standard error of the paired difference. Bold, and counted as "
        f"behind: by more than {TOLERATED} and by more than one standard error (none for one seed)."
    )


if __name__ == "__main__":
    main()

"""Tables of trials in the CSV format of the model-vs-human toolbox (also gzipped), and Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np

from visual_memory.files import whole_file
from visual_memory.terminal.refused import MissingExtra
from visual_memory_benchmarks.errors import BadFile, BadTrials, NoTrials
from visual_memory_benchmarks.files.folder import files_below
from visual_memory_benchmarks.trials.datasets import ALL, DATASETS, Dataset
from visual_memory_benchmarks.trials.trials import COLUMNS, Trials, check, is_person

HEADER = (
    "subj",
    "session",
    "trial",
    "rt",
    "object_response",
    "category",
    "condition",
    "imagename",
)
SUFFIXES = (".csv", ".csv.gz")
PARQUET = ".parquet"
# In the published tables of 2018 two networks of one name differ by this start of the file's name.
CAFFE = "caffe_"
NAN = ("", "nan")
NAME = re.compile(r"\w[\w.+-]*")
ARROW = {"sessions": "int64", "numbers": "int64", "seconds": "float64"}


def read(paths: Sequence[Path], dataset: Dataset) -> Trials:
    """Read tables (.csv, .csv.gz, .parquet) of one dataset, in the order given.

    Raises BadTrials with file and line, BadFile.
    """
    tables = [Table(path) for path in paths]
    starts = list(accumulate((len(table.lines) for table in tables), initial=0))

    def place(row: int) -> str:
        at = bisect_right(starts, row) - 1
        return tables[at].place(row - starts[at])

    columns = [
        list(chain.from_iterable(table.columns[at] for table in tables))
        for at in range(len(HEADER))
    ]
    return check(_typed(columns, dataset, place), place)


class Table:
    """A file of trials: its columns as text, in the order of ``HEADER``, and the rows' places."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unit = "row" if path.suffix == PARQUET else "line"
        read_file = _parquet if path.suffix == PARQUET else _csv
        header, self.lines, columns = read_file(path)
        names = [name.strip().lower() for name in header]
        if unknown := sorted(set(names) - set(HEADER)):
            self._refuse(f"unknown columns {', '.join(unknown)}")
        if missing := [name for name in HEADER if name not in names]:
            self._refuse(f"the columns {', '.join(missing)} are missing")
        if len(names) != len(HEADER):
            self._refuse("a column comes twice")
        if not self.lines:
            raise BadFile(path, "no trials", "finish the run, or remove the file")
        self.columns = [columns[names.index(name)] for name in HEADER]
        if path.name.startswith(CAFFE):
            self.columns[0] = [f"caffe-{name}" for name in self.columns[0]]

    def place(self, row: int) -> str:
        """Return the file and the line of a row, for messages."""
        return f"{self.path}, {self._unit} {self.lines[row]}"

    def _refuse(self, problem: str) -> None:
        place = f"{self.path}, line 1" if self._unit == "line" else str(self.path)
        raise BadTrials(place, problem, f"the columns are {','.join(HEADER)}")


def _csv(path: Path) -> tuple[list[str], list[int], list[list[str]]]:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadFile(path, f"cannot be read ({error})", "fetch or write it again") from None
    try:
        reader = csv.reader(io.StringIO(text, newline=""))
        found = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise BadFile(path, f"is no table ({error})", "fetch or write it again") from None
    if not found:
        raise BadFile(path, "the file is empty", "finish the run, or remove the file")
    (_, header), *rows = found
    for line, row in rows:
        if len(row) != len(header):
            problem = f"{len(row)} fields where the header has {len(header)}"
            raise BadTrials(f"{path}, line {line}", problem, "complete or remove it")
    columns = [list(column) for column in zip(*(row for _, row in rows), strict=True)]
    return header, [line for line, _ in rows], columns


def _parquet(path: Path) -> tuple[list[str], list[int], list[list[str]]]:
    arrow = pyarrow_library()
    try:
        table = arrow.parquet.read_table(path)
    except (OSError, arrow.ArrowException) as error:
        raise BadFile(path, f"cannot be read ({error})", "fetch or write it again") from None
    columns = [["" if each is None else str(each) for each in c.to_pylist()] for c in table.columns]
    return table.column_names, list(range(1, table.num_rows + 1)), columns


def _typed(columns: Sequence[list[str]], dataset: Dataset, place: Callable[[int], str]) -> Trials:
    """Convert the text columns of a table to trials, with numbers and canonical condition tokens.

    Unknown tokens are kept for ``check``; ``place`` names the place of a row. Raises BadTrials for
    a number that cannot be parsed.
    """
    makers, sessions, numbers, seconds, responses, categories, tokens, names = columns
    canonical = {token: dataset.canonical(token) or token for token in set(tokens)}
    return Trials(
        dataset=dataset,
        makers=np.array(makers, np.str_),
        sessions=np.array(list(_numbers(_whole, sessions, "session", place)), np.int64),
        numbers=np.array(list(_numbers(_whole, numbers, "trial", place)), np.int64),
        seconds=np.array(list(_numbers(_seconds, seconds, "rt", place)), np.float64),
        responses=np.array(responses, np.str_),
        categories=np.array(categories, np.str_),
        conditions=np.array([canonical[token] for token in tokens], np.str_),
        names=np.array(names, np.str_),
    )


def _numbers(
    kind: Callable[[str], float], column: list[str], name: str, place: Callable[[int], str]
) -> Iterator[float]:
    for row, text in enumerate(column):
        try:
            yield kind(text)
        except ValueError:
            raise BadTrials(place(row), f"{name} is {text!r}", "write a number") from None


def _whole(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 63:
        raise ValueError(text)
    return number


def _seconds(text: str) -> float:
    return np.nan if text.lower() in NAN else float(text)


def file_name(dataset: str, maker: str, session: int) -> str:
    """Return a file's name as model-vs-human has it; dashes replace underscores of the maker."""
    joint = "_" if is_person(maker) else "-"
    return f"{dataset}_{maker.replace('_', '-')}_session{joint}{session}.csv"


def write(folder: Path, trials: Trials) -> list[Path]:
    """Write a CSV file for each decision maker and session, in ``folder``/DATASET.

    A file is written atomically and replaces an older one. Condition tokens are canonical. Raises
    BadTrials if a maker's name cannot be part of a file name, or two files would have one name.
    """
    place = folder / trials.dataset.name
    parts: dict[Path, Trials] = {}
    for maker in np.unique(trials.makers).tolist():
        if not NAME.fullmatch(maker):
            remedy = "use letters, digits, and . _ + - after the first"
            raise BadTrials("the trials to write", f"{maker!r} is no part of a file name", remedy)
        for session in np.unique(trials.sessions[trials.makers == maker]).tolist():
            path = place / file_name(trials.dataset.name, maker, session)
            if path in parts:
                problem = f"{maker} would be written over {parts[path].makers[0]}"
                raise BadTrials(str(path), problem, "rename one of them")
            parts[path] = trials.where((trials.makers == maker) & (trials.sessions == session))
    place.mkdir(parents=True, exist_ok=True)
    for path, part in parts.items():
        _replace(path, _text(part).encode())
    return list(parts)


def _text(trials: Trials) -> str:
    tokens = np.where(trials.conditions == ALL, "0", trials.conditions).tolist()
    seconds = ["NaN" if np.isnan(each) else repr(each) for each in trials.seconds.tolist()]
    columns = {name: getattr(trials, name).tolist() for name in COLUMNS}
    columns |= {"seconds": seconds, "conditions": tokens}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def write_parquet(path: Path, trials: Trials) -> None:
    """Write all trials to one Parquet file, with the CSV's columns typed. Raises MissingExtra."""
    arrow = pyarrow_library()
    table = arrow.table(
        {
            header: arrow.array(getattr(trials, name).tolist(), ARROW.get(name, "string"))
            for header, name in zip(HEADER, COLUMNS, strict=True)
        }
    )
    buffer = io.BytesIO()
    arrow.parquet.write_table(table, buffer)
    _replace(path, buffer.getvalue())


def _replace(path: Path, data: bytes) -> None:
    with whole_file(path, overwrite=True) as file:
        file.write(data)


def pyarrow_library() -> Any:
    """Import the library that reads and writes Parquet. Raises MissingExtra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", extra="parquet", purpose="A Parquet file") from None
    return pyarrow


def find(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Find the CSV tables below some folders; the folder that holds a table names its dataset.

    Paths are given by dataset, in the order of the datasets, then sorted. Raises NoTrials,
    BadFile.
    """
    found: dict[str, list[Path]] = {name: [] for name in DATASETS}
    for path in sorted(set(_files(folders))):
        try:
            name = path.resolve(strict=True).parent.name
        except OSError as error:
            raise BadFile(path, f"cannot be read ({error.strerror})", "remove the link") from None
        if name in found:
            found[name].append(path)
    if not any(found.values()):
        raise NoTrials(
            f"No table of trials (*.csv, *.csv.gz) lies in {', '.join(map(str, folders))}: a table "
            f"belongs into a folder that is named as its dataset is, one of {', '.join(DATASETS)}."
        )
    return {name: paths for name, paths in found.items() if paths}


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            yield from (path for path in files_below(folder) if path.name.endswith(SUFFIXES))

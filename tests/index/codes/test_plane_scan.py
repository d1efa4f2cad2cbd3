"""The nearest rows are always among the candidates, whatever was added, removed and asked."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.index.codes.pairs import KINDS, vectors
from tests.index.codes.replica import bounds, one_of

from visual_memory_index import unit_rows
from visual_memory_index.codes import plane_scan
from visual_memory_index.codes.bound import reach
from visual_memory_index.codes.codes import Codes, Digits, Rotation, encode, to_digits
from visual_memory_index.codes.groups import GROUP
from visual_memory_index.codes.plane_scan import Crowded, PlaneScan
from visual_memory_index.codes.planes import Planes
from visual_memory_index.rows.distances import exact_distances

EDITS = int(os.environ.get("EDITS", "120"))  # of memories, each followed by searches
SEED = int(os.environ.get("EDITS_SEED", "0"))
EDITS_OF_ONE = 40  # then another memory begins
ROWS_MAX = 400
FEATURES = Path(__file__).resolve().parents[4] / "shared/data/reference_embeddings_lite0.npz"
ROOMS = ((4096, 256, 1 << 22, 256), (16, 16, 1 << 22, 256), (16, 16, 64, 256), (16, 16, 256, 5))
CONSTANTS = ("ROOM_MIN", "ROOM_EACH", "KEPT_MAX", "QUERIES_MAX")  # of the rooms
REACH_ROUNDING = np.float32(2.5e-7)  # of what a scan needs in float32
NUMBERS = (1, 17, 64)  # of queries

Floats = NDArray[np.float32]
Bits = NDArray[np.uint16]
ONE, THREE = ThreadPoolExecutor(1), ThreadPoolExecutor(3)


class Edited:
    """Planes that are edited, beside the vectors that they should hold."""

    def __init__(self, rng: np.random.Generator, d: int) -> None:
        self.rng, self.d, self.rotation = rng, d, Rotation(d)
        self.planes = Planes(d, int(rng.choice([16, 48, 4096])))
        self.vectors = np.empty((0, d), np.float32)
        self.scans = (PlaneScan(self.planes, 1), ONE), (PlaneScan(self.planes, 3), THREE)

    def some(self, n: int) -> Floats:
        """Return unit vectors: of one kind, near to rows, rows themselves, or their opposites."""
        rng, m = self.rng, len(self.vectors)
        if m and rng.random() < 0.6:
            near = self.vectors[rng.integers(m, size=n)] * rng.choice([1, 1, 1, -1], (n, 1))
            by = 10.0 ** rng.uniform(-10, 0) * rng.standard_normal((n, self.d)) / np.sqrt(self.d)
            return unit_rows((near + rng.choice([0, 1, 1]) * by).astype(np.float32))
        return vectors(rng, n, self.d, str(rng.choice(sorted(KINDS))), self.rotation)

    def edit(self) -> None:
        """Append some rows, or remove some, in one of many patterns."""
        rng, m = self.rng, len(self.vectors)
        if m == 0 or (m < ROWS_MAX and rng.random() < 0.55):
            n = int(rng.choice([1, 2, 15, 16, 17, 33, 100]))
            came = self.some(n) if rng.random() < 0.8 else np.repeat(self.some(1), n, axis=0)
            self.planes.reserve(m + int(rng.integers(2 * n)))
            self.planes.append(came)
            self.vectors = np.concatenate([self.vectors, came])
            return
        first, n = int(rng.integers(m)), int(rng.choice([1, 2, 16, 17, 60]))
        gone = {
            "one": np.array([first]),
            "together": np.arange(first, min(m, first + n)),
            "the first": np.arange(min(m, n)),
            "the last": np.arange(max(0, m - n), m),
            "apart": np.arange(first % 3, m, 3),
            "here and there": np.flatnonzero(rng.random(m) < 0.1),
            "all": np.arange(m),
            "none": np.arange(0),
        }
        chances = np.array([6, 4, 2, 2, 1, 3, 0.5, 0.5])
        rows = gone[str(rng.choice(list(gone), p=chances / chances.sum()))]
        self.planes.remove(rows)
        self.vectors = without(self.vectors, rows)

    def check_codes(self) -> None:
        """Compare all codes with those of the vectors, and with zeros where no vector is."""
        m, planes = len(self.vectors), self.planes
        assert planes.count == m
        codes = encode(self.rotation(self.vectors)) if m else None
        room = len(planes.blocks) * planes.block_rows
        assert room >= m
        if not planes.blocks:
            return
        upper = np.concatenate([each.upper.transpose(0, 2, 1, 3) for each in planes.blocks])
        lower = np.concatenate([each.lower for each in planes.blocks])
        groups = np.concatenate([each.numbers for each in planes.blocks])
        numbers = groups.transpose(1, 0, 2).reshape(len(groups[0]), room)
        flat = upper.reshape(room, -1)
        assert not flat[m:].any()
        assert not lower[m:].any()
        assert not numbers[:, m:].any()
        if codes is not None:
            assert flat[:m].tobytes() == codes.upper.tobytes()
            assert lower[:m].tobytes() == codes.lower.tobytes()
            assert numbers[:, :m].tobytes() == codes.numbers.tobytes()

    def check_candidates(self, queries: Floats, ks: list[int], admitted: Bits | None) -> None:
        """Compare candidates with all exact distances, and with the bounds of all codes."""
        m, found = len(self.vectors), list[list[NDArray[np.intp]]]()
        for scan, threads in self.scans:
            found.append(scan.candidates(queries, ks, admitted, threads))
        among = np.arange(m)
        if admitted is not None:
            among = np.flatnonzero(np.unpackbits(admitted.view(np.uint8), bitorder="little")[:m])
        turned = self.rotation(queries)
        digits, codes = to_digits(turned), encode(self.rotation(self.vectors))
        for number, (query, k) in enumerate(zip(queries, ks, strict=True)):
            exact = exact_distances(query, self.vectors)
            furthest = np.sort(exact[among])[min(k, len(among)) - 1] if len(among) else 0
            nearest = set(among[exact[among] <= furthest].tolist())
            alone = to_digits(
                turned[:, number : number + 1]
            )  # as it is asked where rows are crowded
            certain, possible = self.expected(codes, one_of(digits, number), k, among)
            certain_alone, possible_alone = self.expected(codes, alone, k, among)
            for each in (one[number] for one in found):
                assert (np.diff(each) > 0).all()
                rows = set(each.tolist())
                assert nearest <= rows
                assert certain & certain_alone <= rows <= possible | possible_alone

    def expected(
        self, codes: Codes, query: Digits, k: int, among: NDArray[np.intp]
    ) -> tuple[set[int], set[int]]:
        """Return the rows that both halves leave among the k nearest, and those that wholes do.

        The first without those within ``REACH_ROUNDING`` of the limit.
        """
        scores, errors = bounds(codes, query)
        half, whole = ((scores[each] + errors[each])[among] for each in (0, 1))
        lowers = np.sort((scores[1] - errors[1])[among])[::-1]
        lowest = float(lowers[k - 1]) if k <= len(among) else -np.inf
        needed = np.float32(reach(lowest, float(query.margins[0])))
        possible = whole >= needed
        certain = np.minimum(half, whole) >= needed + REACH_ROUNDING
        return set(among[certain].tolist()), set(among[possible].tolist())

    def check_reaching(self, queries: Floats) -> None:
        """All rows are found whose products reach their floors, and none far below."""
        m = len(self.vectors)
        products = queries.astype(np.float64) @ self.vectors.T.astype(np.float64)
        at = products[self.rng.integers(len(queries), size=m), np.arange(m)].astype(np.float32)
        kinds = self.rng.random(m)
        floors = np.where(kinds < 0.1, np.inf, np.where(kinds < 0.2, -np.inf, at))
        floors = floors.astype(np.float32)
        digits, codes = to_digits(self.rotation(queries)), encode(self.rotation(self.vectors))
        for scan, threads in self.scans:
            for number, rows in enumerate(scan.reaching(queries, floors, threads)):
                own = one_of(digits, number)
                scores, errors = bounds(codes, own)
                possible = (scores[1] + errors[1]) >= floors - digits.margins.max()
                assert (np.diff(rows) > 0).all()
                assert set(np.flatnonzero(products[number] > floors + 1e-7)) <= set(rows)
                assert set(rows) <= set(np.flatnonzero(possible))


def without(rows: Floats, gone: NDArray[np.intp]) -> Floats:
    """Remove rows one way: the last that stay take the places of those that go, in order."""
    left, went = len(rows) - len(gone), set(gone.tolist())
    movers = iter([row for row in range(left, len(rows)) if row not in went])
    order = [next(movers) if row in went else row for row in range(left)]
    return rows[order]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give each thread some rows, few as they are."""
    monkeypatch.setattr(plane_scan, "PART_ROWS_MIN", GROUP)
    return monkeypatch


def test_the_nearest_are_candidates_after_each_edit(small_parts: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(SEED)
    asked = 0
    for number in range(EDITS):
        if number % EDITS_OF_ONE == 0:
            memory = Edited(rng, int(rng.choice([1, 2, 3, 8, 9, 16, 31, 64, 100, 300])))
        memory.edit()
        memory.check_codes()
        m = len(memory.vectors)
        if not m:
            continue
        for name, value in zip(CONSTANTS, ROOMS[rng.integers(len(ROOMS))], strict=True):
            small_parts.setattr(plane_scan, name, value)
        n = int(rng.choice(NUMBERS, p=(0.5, 0.35, 0.15)))
        choices = [1, 2, 7, 20, m, m + 1]
        ks = [int(k) for k in rng.choice(choices, n, p=(0.4, 0.2, 0.15, 0.15, 0.05, 0.05))]
        admitted = None
        if rng.random() < 0.5:
            bits = np.zeros(-(-m // GROUP) * GROUP, dtype=bool)
            bits[:m] = rng.random(m) < rng.choice([0, 0.05, 0.5, 0.95])
            admitted = np.packbits(bits, bitorder="little").view("<u2")
        memory.check_candidates(memory.some(n), ks, admitted)
        for name, value in zip(CONSTANTS, ROOMS[0], strict=True):
            small_parts.setattr(plane_scan, name, value)
        memory.check_reaching(memory.some(int(rng.integers(1, 20))))
        asked += n
    print(f"{asked} queries over memories edited {EDITS} times")


def test_a_room_that_is_full_grows_for_one_query_and_is_refused_to_several(
    small_parts: pytest.MonkeyPatch,
) -> None:
    for name, value in zip(CONSTANTS, ROOMS[2], strict=True):
        small_parts.setattr(plane_scan, name, value)
    memory = Edited(np.random.default_rng(0), 9)
    crowd = np.repeat(unit_rows(np.ones((1, 9), np.float32)), 500, axis=0)
    memory.planes.append(crowd)
    scan = PlaneScan(memory.planes, 3)

    (alone,) = scan.reaching(crowd[:1], np.zeros(500, np.float32), THREE)
    with pytest.raises(Crowded):
        scan.reaching(crowd[:2], np.zeros(500, np.float32), THREE)
    together = scan.candidates(crowd[:5], [1, 2, 3, 500, 501], None, THREE)

    assert alone.tolist() == list(range(500))
    assert [each.tolist() for each in together] == 5 * [list(range(500))]


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [2, 16, 17, 32, 33, 49, 64])
def test_threads_with_queries_of_their_own_leave_none_out(threads: int, n: int) -> None:
    rng = np.random.default_rng(n)
    planes, m = Planes(32), plane_scan.PART_ROWS_MIN + 100
    rows = unit_rows(rng.standard_normal((m, 32)).astype(np.float32))
    planes.append(rows)
    queries, ks = unit_rows(rows[:n] + np.float32(0.1)), [1 + at % 7 for at in range(n)]

    with ThreadPoolExecutor(threads) as executor:
        found = PlaneScan(planes, threads).candidates(queries, ks, None, executor)

    for query, k, near in zip(queries, ks, found, strict=True):
        exact = exact_distances(query, rows)
        assert set(np.flatnonzero(exact <= np.sort(exact)[k - 1])) <= set(near)
        assert len(near) < m / 4


def test_traces_are_pieces_of_a_code_and_of_a_turned_vector() -> None:
    rows = unit_rows(np.random.default_rng(3).standard_normal((1100, 100)).astype(np.float32))
    planes = Planes(100, 48)
    planes.append(rows)
    turned = planes.rotation(rows)
    codes = encode(turned)

    traces, held = list(planes.traces(rows[:70])), planes.codes(np.arange(1100))

    assert traces[0::3] == [turned[:64, row].tobytes() for row in range(70)]
    assert traces[1::3] == [codes.upper[row].tobytes() for row in range(70)]
    assert traces[2::3] == [codes.lower[row].tobytes() for row in range(70)]
    half = 4 * codes.upper.shape[1]
    assert held[:, :half].tobytes() == codes.upper.tobytes()
    assert held[:, half : 2 * half].tobytes() == codes.lower.tobytes()
    assert held[:, 2 * half :].tobytes() == codes.numbers.T.tobytes()
    assert held.shape[1] == planes.code_bytes
    assert held.tobytes() == planes.encode(rows).tobytes()


def test_few_of_random_rows_are_candidates() -> None:
    rows = unit_rows(np.random.default_rng(1).standard_normal((4000, 128)).astype(np.float32))
    planes = Planes(128)
    planes.append(rows)
    queries = unit_rows(rows[:20] + np.float32(0.01))

    scan = PlaneScan(planes, 1)

    together = scan.candidates(queries, [10] * 20, None, ONE)
    alone = [scan.candidates(query[np.newaxis], [10], None, ONE)[0] for query in queries]

    assert 200 <= sum(map(len, together)) < 500
    assert 200 <= sum(map(len, alone)) < 350


def test_the_nearest_pictures_are_candidates(small_parts: pytest.MonkeyPatch) -> None:
    if not FEATURES.is_file():
        pytest.skip(f"the private test data are not at {FEATURES}")
    with np.load(FEATURES) as data:
        pictures = unit_rows(data["embeddings"])
    rng = np.random.default_rng(2)
    memory = Edited(rng, pictures.shape[1])
    for _ in range(12):
        by = rng.choice([0, 1e-8, 1e-4, 1e-2]) * rng.standard_normal(pictures.shape)
        came = unit_rows((pictures + by).astype(np.float32))
        memory.planes.append(came)
        memory.vectors = np.concatenate([memory.vectors, came])
    memory.edit()
    memory.check_codes()

    for n in NUMBERS:
        memory.check_candidates(memory.vectors[:n], [1 + number % 30 for number in range(n)], None)

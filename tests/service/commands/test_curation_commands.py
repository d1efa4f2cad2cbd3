"""Pruning, relabelling, undoing and suspecting from the command line, against a real server."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory, Server, Start, to_picture
from tests.service.conftest import Done, Run, answer, refused, text

import visual_memory
from visual_memory import Client, Memory

COUNT = 120
CENTRES = np.random.default_rng(0).normal(size=(3, 8))
LABELS = np.random.default_rng(1).integers(0, 3, COUNT)
ROWS = CENTRES[LABELS] + 0.3 * np.random.default_rng(2).normal(size=(COUNT, 8))
IDS = [f"{number:04}" for number in range(COUNT)]
TRUTH = dict(zip(IDS, ("abc"[label] for label in LABELS), strict=True))
WRONG = {id: "bca"["abc".index(TRUTH[id])] for id in IDS[::12]}
NAMES = {**TRUTH, **WRONG}


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 120 entries of three labels, one in twelve of them wrong."""
    crowd = client.create_memory(f"{empty.name}x", dimension=8)
    crowd.insert(vectors=ROWS, labels=NAMES.values(), ids=IDS)
    return crowd


def table(crowd: Memory) -> dict[str, tuple[str, str]]:
    """Map each entry to its label and its prune, which a refused command must not change."""
    return {entry.id: (entry.label, entry.pruned_by) for entry in crowd.entries()}


def lines(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


METHODS = {
    "hard": (
        ["--k", 10, "--threshold", 5],
        {"method": "hard", "k": 10, "threshold": 5},
    ),
    "net": (
        ["--method", "hard", "--k", 10, "--threshold", 1, "--minus-correct"],
        {"method": "hard", "k": 10, "threshold": 1, "minus_correct": True},
    ),
    "random": (
        ["--method", "random", "--fraction", 0.25, "--seed", 3],
        {"method": "random", "fraction": 0.25, "seed": 3},
    ),
    "means": (
        ["--method", "prototype", "--fraction", 0.25],
        {"method": "prototype", "fraction": 0.25},
    ),
    "prototypes": (
        ["--method", "prototype", "--fraction", 0.25, "--clusters", 4, "--keep", "hard"],
        {"method": "prototype", "fraction": 0.25, "clusters": 4, "keep": "hard"},
    ),
    "value": (
        ["--method", "value", "--fraction", 0.1, "--value-k", 7],
        {"method": "value", "fraction": 0.1, "value_k": 7},
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_prune_shows_what_it_then_does_and_undo_takes_it_back(
    run: Run, crowd: Memory, name: str
) -> None:
    flags, how = METHODS[name]
    before = table(crowd)
    expected = crowd.prune(**how)  # type: ignore[call-overload]  # a table of keywords

    shown = answer(run("prune", crowd.name, *flags, "--json"))
    unchanged = table(crowd)
    did = answer(run("prune", crowd.name, *flags, "--apply", "--json"))
    pruned = [id for id, (_, by) in table(crowd).items() if by == did["operation"]]
    undone = text(run("undo", crowd.name, did["operation"]))

    assert shown["ids"] == did["ids"] == expected.ids == pruned != []
    assert shown["labels"] == did["labels"] == expected.labels
    assert did["accuracy_before"] == shown["accuracy_before"] == expected.accuracy_before
    assert did["accuracy_after"] == shown["accuracy_after"] == expected.accuracy_after
    assert (shown["applied"], did["applied"]) == (False, True)
    assert undone == f"{len(pruned)} entries restored in {crowd.name}.\n"
    assert unchanged == before == table(crowd)


def test_a_prune_tells_people_how_to_do_it_and_how_to_take_it_back(run: Run, crowd: Memory) -> None:
    shown = text(run("prune", crowd.name, "--k", 10, "--threshold", 5))
    did = text(run("prune", crowd.name, "--k", 10, "--threshold", 5, "--apply"))

    pruned = crowd.info().pruned_count
    assert f"{pruned} entries would no longer vote in {crowd.name}: " in shown
    assert "Nothing was changed; add --apply to do it." in shown
    assert f"{pruned} entries no longer vote in {crowd.name}: " in did
    assert "Nothing was changed" not in did
    (command,) = [each for each in did.splitlines() if each.startswith("visual-memory undo ")]
    assert text(run(*command.split()[1:4])) == f"{pruned} entries restored in {crowd.name}.\n"


def test_a_prune_says_how_it_measured_and_when_that_gets_worse(run: Run, crowd: Memory) -> None:
    lines(Path("wrong.txt"), *WRONG)
    lines(Path("right.txt"), *[id for id in IDS if id not in WRONG and TRUTH[id] != "a"])

    better = text(run("prune", crowd.name, "--ids-file", "wrong.txt"))
    worse = text(run("prune", crowd.name, "--ids-file", "right.txt"))
    crowd.tune(apply=True)
    tuned = text(run("prune", crowd.name, "--ids-file", "wrong.txt"))

    assert "% of all entries their label (k = 50, rank); without those " in better
    assert "% of all entries their label (k = 50, rank, not as it is tuned); without " in tuned
    assert "worse" not in better
    assert "%, which is worse.\n" in worse


def test_a_prune_that_finds_nobody_has_nothing_to_apply(run: Run, crowd: Memory) -> None:
    shown = text(run("prune", crowd.name))

    assert shown.startswith(f"0 entries would no longer vote in {crowd.name}.\n")
    assert "--apply" not in shown
    assert "undo" not in text(run("prune", crowd.name, "--apply"))


def test_the_ids_of_a_file_are_pruned(run: Run, crowd: Memory) -> None:
    Path("ids.txt").write_bytes("\ufeff0003\r\n\r\n0001\r\n0003\r\n".encode())

    did = answer(run("prune", crowd.name, "--ids-file", "ids.txt", "--apply", "--json"))

    assert did["ids"] == ["0001", "0003"]
    assert [id for id, (_, by) in table(crowd).items() if by] == ["0001", "0003"]


def test_entries_that_a_prune_took_are_listed_by_a_filter(run: Run, crowd: Memory) -> None:
    lines(Path("ids.txt"), "0003", "0001")
    operation = answer(run("prune", crowd.name, "--ids-file", "ids.txt", "--apply", "--json"))

    every = ("entries", crowd.name, "--json", "--filter")
    pruned = answer(run(*every, "pruned_by:*"))
    by_it = answer(run(*every, f'pruned_by = "{operation["operation"]}"'))
    others = answer(run(*every, "NOT pruned_by:*"))
    shown = text(run("entries", crowd.name, "--filter", "pruned_by:*"))

    assert [each["id"] for each in pruned] == ["0001", "0003"]
    assert by_it == pruned
    assert len(others) == COUNT - 2
    assert [line.split()[0] for line in shown.splitlines()] == ["id", "0001", "0003"]


def test_a_file_may_be_standard_input(server: Server, crowd: Memory) -> None:
    def given(text: str, *arguments: str) -> Done:
        command = [sys.executable, "-m", "visual_memory_service", *arguments, "--server"]
        return subprocess.run(
            [*command, server.address], input=text, capture_output=True, text=True, timeout=50
        )

    pruned = given("0001\n", "prune", crowd.name, "--ids-file", "-")
    relabelled = given("id,label\n0001,z\n", "relabel", crowd.name, "--from", "-")
    nothing = given("", "prune", crowd.name, "--ids-file", "-")

    assert pruned.stdout.startswith(f"1 entry would no longer vote in {crowd.name}: 0001.")
    assert relabelled.stdout.startswith(f"1 entry would have another label in {crowd.name}: 0001.")
    assert nothing.stderr == "- names no id; wanted is one id a line.\n"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--method", "value", "--fraction", "1"], "fraction must be between 0 and 1"),
        (["--method", "prototype", "--fraction", "0"], "fraction must be between 0 and 1"),
        (["--k", "0"], "k must be at least 1"),
        (["--k", "1001"], "hard.k must be 1 to 1000, but is 1001"),
        (["--threshold", "0"], "threshold must be at least 1"),
        (["--method", "value", "--fraction", "0.5", "--value-k", "0"], "value_k must be at least"),
        (["--method", "prototype", "--fraction", "0.5", "--clusters", "-1"], "clusters must be"),
        (["--ids-file", "nowhere.txt"], "nowhere.txt cannot be read: "),
        (["--ids-file", "."], ". cannot be read: "),
        (["--ids-file", "empty.txt"], "empty.txt names no id"),
        (["--ids-file", "latin.txt"], "latin.txt cannot be read: "),
        (["--ids-file", "ids.txt"], "nobody"),
    ],
)
def test_a_prune_that_cannot_be_done_is_one_sentence_and_changes_nothing(
    run: Run, crowd: Memory, flags: list[str], sentence: str
) -> None:
    lines(Path("ids.txt"), "0001", "nobody")
    Path("empty.txt").write_text("\n\n")
    Path("latin.txt").write_bytes("höhe\n".encode("latin-1"))
    before = table(crowd)

    said = refused(run("prune", crowd.name, *flags, "--apply"))

    assert sentence in said
    assert table(crowd) == before


def test_the_labels_of_a_file_are_set_and_undone(run: Run, crowd: Memory) -> None:
    before = table(crowd)
    lines(
        Path("new.csv"), "note,label,id", 'x,"one, two",0001', ",z,0002", f",{NAMES['0003']},0003"
    )

    shown = text(run("relabel", crowd.name, "--from", "new.csv"))
    unchanged = table(crowd)
    did = text(run("relabel", crowd.name, "--from", "new.csv", "--apply"))
    changed = table(crowd)
    (command,) = [each for each in did.splitlines() if each.startswith("visual-memory undo ")]
    undone = answer(run(*command.split()[1:4], "--json"))

    assert f"2 entries would have another label in {crowd.name}: 0001, 0002." in shown
    assert "Nothing was changed; add --apply to do it." in shown
    assert f"2 entries have another label in {crowd.name}: 0001, 0002." in did
    assert changed == {**before, "0001": ("one, two", ""), "0002": ("z", "")}
    assert undone == {"memory": crowd.name, "restored": 2}
    assert unchanged == before == table(crowd)


def test_a_relabel_shows_what_labels_become_and_which_are_new(run: Run, crowd: Memory) -> None:
    a, b = [id for id in IDS if NAMES[id] == "a"], [id for id in IDS if NAMES[id] == "b"]
    lines(Path("new.csv"), "id,label", f"{a[0]},B", f"{a[1]},B", f"{b[0]},c", f"{b[1]},b")
    command = ("relabel", crowd.name, "--from", "new.csv")
    alike = (
        "Labels that differ only by blanks, by case or by how Unicode writes their letters are "
        "different labels: B, b.\n"
    )

    shown, did = run(*command), run(*command, "--apply")

    changes = "labels: 2 from a to B, 1 from b to c."
    new = f"Labels new to {crowd.name}: B.\n"
    assert f"\nThat would change {changes}\n{new}" in shown.stdout
    assert f"\nThat changed {changes}\n{new}" in did.stdout
    assert (shown.stderr, did.stderr) == (alike, alike)


def test_a_relabel_reads_the_entries_that_change_alone_unless_these_are_many(
    command: Run, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(None, "--log-level", "debug")
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", server.address)
    with visual_memory.connect(server.address) as client:
        client.create_memory("crowd", dimension=8).insert(
            vectors=ROWS, labels=NAMES.values(), ids=IDS
        )
    lines(Path("one.csv"), "id,label", "0001,z", f"0002,{NAMES['0002']}")
    lines(Path("all.csv"), "id,label", *(f"{id},y" for id in IDS))

    shown = text(command("relabel", "crowd", "--from", "one.csv"))
    did = text(command("relabel", "crowd", "--from", "one.csv", "--apply"))
    all = text(command("relabel", "crowd", "--from", "all.csv"))

    assert f"\nThat would change labels: 1 from {NAMES['0001']} to z.\n" in shown
    assert f"\nThat changed labels: 1 from {NAMES['0001']} to z.\n" in did
    assert "from b to y" in all
    methods = [json.loads(line).get("method") for line in server.log().splitlines()]
    assert [each for each in methods if each in ("GetEntry", "ListEntries")] == [
        "GetEntry",
        "GetEntry",
        "ListEntries",
    ]


def test_a_label_that_replaces_all_that_it_resembles_is_not_remarked(
    run: Run, crowd: Memory
) -> None:
    rows = (f"{id},B" for id in IDS if NAMES[id] == "b")
    lines(Path("new.csv"), "id,label", *rows)

    text(run("relabel", crowd.name, "--from", "new.csv", "--apply"))


def test_rows_without_a_label_are_left_out(run: Run, crowd: Memory) -> None:
    before = table(crowd)
    Path("new.csv").write_bytes(
        "\ufeffid,label\r\n0001,z\r\n0002,\r\n0003\r\n\r\nnobody,\r\n0001,z\r\n".encode()
    )

    did = answer(run("relabel", crowd.name, "--from", "new.csv", "--apply", "--json"))

    assert (did["ids"], did["applied"]) == (["0001"], True)
    assert table(crowd) == {**before, "0001": ("z", "")}


def test_labels_that_are_there_already_change_nothing(run: Run, crowd: Memory) -> None:
    lines(Path("new.csv"), "id,label", f"0001,{NAMES['0001']}")

    said = text(run("relabel", crowd.name, "--from", "new.csv"))

    assert said == f"0 entries would have another label in {crowd.name}.\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"id,name\n0001,z\n", "new.csv has no column named label."),
        (b"ID,Label\n0001,z\n", "new.csv has no column named id and none named label."),
        (b"", "new.csv has no column named id and none named label."),
        (b"id;label\n0001;z\n", "Wanted are id and label, separated by commas."),
        (b"id,label\n", "new.csv gives no entry a label."),
        (b"id,label\n0001,\n", "new.csv gives no entry a label."),
        (b"id,label\n0001,z\n0002,z\n0001,y\n", "line 4: 0001 is there twice"),
        (b"id,label\n0001,z\n,y\n", "line 3: the id is empty"),
        (b"id,label\n0001,z\n\n\n,y\n", "line 5: the id is empty"),
        (b"id,label\n0001,big, brown z\n", "line 2 has more cells than the first line has columns"),
        (b'id,label\n0001,"z\n0002,y\n', "new.csv, line 2: unexpected end of data"),
        (b'id,label\n0001,z\n0002,"z"y\n', "new.csv, line 3: "),
        (b'id,label\n0001,z\n\n\n0002,"z"y\n', "new.csv, line 5: "),
        (b'"id"x,label\n', "new.csv, line 1: "),
        (b"id,label\n0001,z\n0002, \t\n", "line 3: the label of 0002 is only blanks"),
        (b"id,label,id\n0001,z,0002\n", "more than one column id."),
        (b"id,label\n0001,z\nnobody,z\n", "nobody"),
        (b"id,label\n0001,\xff\n", "new.csv cannot be read: "),
        (b"id,label\n0001," + 300 * b"z" + b"\n", "must be 1 to 256 UTF-8 bytes"),
    ],
)
def test_a_file_without_clear_labels_is_refused_and_changes_nothing(
    run: Run, crowd: Memory, content: bytes, sentence: str
) -> None:
    Path("new.csv").write_bytes(content)
    before = table(crowd)

    said = refused(run("relabel", crowd.name, "--from", "new.csv", "--apply"))

    assert sentence in said
    assert table(crowd) == before


def test_a_file_that_is_not_there_is_named(run: Run, crowd: Memory) -> None:
    assert "nowhere.csv cannot be read: " in refused(
        run("relabel", crowd.name, "--from", "nowhere.csv")
    )


def test_what_was_undone_cannot_be_undone_again(run: Run, crowd: Memory) -> None:
    lines(Path("ids.txt"), "0001")
    dry = answer(run("prune", crowd.name, "--ids-file", "ids.txt", "--json"))["operation"]
    did = answer(run("prune", crowd.name, "--ids-file", "ids.txt", "--apply", "--json"))
    once = text(run("undo", crowd.name, did["operation"]))
    before = table(crowd)

    twice = refused(run("undo", crowd.name, did["operation"]))
    never = refused(run("undo", crowd.name, dry))
    unknown = refused(run("undo", crowd.name, "nothing"))

    assert once == f"1 entry restored in {crowd.name}.\n"
    assert "undone before" in twice
    assert "dry-run" in never
    assert "nothing" in unknown
    assert table(crowd) == before


def test_an_undo_that_finds_nothing_left_says_so(run: Run, crowd: Memory) -> None:
    operation = crowd.relabel({"0001": "z"}, apply=True).operation
    crowd.update("0001", label="y")

    said = text(run("undo", crowd.name, operation))

    assert said == f"0 labels restored in {crowd.name}: nothing was left to take back.\n"


def test_operations_are_listed_newest_first_with_what_was_undone(run: Run, crowd: Memory) -> None:
    lines(Path("new.csv"), "id,label", "0001,z")
    relabelled = answer(run("relabel", crowd.name, "--from", "new.csv", "--apply", "--json"))
    pruned = answer(run("prune", crowd.name, "--method", "random", "--fraction", 0.1, "--json"))
    run("undo", crowd.name, relabelled["operation"])

    found = answer(run("operations", "--memory", crowd.name, "--json"))
    shown = text(run("operations", "--memory", crowd.name)).splitlines()
    everywhere = answer(run("operations", "--json"))

    assert [(each["name"], each["kind"], each["state"]) for each in found] == [
        (pruned["operation"], "dry-run", "done"),
        (relabelled["operation"], "relabel", "done"),
    ]
    assert [each["undo_time"] is None for each in found] == [True, False]
    assert " ".join(shown[0].split()) == "operation kind state started (UTC) undone (UTC)"
    assert [line.split()[:3] for line in shown[1:]] == [
        [each["name"], each["kind"], "done"] for each in found
    ]
    assert [len(line.split()) for line in shown[1:]] == [5, 7]
    assert [each for each in everywhere if each["memory"] == crowd.name] == found


def test_an_operation_is_waited_for_and_shown_with_its_result(run: Run, crowd: Memory) -> None:
    began = crowd.prune(method="random", fraction=0.25, wait=False)

    found = answer(run("operations", "wait", began.name, "--json"))
    shown = text(run("operations", "wait", began.name))

    assert [(each["name"], each["state"]) for each in found] == [(began.name, "done")]
    assert len(found[0]["result"]["ids"]) == 30
    assert shown.splitlines()[1].split()[:3] == [began.name, "dry-run", "done"]


def test_what_cannot_be_waited_for_or_stopped_says_why(run: Run, crowd: Memory) -> None:
    finished = crowd.prune(method="random", fraction=0.25).operation

    assert "it is done already" in refused(run("operations", "cancel", finished))
    for action in ("wait", "cancel"):
        assert "no operation named" in refused(run("operations", action, f"{crowd.name}/x"))
    assert 'no memory named "nobody"' in refused(run("operations", "--memory", "nobody"))


def test_suspects_are_written_corrected_set_and_undone(run: Run, crowd: Memory) -> None:
    before = table(crowd)

    written = text(run("assess", crowd.name, "--k", 10, "--csv"))
    rows = list(csv.DictReader(io.StringIO(written)))
    Path("suspects.csv").write_text(written)
    did = answer(run("relabel", crowd.name, "--from", "suspects.csv", "--apply", "--json"))
    after = table(crowd)
    again = list(csv.DictReader(io.StringIO(text(run("assess", crowd.name, "--csv")))))
    undone = answer(run("undo", crowd.name, did["operation"], "--json"))

    assert list(rows[0]) == ["id", "label", "was", "score", "reason"]
    assert did["ids"] == sorted(row["id"] for row in rows) == sorted(WRONG)
    assert all(row["label"] == TRUTH[row["id"]] for row in rows)
    assert all(row["was"] == WRONG[row["id"]] for row in rows)
    assert {id: label for id, (label, _) in after.items()} == TRUTH
    assert again == []
    assert undone["restored"] == len(rows)
    assert table(crowd) == before


def test_suspects_that_a_person_emptied_keep_their_labels(run: Run, crowd: Memory) -> None:
    rows = list(csv.reader(io.StringIO(text(run("assess", crowd.name, "--csv")))))
    kept = rows[1][0]
    rows[1][1] = ""
    with Path("suspects.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)

    did = answer(run("relabel", crowd.name, "--from", "suspects.csv", "--apply", "--json"))

    assert did["ids"] == sorted(row[0] for row in rows[2:])
    assert crowd.get(kept).label == WRONG[kept]


def test_every_entry_is_written_the_most_suspicious_first_and_others_than_suspects_unlabelled(
    run: Run, crowd: Memory
) -> None:
    written = text(run("assess", crowd.name, "--k", 10, "--csv", "--all"))
    suspects = text(run("assess", crowd.name, "--k", 10, "--csv"))
    rows = list(csv.DictReader(io.StringIO(written)))
    Path("all.csv").write_text(written)
    shown = answer(run("relabel", crowd.name, "--from", "all.csv", "--json"))

    judged = crowd.judge_labels(k=10)
    assert [row["id"] for row in rows] == [each.id for each in judged]
    assert [row["was"] for row in rows] == [each.label for each in judged]
    assert [row["score"] for row in rows] == [f"{each.score:.4f}" for each in judged]
    labelled = [row for row in rows if row["label"]]
    assert labelled == list(csv.DictReader(io.StringIO(suspects)))
    assert shown["ids"] == sorted(row["id"] for row in labelled)


def test_an_assessment_is_shown_with_what_matters_first(run: Run, crowd: Memory) -> None:
    crowd.insert(vectors=ROWS[:1], labels=["rare"], ids=["twin"])
    found = crowd.assess(k=10, voting="plurality", thin=2)

    shown = text(run("assess", crowd.name, "--k", 10, "--voting", "plurality", "--thin", 2))

    top, *rest = shown.splitlines()
    by_default = text(run("assess", crowd.name)).splitlines()
    assert by_default[1].startswith("Labels have 1 to ")
    assert f": visual-memory tune {crowd.name}   looks for a rule" in by_default[1]
    assert top.startswith(f"121 entries of {crowd.name}: the others give {found.accuracy:.2%} of")
    assert " their label (--k 10 --voting plurality); " in top
    assert f"calibration error {found.calibration_error:.4f}" in top
    assert rest[0].split() == ["label", "entries", "accuracy", "also", "called"]
    assert rest[1].split()[:3] == ["rare", "1", "0.0000"]
    assert rest[1].split()[-1] == "thin"
    assert f"{len(found.conflicts)} pairs at most 0.06 apart, with different labels:" in shown
    assert "0000  " + NAMES["0000"] + "      twin  rare     0.0000" in shown
    assert f"{len(found.suspects)} entries likely mislabelled, the likeliest first:" in shown
    assert "--csv > suspects.csv" in shown


def test_a_memory_without_suspects_says_so(run: Run, crowd: Memory) -> None:
    crowd.relabel(TRUTH, apply=True)

    assert text(run("assess", crowd.name)).splitlines()[-1] == "No entry looks mislabelled."
    assert text(run("assess", crowd.name, "--csv")) == "id,label,was,score,reason\n"


def test_labels_of_which_no_entry_was_judged_are_named(run: Run, crowd: Memory) -> None:
    crowd.relabel(TRUTH, apply=True)
    counts = Counter(TRUTH.values())
    largest = max(counts, key=lambda label: counts[label])
    others = ", ".join(sorted(counts.keys() - {largest}))

    some = text(run("assess", crowd.name, "--thin", counts[largest]))
    none = text(run("assess", crowd.name, "--thin", counts[largest] + 1))

    assert some.endswith(
        f"No entry looks mislabelled. Not judged, as they have too few entries: {others}.\n"
    )
    assert none.endswith(
        "No entry was judged: every label has fewer entries than --thin, by default 5.\n"
    )


def test_an_assessment_is_json_for_programs(run: Run, crowd: Memory) -> None:
    found = answer(run("assess", crowd.name, "--k", 10, "--json"))

    expected = crowd.assess(k=10)
    assert (found["count"], found["accuracy"]) == (expected.count, expected.accuracy)
    assert [each["id"] for each in found["suspects"]] == [each.id for each in expected.suspects]
    assert {each["label"]: each["called"] for each in found["labels"]} == {
        each.label: each.called for each in expected.labels
    }


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--k", "0"], "k must be at least 1"),
        (["--k", "1001"], "k must be 1 to 1000, but is 1001"),
        (["--thin", "0"], "thin must be at least 1"),
    ],
)
def test_a_wrong_assessment_is_refused(
    run: Run, crowd: Memory, flags: list[str], sentence: str
) -> None:
    assert sentence in refused(run("assess", crowd.name, *flags))


def test_too_few_entries_cannot_be_assessed_or_pruned(run: Run, empty: RemoteMemory) -> None:
    assert "At least two voting entries are needed" in refused(run("assess", empty.name))
    assert "nothing to prune" in refused(run("prune", empty.name))


@pytest.mark.parametrize(
    "line", ["prune nobody", "assess nobody", "undo nobody x", "relabel nobody --from new.csv"]
)
def test_a_memory_that_is_not_there_is_named(run: Run, line: str) -> None:
    lines(Path("new.csv"), "id,label", "0001,z")

    assert "nobody" in refused(run(*line.split()))


@pytest.mark.parametrize(
    "line",
    [
        "prune",
        "prune {crowd} --method loudly --apply",
        "prune {crowd} --method random --ids-file ids.txt --apply",
        "prune {crowd} --method random --apply",
        "prune {crowd} --fraction 0.5 --apply",
        "prune {crowd} --fraction half --apply",
        "prune {crowd} --keep all --apply",
        "prune {crowd} --seed x --apply",
        "relabel {crowd} --apply",
        "undo {crowd}",
        "operations stop x",
        "assess {crowd} --voting loudly",
        "classify {crowd} a.png --reliability hard",
    ],
)
def test_wrong_usage_exits_2_and_changes_nothing(run: Run, crowd: Memory, line: str) -> None:
    lines(Path("ids.txt"), "0001")
    before = table(crowd)

    done = run(*line.format(crowd=crowd.name).split())

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: visual-memory")
    assert table(crowd) == before


def test_pictures_are_classified_by_reliable_votes(
    run: Run, client: Client, album: RemoteMemory
) -> None:
    memory = client.memory(album.name)
    memory.update("b", label="other")
    picture = to_picture(3)
    Path("new.png").write_bytes(picture)
    soft = ("classify", album.name, "new.png", "--reliability", "soft", "--json")

    (plain,) = answer(run("classify", album.name, "new.png", "--json"))
    (ten,) = answer(run(*soft))
    (one,) = answer(run(*soft, "--reliability-k", 1))
    bad = refused(run(*soft, "--reliability-k", 0))

    how: Any = {"images": [picture], "reliability": "soft"}
    (expected,) = memory.classify(**how)
    assert [each["weight"] for each in ten["neighbors"]] == [
        each.weight for each in expected.neighbors
    ]
    assert [each["weight"] for each in plain["neighbors"]] == [0.5, pytest.approx(1 / 3)]
    assert [each["weight"] for each in ten["neighbors"]] == [
        each["weight"] for each in one["neighbors"]
    ]
    assert "reliability_k must be" in bad

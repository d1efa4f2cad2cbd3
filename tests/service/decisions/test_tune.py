"""Tuning chooses a rule by folds, stores it as the default of the memory, and can be undone."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory, Server, Start
from tests.service.conftest import Run
from tests.service.decisions.film import filmed, filming

import visual_memory
from visual_memory import Client, Estimate, FailedPrecondition, InvalidArgument, Memory
from visual_memory.options import Measure
from visual_memory.terminal.arguments import flags
from visual_memory_index import unit_rows
from visual_memory_index.curation import folds
from visual_memory_index.heads.head import METRIC_MAX
from visual_memory_index.memory import default_rules
from visual_memory_service.commands import tune
from visual_memory_service.decisions.tune import tune_memory

SIZES = {"often": 60, "much": 40, "rare": 8, "seldom": 6, "once": 1}
RNG = np.random.default_rng(0)
LABELS = [label for label, size in SIZES.items() for _ in range(size)]
CENTRES = {label: RNG.normal(size=8) for label in SIZES}
ROWS = unit_rows(
    np.array([CENTRES[label] + 1.6 * RNG.normal(size=8) for label in LABELS], np.float32)
)
IDS = [f"{number:03}" for number in range(len(LABELS))]
SCENES = [f"scene {number // 2}" for number in range(len(LABELS))]
QUERIES = unit_rows(RNG.normal(size=(20, 8)).astype(np.float32))


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of five labels with 1 to 60 entries each, two of each scene."""
    crowd = client.create_memory(f"{empty.name}x", dimension=8)
    metadata = [{"scene": scene} for scene in SCENES]
    crowd.insert(vectors=ROWS, labels=LABELS, ids=IDS, metadata=metadata)
    return crowd


def labels_by(memory: Memory, **how: Any) -> list[tuple[str, float]]:
    return [(each.label, each.confidence) for each in memory.classify(vectors=QUERIES, **how)]


def tuned(client: Client, memory: Memory) -> str:
    return next(each.name for each in client.operations(memory.name) if each.kind == "tune")


@pytest.mark.parametrize("group_by", ["", "scene"])
def test_rules_are_measured_by_memories_that_lack_the_fold(
    crowd: Memory, client: Client, group_by: str
) -> None:
    found = crowd.tune(group_by=group_by)

    group_of = dict(zip(IDS, SCENES, strict=True)) if group_by else {}
    sample = folds.sample(np.array(IDS, object), np.array(LABELS, object), group_of)
    right = {each.rule: defaultdict[str, list[bool]](list) for each in found.rules}
    losses = {each.rule: defaultdict[str, list[float]](list) for each in found.rules}
    for fold in range(folds.FOLDS):
        known = np.flatnonzero(sample.folds != fold)
        asked = [row for row in sample.rows.tolist() if sample.folds[row] == fold]
        memory = client.create_memory(f"{crowd.name}{fold}{group_by}", dimension=8)
        memory.insert(vectors=ROWS[known], labels=[LABELS[row] for row in known])
        for rule, of_label in right.items():
            decisions = memory.classify(vectors=ROWS[asked], **asdict(rule))
            for row, decision in zip(asked, decisions, strict=True):
                of_label[LABELS[row]].append(decision.label == LABELS[row])
                share = decision.scores.get(LABELS[row], 0.0) / math.fsum(decision.scores.values())
                spread = 0.99 * share + 0.01 / len({LABELS[at] for at in known})
                losses[rule][LABELS[row]].append(-math.log(spread))
    assert found.count == len(sample.rows)
    assert found.group_count == (57 if group_by else 114)
    assert (found.asked_label_count, found.label_count) == (4, 5)
    for each in found.rules:
        shares = {label: float(np.mean(hits)) for label, hits in right[each.rule].items()}
        weights = {label: SIZES[label] / sum(map(SIZES.get, shares)) for label in shares}  # type: ignore[arg-type]
        plain = sum(weights[label] * share for label, share in shares.items())
        assert "once" not in shares
        assert each.macro_accuracy.mean == pytest.approx(np.mean(list(shares.values())))
        assert each.accuracy.mean == pytest.approx(plain)
        loss = sum(weights[label] * float(np.mean(its)) for label, its in losses[each.rule].items())
        assert each.log_loss.mean == pytest.approx(loss)
        assert each.behind.mean >= 0.0
    assert found.chosen in found.rules
    assert found.chosen.behind.mean <= found.chosen.behind.error
    assert len({each.rule for each in found.rules}) == len(found.rules)


def test_the_chosen_rule_decides_until_the_tuning_is_undone(crowd: Memory, client: Client) -> None:
    votes = labels_by(crowd)
    shown = crowd.tune()
    assert not shown.applied
    assert (labels_by(crowd), crowd.info().default_rule) == (votes, None)

    found = crowd.tune(apply=True)

    assert found.applied
    assert (found.chosen, found.rules) == (shown.chosen, shown.rules)
    by_rule = labels_by(crowd, **asdict(found.chosen.rule))
    assert labels_by(crowd) == by_rule != votes
    default = crowd.info().default_rule
    assert default is not None
    assert (default.rule, default.changes) == (found.chosen.rule, 0)
    crowd.delete(["000"])
    crowd.update("001", metadata={"seen": "yes"})
    changed = crowd.info().default_rule
    assert changed is not None
    assert changed.changes == 2

    crowd.undo(found.operation)

    assert crowd.info().default_rule is None
    assert client.operation(found.operation).undo_time is not None


@pytest.mark.parametrize("group_by", ["", "scene"])
def test_changes_are_those_since_the_entries_that_the_rule_was_chosen_by(
    tmp_path: Path, group_by: str
) -> None:
    with filmed(tmp_path) as memory:
        before = memory.revision

        tune_memory(filming(memory, "tune"), measure="accuracy", group_by=group_by, apply=True)

        (default,) = default_rules.from_json(memory.setting(default_rules.SETTING))
        assert default.revision == before < memory.revision


def test_queries_by_a_default_head_are_cut_into_answers_of_as_many_labels_as_fit(
    start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "server.toml"
    config.write_text("neighbors_max = 40\n")
    server = start(None, "--config", str(config))
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=8)
        crowd.insert(vectors=ROWS, labels=[f"{at % 20}" for at in range(len(IDS))])
        rule = asdict(crowd.tune(apply=True).chosen.rule)
        assert rule["head"] != "none"

        found = crowd.classify(vectors=QUERIES, k=2)

        assert [each.scores for each in found] == [
            each.scores for each in crowd.classify(vectors=QUERIES, **{**rule, "k": 2})
        ]
        assert len(found) == len(QUERIES)


def test_parameters_of_a_call_are_in_place_of_those_of_the_default(
    crowd: Memory, client: Client
) -> None:
    rule = asdict(crowd.tune(apply=True).chosen.rule)

    assert labels_by(crowd, k=3) == labels_by(crowd, **{**rule, "k": 3})
    assert labels_by(crowd, blend=0.9) == labels_by(crowd, **{**rule, "blend": 0.9})
    plain = labels_by(crowd, k=50, voting="rank", balance=0.0, head="none")
    crowd.undo(tuned(client, crowd))
    assert labels_by(crowd) == plain


def test_of_several_tunings_the_last_is_undone_first(crowd: Memory) -> None:
    first = crowd.tune(apply=True)
    second = crowd.tune(measure="log_loss", apply=True)

    sentence = f"another rule was made the default since; undo {second.operation} first."
    with pytest.raises(FailedPrecondition, match=f"{sentence}$"):
        crowd.undo(first.operation)
    crowd.undo(second.operation)
    default = crowd.info().default_rule
    assert default is not None
    assert default.rule == first.chosen.rule
    crowd.undo(first.operation)
    assert crowd.info().default_rule is None
    with pytest.raises(FailedPrecondition, match="it was undone before"):
        crowd.undo(first.operation)


def test_any_number_of_tunings_can_be_undone(crowd: Memory) -> None:
    crowd.delete([id for id, label in zip(IDS, LABELS, strict=True) if label in ("often", "much")])
    measures: list[Measure] = ["macro_accuracy", "log_loss"] * 6
    tunings = [crowd.tune(measure=measure, apply=True) for measure in measures]

    assert tunings[0].chosen.rule != tunings[1].chosen.rule
    for before, last in zip(tunings[-2::-1], tunings[::-1], strict=False):
        crowd.undo(last.operation)
        default = crowd.info().default_rule
        assert default is not None
        assert default.rule == before.chosen.rule
    crowd.undo(tunings[0].operation)
    assert crowd.info().default_rule is None


def test_a_repeated_tuning_is_the_earlier_operation(crowd: Memory, client: Client) -> None:
    first = crowd.tune(apply=True, request_id="tune-1")
    crowd.delete(IDS[:20])

    again = crowd.tune(apply=True, request_id="tune-1")

    assert again == first
    assert [each.kind for each in client.operations(crowd.name)].count("tune") == 1


def test_the_default_stays_after_a_restart_in_copies_and_when_entries_are_unlearned(
    start: Start, tmp_path: Path
) -> None:
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=8)
        crowd.insert(vectors=ROWS, labels=LABELS, ids=IDS)
        found = crowd.tune(apply=True)
        expected = labels_by(crowd)
        crowd.tune(apply=True)
        copy = client.copy("crowd", "copy")
        assert labels_by(copy) == expected
        newest, oldest = (each.name for each in client.operations("copy") if each.kind == "tune")
        with pytest.raises(FailedPrecondition, match=f"undo {newest} first"):
            copy.undo(oldest)
        copy.undo(newest)
        assert labels_by(copy) == expected
        copy.undo(oldest)
        assert (copy.info().default_rule, labels_by(crowd)) == (None, expected)
        crowd.unlearn([IDS[0]])
        default = crowd.info().default_rule
        assert default is not None
        assert default.rule == found.chosen.rule
    assert server.end() == 0

    with visual_memory.connect(start(tmp_path).address) as client:
        after = client.memory("crowd").info().default_rule
        assert after is not None
        assert (after.rule, after.create_time) == (found.chosen.rule, default.create_time)


@pytest.mark.parametrize("kept", [["once"], ["often"], ["often", "once"]])
def test_labels_that_cannot_be_held_out_are_too_few(crowd: Memory, kept: list[str]) -> None:
    crowd.delete([id for id, label in zip(IDS, LABELS, strict=True) if label not in kept])

    with pytest.raises(
        FailedPrecondition, match="2 labels with two entries or groups are needed"
    ) as refused:
        crowd.tune()
    assert refused.value.reason == "TOO_FEW_ITEMS"


def test_a_key_that_all_entries_share_leaves_nothing_to_ask(crowd: Memory) -> None:
    for id in IDS:
        crowd.update(id, metadata={"owner": "me"})

    with pytest.raises(FailedPrecondition, match="with two entries or groups are needed"):
        crowd.tune(group_by="owner")


def test_a_key_that_no_entry_has_is_refused(crowd: Memory) -> None:
    sentence = "group_by must be a metadata key that some voting entry has, but is 'scne'."
    with pytest.raises(InvalidArgument, match=f"{sentence}$") as refused:
        crowd.tune(group_by="scne")

    assert refused.value.reason == "BAD_FIELD"


def test_a_key_as_filters_have_it_is_refused_with_the_bare_one(crowd: Memory) -> None:
    with pytest.raises(InvalidArgument, match="give the bare key, such as 'scene'"):
        crowd.tune(group_by="metadata.scene")


def test_a_memory_without_entries_is_said_to_be_empty(client: Client, empty: RemoteMemory) -> None:
    pets = client.memory(empty.name)

    with pytest.raises(
        FailedPrecondition, match=f'The memory "{empty.name}" is empty; insert'
    ) as no:
        pets.tune()

    assert no.value.reason == "EMPTY_MEMORY"


def test_a_long_key_that_no_entry_has_is_named_by_its_beginning(crowd: Memory) -> None:
    with pytest.raises(InvalidArgument, match=f"has, but is '{'k' * 80}'.$"):
        crowd.tune(group_by="k" * 256)


def test_a_key_of_pruned_entries_alone_is_refused(crowd: Memory) -> None:
    crowd.update("000", metadata={"owner": "me"})
    crowd.prune(method="ids", ids=["000"], apply=True)

    with pytest.raises(InvalidArgument, match="group_by must be a metadata key that some voting"):
        crowd.tune(group_by="owner")


def test_a_key_is_named_nowhere_once_its_entries_are_unlearned(
    start: Start, tmp_path: Path
) -> None:
    key = "ward-jane-doe"
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=8)
        crowd.insert(vectors=ROWS, labels=LABELS, ids=IDS)
        crowd.insert(vectors=-ROWS[:4], labels=LABELS[:4], ids=["a", "b", "c", "d"])
        for id in "abcd":
            crowd.update(id, metadata={key: id})
        crowd.tune(group_by=key)
        with pytest.raises(InvalidArgument):
            crowd.tune(group_by=f"{key}s")
        crowd.delete([id for id, label in zip(IDS, LABELS, strict=True) if label != "once"])
        with pytest.raises(FailedPrecondition):
            crowd.tune(group_by=key)
        crowd.unlearn(["a", "b", "c", "d"])
    server.end()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if key.encode() in path.read_bytes()]


def test_an_interrupt_says_that_the_operation_goes_on(crowd: Memory, client: Client) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interrupted:
        crowd.tune(apply=True, progress=interrupt)

    name = tuned(client, crowd)
    (note,) = interrupted.value.__notes__
    assert f'wait("{name}") waits for it, and cancel("{name}") stops it.' in note
    assert client.wait(name).state == "done"


def test_rules_that_the_memory_is_too_large_for_are_left_out(
    client: Client, empty: RemoteMemory
) -> None:
    memory = client.create_memory(f"{empty.name}w", dimension=METRIC_MAX + 1)
    rows = np.random.default_rng(0).normal(size=(12, METRIC_MAX + 1))
    memory.insert(vectors=rows, labels=["cat", "dog"] * 6)

    found = memory.tune()

    assert {each.rule.head for each in found.rules} == {"none", "means"}


def test_a_tuning_is_in_the_audit_log(crowd: Memory, client: Client) -> None:
    crowd.tune()
    crowd.undo(crowd.tune(apply=True).operation)

    calls = [event.call for event in crowd.audit_events()]

    assert calls == ["CreateMemory", "InsertEntries", "TuneMemory", "Undo"]


def test_an_unknown_measure_is_refused(crowd: Memory) -> None:
    with pytest.raises(InvalidArgument, match="measure must be one of macro_accuracy, accuracy"):
        crowd.tune(measure="f1")  # type: ignore[call-overload]  # the point of it


def test_the_command_counts_groups_where_a_key_is_given(run: Run, crowd: Memory) -> None:
    shown = run("tune", crowd.name, "--group-by", "scene")

    assert shown.stdout.startswith(
        f"114 entries of {crowd.name} in 57 groups asked, each decided by the entries "
        "outside its fold, one of up to five; those of one scene share a fold:\n"
    )
    assert (
        "Groups are not counted by label: those of fewer than 5 groups say little, too.\n"
    ) in shown.stdout
    assert "Groups" not in run("tune", crowd.name).stdout
    assert (
        "4 of 5 labels were asked: each other label has one entry, has entries of one scene alone, "
        "has all in one of up to five folds, or was not drawn.\n"
    ) in shown.stdout


def test_labels_that_groups_leave_out_are_told_of(run: Run, crowd: Memory) -> None:
    for id, label in zip(IDS, LABELS, strict=True):
        scene = "alone" if label == "rare" else f"{int(id) % 3}"
        crowd.update(id, metadata={"scene": scene})

    told = run("tune", crowd.name, "--group-by", "scene").stdout

    assert "3 of 5 labels were asked: each other label has one entry, " in told


def test_explanations_assessments_and_calibrations_are_by_the_default(crowd: Memory) -> None:
    rule = asdict(crowd.tune(apply=True).chosen.rule)

    assert crowd.explain(vectors=QUERIES[:1]) == crowd.explain(vectors=QUERIES[:1], **rule)
    by_default, named = crowd.assess(), crowd.assess(**rule)
    assert (by_default.accuracy, by_default.labels) == (named.accuracy, named.labels)
    crowd.calibrate()
    sure = crowd.classify(vectors=QUERIES, calibrated=True)
    assert [each.label for each in sure] == [label for label, _ in labels_by(crowd)]
    with pytest.raises(FailedPrecondition, match="is calibrated for --k 50"):
        crowd.classify(vectors=QUERIES, calibrated=True, head="none")


def test_the_command_shows_the_rules_and_applies_one(
    command: Run, crowd: Memory, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", server.address)
    found = crowd.tune()

    shown = command("tune", crowd.name)
    applied = command("tune", crowd.name, "--apply", "--json")
    info = command("info", crowd.name)
    operation = json.loads(applied.stdout)["operation"]
    undone = command("undo", crowd.name, operation)

    first, headers, *rows, chosen_by, _, _, _, last = shown.stdout.splitlines()
    assert first == (
        f"114 entries of {crowd.name} asked, each decided by the entries outside its fold, one of "
        "up to five:"
    )
    assert headers.split()[:3] == ["number", "macro", "accuracy"]
    numbered = {int(row.split()[0]): row.partition("--")[1:] for row in rows}
    assert [numbered[number] for number in range(1, 7)] == [
        flags(asdict(each.rule)).partition("--")[1:] for each in found.rules
    ]
    number = found.rules.index(found.chosen) + 1
    assert [int(row.split()[0]) for row in rows if " chosen " in row] == [number]
    assert chosen_by.startswith(
        f"Chosen by macro accuracy is number {number}: in order, it is the first that is behind"
    )
    assert last == "Nothing was changed; add --apply to make it the default of the memory."
    assert json.loads(applied.stdout)["chosen"] == asdict(found.chosen)
    rule = flags(asdict(found.chosen.rule))
    assert f"Decisions are by {rule} where a call names nothing else" in info.stdout
    assert "UTC; writes that changed entries since: 0." in info.stdout
    assert undone.stdout == (
        f"{crowd.name} decides by --k 50 --voting rank --balance 0 --head none again, "
        "as before the tuning.\n"
    )


def test_the_command_says_where_the_entries_tell_little(
    command: Run, client: Client, empty: RemoteMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", empty.server.address)
    rng, pets = np.random.default_rng(3), client.memory(empty.name)
    asked, already = (
        "Not asked, as each has a single entry: owl, wolf.",
        f"{empty.name} decides by it already.\n",
    )
    few = "Labels of fewer than 5 entries: owl, wolf, yak. So few"
    guessing = "Naming one label always has a macro accuracy of"
    clusters = np.eye(4)[np.arange(40) % 4] + rng.normal(scale=0.1, size=(40, 4))
    pets.insert(vectors=clusters, labels=["a", "b", "c", "d"] * 10)
    plain = command("tune", empty.name).stdout
    pets.insert(vectors=rng.normal(size=(5, 4)), labels=["owl", "yak", "yak", "yak", "wolf"])

    uneven = command("tune", empty.name).stdout
    pets.tune(apply=True)
    tuned = command("tune", empty.name).stdout
    pets.purge("NOT label = none", apply=True)
    pets.insert(vectors=rng.normal(size=(80, 4)), labels=["a", "b", "c", "d"] * 20)
    noise = command("tune", empty.name).stdout

    assert not any(each in plain for each in (asked, few, guessing, already))
    assert asked in uneven
    assert few in uneven
    assert guessing not in uneven
    assert tuned.endswith(already)
    assert f"{guessing} 0.2500, and the chosen rule is not clearly better" in noise
    assert "hardly tell these labels apart.\n" in noise


def test_rules_are_compared_with_one_label_of_those_that_were_asked(
    run: Run, client: Client, empty: RemoteMemory
) -> None:
    rng, pets = np.random.default_rng(4), client.memory(empty.name)
    scenes = [*map(str, range(200)), *"wxyz" * 2]
    pets.insert(
        vectors=rng.normal(size=(208, 4)),
        labels=[*"ab" * 100, *"wxyz" * 2],
        metadata=[{"scene": scene} for scene in scenes],
    )

    told = run("tune", pets.name, "--group-by", "scene").stdout

    assert "2 of 6 labels were asked" in told
    assert "Naming one label always has a macro accuracy of 0.5000, and the chosen" in told


def test_a_chosen_rule_that_names_one_label_always_is_told_of(
    run: Run, client: Client, empty: RemoteMemory
) -> None:
    rng, pets = np.random.default_rng(0), client.memory(empty.name)
    rows = 1 + rng.normal(scale=0.8, size=(420, 4))
    rows[400:, 0] += 1.5
    pets.insert(vectors=rows, labels=["common"] * 400 + ["rare"] * 20)

    told = run("tune", pets.name, "--measure", "accuracy").stdout

    chosen = next(line for line in told.splitlines() if "chosen" in line)
    assert " 0.5000 ± 0.0000 " in chosen
    assert (
        "Naming one label always has a macro accuracy of 0.5000, and the chosen rule is not "
        "clearly better.\n"
    ) in told


def test_rounding_makes_no_rule_better_than_naming_one_label(
    crowd: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    """A third as the mean of three labels, summed in another order."""
    third, found = Estimate(0.33333333333333337, 3.5e-18), crowd.tune()
    chosen = replace(found.chosen, macro_accuracy=third)
    found = replace(found, rules=[chosen], chosen=chosen, asked_label_count=3)

    tune.print_tuned(found, crowd.info(), "")

    told = capsys.readouterr().out
    assert "Naming one label always has a macro accuracy of 0.3333, and the chosen" in told


def test_the_commands_say_where_a_calibration_is_of_another_rule(
    command: Run, crowd: Memory, monkeypatch: pytest.MonkeyPatch, server: Server, client: Client
) -> None:
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", server.address)
    hint = (
        "Its calibration is of another rule, and --calibrated and --coverage are refused until "
        f"visual-memory calibrate {crowd.name}   makes one of this, with the pictures or the "
        "--group-by of before, if there were any.\n"
    )
    crowd.calibrate()

    applied = command("tune", crowd.name, "--apply").stdout
    undone = command("undo", crowd.name, tuned(client, crowd)).stdout
    crowd.tune(apply=True)
    crowd.calibrate()
    again = command("tune", crowd.name, "--apply").stdout
    last = tuned(client, crowd)
    crowd.undo(last)
    of_default = command("undo", crowd.name, tuned_before(client, crowd)).stdout

    assert applied.endswith(hint)
    assert hint not in undone
    assert hint not in again
    assert of_default.endswith(hint)


def tuned_before(client: Client, memory: Memory) -> str:
    """Return the newest tuning that was not undone."""
    tunings = (each for each in client.operations(memory.name) if each.kind == "tune")
    return next(each.name for each in tunings if each.undo_time is None)

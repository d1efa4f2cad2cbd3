"""A relabel sets labels, and its undo resets those not changed since."""

from __future__ import annotations

from tests.service.curation.conftest import IDS, NAMES

from visual_memory import Memory


def test_a_relabel_changes_labels_and_its_undo_those_that_nobody_changed_since(
    crowd: Memory,
) -> None:
    labels = {IDS[1]: "a", IDS[2]: "b", IDS[3]: NAMES[3]}
    assert crowd.relabel(labels).ids == [IDS[1], IDS[2]]
    assert crowd.get(IDS[1]).label == NAMES[1]

    done = crowd.relabel(labels, apply=True)
    crowd.update(IDS[2], label="c")

    assert done.ids == [IDS[1], IDS[2]]
    assert crowd.undo(done.operation) == 1
    assert [crowd.get(id).label for id in IDS[1:4]] == [NAMES[1], "c", NAMES[3]]


def test_a_relabel_that_is_only_shown_has_no_name(crowd: Memory) -> None:
    shown = crowd.relabel({IDS[0]: "another"}, wait=False)

    assert (shown.name, shown.state) == ("", "done")
    assert shown.result == crowd.relabel({IDS[0]: "another"})

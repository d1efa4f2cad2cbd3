"""Decisions: on a picture or an entry, explained, changed as a question, and changed for real."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from visual_memory.options import VOTINGS
from visual_memory.terminal.output import plural
from visual_memory_explorer import pictures
from visual_memory_explorer.pages import url
from visual_memory_explorer.visit import BadInput, Visit, number

SHOWN = 60  # neighbours
SCORES_SHOWN = 6
K_MAX = 1000
LEFT_OUT = "without"  # not "remove": in the browser it would hide the method of the form
LABEL = "label:"  # begins the name of a field, the id of an entry ends it


async def ask_page(visit: Visit) -> Response:
    """Show the decision on a picture or an entry, if the address names one, or ask for a picture.

    What the address changes is a question alone: nothing is written.
    """
    info = await visit.memory.info()
    picture, entry = visit.asked("picture"), visit.asked("entry")
    removed, relabelled = changes(visit.request.query_params.multi_items())
    explanation = None
    if picture or entry:
        explanation = await visit.memory.explain(
            **await query(visit, picture, entry),
            **rule(visit),
            remove=removed,
            relabel=relabelled,
        )
    return visit.page(
        "decide.html",
        info,
        picture=picture,
        entry=entry,
        k=visit.asked("k"),
        voting=visit.asked("voting"),
        votings=VOTINGS,
        explanation=explanation,
        removed=set(removed),
        relabelled=relabelled,
        removals={each.id: each for each in explanation.removals} if explanation else {},
        shown=SHOWN,
        scores_shown=SCORES_SHOWN,
        labels=sorted(info.labels),
        takes_pictures=info.embedder is not None,
    )


async def query(visit: Visit, picture: str, entry: str) -> dict[str, Any]:
    """Return the arguments of ``explain`` that say what is asked; an entry is asked of others."""
    if picture:
        return {"images": [visit.session.picture(picture).sent]}
    vector = (await visit.memory.get(entry, include_vector=True)).vector
    assert vector is not None
    return {"vectors": vector[None], "exclude_ids": [entry]}


def rule(visit: Visit) -> dict[str, Any]:
    """Return the rule that the address gives; what it leaves open is the memory's."""
    said: dict[str, Any] = {}
    if visit.asked("k"):
        said["k"] = number(visit.asked("k"), "k", 1, 1, K_MAX)
    if visit.asked("voting"):
        if visit.asked("voting") not in VOTINGS:
            raise BadInput(f"The voting must be one of {', '.join(VOTINGS)}.")
        said["voting"] = visit.asked("voting")
    return said


def changes(fields: list[tuple[str, str]]) -> tuple[list[str], dict[str, str]]:
    """Return the ids of entries that are not to vote, and the new labels of others by id."""
    removed = [value for name, value in fields if name == LEFT_OUT]
    relabelled = {
        name.removeprefix(LABEL): value.strip()
        for name, value in fields
        if name.startswith(LABEL) and value.strip()
    }
    for id in removed:
        relabelled.pop(id, None)
    return list(dict.fromkeys(removed)), relabelled


async def send(visit: Visit) -> Response:
    """Hold a picture that was chosen, dropped, pasted or photographed, and ask about it."""
    sent = visit.form.files("picture")
    if not sent:
        raise BadInput("No picture came with the form: choose, drop or paste one.")
    picture = await asyncio.to_thread(pictures.read, sent[0])
    return visit.go(here(visit), {"picture": visit.session.keep(picture)})


async def again(visit: Visit) -> Response:
    """Ask again with other changes, at an address without the secret of the form."""
    removed, relabelled = changes(list(visit.form))
    said = [*asked(visit).items(), *((LEFT_OUT, id) for id in removed)]
    labels = [(f"{LABEL}{id}", label) for id, label in relabelled.items()]
    return visit.go(here(visit), [*said, *labels])


async def apply(visit: Visit) -> Response:
    """Do what was asked as a question: take votes away, and set labels. Both can be undone."""
    removed, relabelled = changes(list(visit.form))
    done, said = list[str](), list[str]()
    if relabelled:
        result = await visit.memory.relabel(relabelled, apply=True)
        said.append(f"{plural(len(result.ids), 'entry')} relabelled")
        done.extend([result.operation] if result.operation else [])
    if removed:
        pruned = await visit.memory.prune(method="ids", ids=removed, apply=True)
        said.append(f"{plural(len(pruned.ids), 'entry')} left without a vote")
        done.append(pruned.operation)
    if not said:
        raise BadInput("Nothing was changed: leave a neighbour out, or give it another label.")
    visit.say(f"Done: {' and '.join(said)}.", *done)
    return visit.go(here(visit), asked(visit))


async def remember(visit: Visit) -> Response:
    """Insert the picture with the label that somebody gave it."""
    label = visit.form.text("label").strip()
    if not label:
        raise BadInput("The label must not be empty.")
    sent = visit.session.picture(visit.form.text("picture")).sent
    result = await visit.memory.insert(images=[sent], labels=[label])
    visit.say(f"Remembered as {label}: entry {result.ids[0]}.")
    return visit.go(here(visit), asked(visit))


def here(visit: Visit) -> str:
    """Return the address of the decisions of this memory."""
    return url("memories", visit.memory.name, "decide")


def asked(visit: Visit) -> Mapping[str, str]:
    """Return the question that a form was shown with."""
    names = ("picture", "entry", "k", "voting")
    return {name: text for name in names if (text := visit.form.text(name))}

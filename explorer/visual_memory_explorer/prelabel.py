"""Prelabel: a memory as the machine-learning backend of Label Studio.

The memory predicts the labels of tasks; a task that is annotated becomes an entry, one that is
annotated otherwise gets its new label, and one whose annotation is deleted goes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from visual_memory import Error, FailedPrecondition, NotFound
from visual_memory.aio import Memory
from visual_memory_explorer.studio import Labelling, Studio, StudioError

ANNOTATION, TASK = "label_studio_annotation", "label_studio_task"
CHANGED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED")
DELETED, ALL = "ANNOTATIONS_DELETED", "START_TRAINING"
HOSTS = ("127.0.0.1", "localhost")
log = logging.getLogger(__name__)


class Prelabel:
    """The backend of a memory for the projects of a Label Studio.

    A request only says that something has changed: what is stored is read from Label Studio, so
    that nobody else who reaches this backend can teach the memory.
    """

    def __init__(self, memory: Memory, studio: Studio) -> None:
        self._memory, self._studio = memory, studio
        self._one_at_a_time = asyncio.Lock()
        self._running = set[asyncio.Task[None]]()

    def application(self) -> Starlette:
        """Return the ASGI application, which answers by the names of this machine alone."""
        return Starlette(
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
            exception_handlers={json.JSONDecodeError: no_json},
            routes=[
                Route("/", self._health),
                Route("/health", self._health),
                Route("/versions", self._versions),
                Route("/setup", self._setup, methods=["POST"]),
                Route("/predict", self._predict, methods=["POST"]),
                Route("/webhook", self._changed, methods=["POST"]),
            ],
        )

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._running:
            await asyncio.wait(self._running)

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "UP", "model_class": "visual memory"})

    async def _version(self) -> str:
        info = await self._memory.info()
        return f"{info.name} {info.digest[:12]}".strip()

    async def _versions(self, _: Request) -> Response:
        return JSONResponse({"versions": [await self._version()]})

    async def _setup(self, request: Request) -> Response:
        try:
            Labelling.read((await request.json()).get("schema", ""))
            return JSONResponse({"model_version": await self._version()})
        except (StudioError, Error) as problem:
            return JSONResponse({"error": str(problem)}, 400)

    async def _predict(self, request: Request) -> Response:
        asked = await request.json()
        try:
            labelling = Labelling.read(asked.get("label_config", ""))
            version = await self._version()
            project = str(asked.get("project", "")).partition(".")[0]
            results = [
                await self._predicted(labelling, task | {"project": project}, version)
                for task in asked.get("tasks", [])
            ]
        except (StudioError, Error) as problem:
            return JSONResponse({"error": str(problem)}, 400)
        return JSONResponse({"results": results})

    async def _predicted(
        self, labelling: Labelling, task: dict[str, Any], version: str
    ) -> dict[str, Any]:
        """Return the prediction of a task, without a label where it cannot be had."""
        nothing = {"result": [], "score": 0.0, "model_version": version}
        try:
            picture = await self._studio.picture(str(task["data"].get(labelling.field, "")))
            (decision,) = await self._memory.classify([picture], exclude_ids=[id_of(task)])
        except FailedPrecondition:  # nothing votes yet
            return nothing
        except (StudioError, Error) as problem:
            log.warning("No prediction for task %s: %s", task.get("id"), problem)
            return nothing
        return {
            "result": labelling.result(decision.label),
            "score": decision.confidence,
            "model_version": version,
        }

    async def _changed(self, request: Request) -> Response:
        """Begin to take over a change; Label Studio waits for the answer for a second."""
        task = asyncio.create_task(self._take_over(await request.json()))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return JSONResponse({"status": "begun"}, 202)

    async def _take_over(self, said: dict[str, Any]) -> None:
        async with self._one_at_a_time:
            try:
                action, project = said.get("action"), int(said["project"]["id"])
                if action in CHANGED:
                    await self._store(project, int(said["task"]["id"]))
                elif action == DELETED:
                    for each in said.get("annotations", []):
                        await self._look_again(project, int(each["id"]))
                elif action == ALL:
                    async for task in self._studio.tasks(project):
                        await self._store(project, int(task["id"]))
            except (StudioError, Error) as problem:
                log.warning("A change in Label Studio was not taken over: %s", problem)
            except (KeyError, TypeError, ValueError) as problem:
                log.warning("A message that is none of Label Studio: %r", problem)

    async def _look_again(self, project: int, annotation: int) -> None:
        """Store anew what an annotation that is gone had said."""
        matching = f'metadata.{ANNOTATION} = "{annotation}"'
        for entry in [each async for each in self._memory.entries(matching)]:
            await self._store(project, int(entry.metadata[TASK]))

    async def _store(self, project: int, number: int) -> None:
        """Give the entry of a task the label of its newest annotation, or delete it."""
        found, task = await self._studio.project(project), await self._studio.task(number)
        if found is None:
            raise StudioError(f"There is no project {project}.")
        labelling = Labelling.read(found["label_config"])
        said = labelling.label(task) if task is not None else None
        id = id_of({"project": project, "id": number})
        try:
            entry = await self._memory.get(id)
        except NotFound:
            entry = None
        if task is None or said is None:
            if entry is not None:
                await self._memory.delete([id])
            return
        label, annotation = said
        metadata = {ANNOTATION: annotation, TASK: str(number)}
        if entry is not None:
            await self._memory.update(id, label=label, metadata=entry.metadata | metadata)
            return
        picture = await self._studio.picture(str(task["data"].get(labelling.field, "")))
        await self._memory.insert([picture], labels=[label], ids=[id], metadata=[metadata])


async def no_json(_: Request, problem: Exception) -> Response:
    """Refuse a body that is no JSON."""
    return JSONResponse({"error": f"The body is no JSON: {problem}."}, 400)


def id_of(task: dict[str, Any]) -> str:
    """Return the id of the entry of a task."""
    return f"label-studio/{task.get('project')}/{task.get('id')}"

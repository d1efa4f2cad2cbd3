"""Label Studio: its projects, as much of them as a memory needs, by its HTTP API."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit
from xml.etree import ElementTree

PICTURE_BYTES_MAX = 64 << 20
TIMEOUT_SECONDS = 30
ACCESS_SECONDS = 120  # of a token made from a personal one, which lives for five minutes
PAGE = 100


class StudioError(Exception):
    """What Label Studio, or a task of it, does not give; the message says why."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """How a project labels pictures: the choices ``name`` of the image ``of``, in ``field``."""

    name: str
    of: str
    field: str

    @classmethod
    def read(cls, config: str) -> Labelling:
        """Read a labelling configuration. Raises StudioError where it chooses no class."""
        if "<!" in config.replace("<!--", ""):
            raise StudioError("The labelling configuration declares entities, which are not read.")
        try:
            root = ElementTree.fromstring(config)
        except ElementTree.ParseError as problem:
            raise StudioError(f"The labelling configuration is no XML: {problem}.") from None
        images = {
            each.get("name"): (each.get("value") or "").removeprefix("$")
            for each in root.iter("Image")
        }
        for choices in root.iter("Choices"):
            name, of = choices.get("name"), choices.get("toName")
            if name and of and images.get(of):
                return cls(name, of, images[of])
        raise StudioError(
            'The project needs <Choices name="label" toName="image"> for an '
            '<Image name="image" value="$image">.'
        )

    def result(self, label: str) -> list[dict[str, Any]]:
        """Return the result of an annotation that chooses a label."""
        region = {"from_name": self.name, "to_name": self.of, "type": "choices"}
        return [{**region, "value": {"choices": [label]}}]

    def label(self, task: dict[str, Any]) -> tuple[str, str] | None:
        """Return the label of the newest annotation of a task, and the annotation's number.

        Annotations that were skipped, and those without exactly one choice, do not count.
        """
        found = list[tuple[str, str, str]]()
        for each in task.get("annotations", []):
            chosen = [
                choice
                for region in each.get("result", [])
                if region.get("from_name") == self.name
                for choice in region.get("value", {}).get("choices", [])
            ]
            if len(chosen) == 1 and not each.get("was_cancelled"):
                found.append((str(each.get("updated_at")), str(chosen[0]), str(each["id"])))
        return max(found)[1:] if found else None


class SameHost(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to another host, which would be sent the token."""

    def redirect_request(self, req: Any, *how: Any) -> Any:
        if origin(how[-1]) != origin(req.full_url):
            raise StudioError(f"{req.full_url} leads to another host.")
        return super().redirect_request(req, *how)


def origin(url: str) -> tuple[str, str]:
    """Return the scheme and the host of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


class Studio:
    """A Label Studio at ``url``, asked with an access token of one of its users.

    The token is a personal one or one of the older kind, of which requests carry the first.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self._token = url.rstrip("/") + "/", token
        self._access, self._until = "", 0.0
        self._opener = urllib.request.build_opener(SameHost())

    async def task(self, number: int) -> dict[str, Any] | None:
        """Return a task with its annotations, None if there is none."""
        return await self._json(f"api/tasks/{number}/")

    async def project(self, number: int) -> dict[str, Any] | None:
        """Return a project, None if there is none."""
        return await self._json(f"api/projects/{number}/")

    async def tasks(self, project: int) -> AsyncIterator[dict[str, Any]]:
        """Yield the tasks of a project with their annotations."""
        for page in range(1, 1 << 31):
            query = urlencode(
                {"project": project, "page": page, "page_size": PAGE, "fields": "all"}
            )
            try:
                found = await self._json(f"api/tasks/?{query}")
            except StudioError:
                if page == 1:
                    raise
                return  # there is no further page
            tasks = (found or {}).get("tasks", [])
            for task in tasks:
                yield task
            if len(tasks) < PAGE:
                return

    async def picture(self, address: str) -> bytes:
        """Return the picture of a task. Raises StudioError."""
        url = urljoin(self.url, address)
        if origin(url) != origin(self.url):
            raise StudioError(f"{url} is of another host than {self.url}.")
        data = await self._get(url)
        if data is None:
            raise StudioError(f"There is no picture at {url}.")
        return data

    async def _json(self, path: str) -> dict[str, Any] | None:
        data = await self._get(urljoin(self.url, path))
        return None if data is None else json.loads(data)

    async def _get(self, url: str) -> bytes | None:
        return await asyncio.to_thread(self._fetch, url)

    def _fetch(self, url: str) -> bytes | None:
        request = urllib.request.Request(url, headers={"Authorization": self._authorization()})
        try:
            return self._read(request)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise StudioError(f"{url} answers with {error.code} {error.reason}.") from None
        except OSError as problem:
            raise StudioError(f"{url} cannot be reached: {problem}.") from None

    def _read(self, request: urllib.request.Request) -> bytes:
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            data: bytes = answer.read(PICTURE_BYTES_MAX + 1)
        if len(data) > PICTURE_BYTES_MAX:
            raise StudioError(f"{request.full_url} has more than {PICTURE_BYTES_MAX >> 20} MiB.")
        return data

    def _authorization(self) -> str:
        if self._token.count(".") != 2:
            return f"Token {self._token}"
        if time.monotonic() > self._until:
            request = urllib.request.Request(
                urljoin(self.url, "api/token/refresh/"),
                json.dumps({"refresh": self._token}).encode(),
                {"Content-Type": "application/json"},
            )
            try:
                self._access = json.loads(self._read(request))["access"]
            except urllib.error.HTTPError:
                raise StudioError(f"{self.url} does not know the access token.") from None
            except OSError as problem:
                raise StudioError(f"{self.url} cannot be reached: {problem}.") from None
            self._until = time.monotonic() + ACCESS_SECONDS
        return f"Bearer {self._access}"

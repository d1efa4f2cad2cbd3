"""Callers: who makes a call, by a key in its metadata or by certificate."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import structlog

from visual_memory.scopes import SCOPES
from visual_memory_service.access.key_file import BadKeyFile, KeyFile, KeysGone
from visual_memory_service.access.keys import LOCAL, TEXT, Key, Secret, sha256
from visual_memory_service.access.limits import STRANGERS_PER_SECOND, Account, Pace
from visual_memory_service.errors import (
    BadField,
    ExpiredKey,
    KeysUnreadable,
    NoKey,
    RevokedKey,
    WrongKey,
)

AUTHORIZATION, API_KEY = "authorization", "api-key"  # of metadata
BEARER = "bearer "
NO_SECRET = Secret("", sha256(""))  # what an unknown id is compared with
log = structlog.get_logger()

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


class Caller(NamedTuple):
    """Who makes a call: the key, and the account of what all calls with it use."""

    key: Key
    account: Account


ANYBODY = Caller(Key(LOCAL, SCOPES, (), created=datetime.fromtimestamp(0, UTC)), Account(LOCAL, {}))
caller: ContextVar[Caller] = ContextVar("caller")  # of the call under way


def principal() -> str:
    """Return the name of the caller of the call under way."""
    return caller.get().key.name


class Callers:
    """Finds the key of each call. Where there never was a file of keys, anybody may do everything.

    The file is read again once it has changed. If it cannot be read, or has gone, all calls are
    refused. Keys have the given ``limits``, but for those that they name themselves. Raises
    BadKeyFile.
    """

    def __init__(self, file: KeyFile, limits: Mapping[str, float]) -> None:
        self._file, self._limits = file, limits
        self.strangers = Pace(STRANGERS_PER_SECOND)  # of their refusals
        self._accounts: dict[str, Account] = {}
        self._version = file.version()
        self._problem = ""
        self.needs_keys = self._version is not None
        self._take(file.read())
        if self.needs_keys:
            file.need()  # of keys that were copied to this folder

    def _take(self, keys: Iterable[Key]) -> None:
        keys = list(keys)
        self._by_id = {secret.id: (key, secret) for key in keys for secret in key.secrets}
        self._by_certificate = {key.name: key for key in keys if not key.secrets}
        for key in keys:
            limits = {**self._limits, **key.limits}
            self._accounts.setdefault(key.name, Account(key.name, limits)).limit(limits)

    def need_keys_now(self) -> bool:
        """Return True if calls need a key, also where none can be read."""
        if not self.needs_keys:
            with suppress(KeysUnreadable):
                self._refresh()
        return self.needs_keys

    def find(
        self, metadata: Callable[[], Metadata | None], certificate_names: Iterable[str]
    ) -> Caller:
        """Return a caller by the key in its metadata, else by its certificate.

        Raises NoKey, WrongKey, RevokedKey, ExpiredKey, KeysUnreadable, and BadField if there are
        two keys.
        """
        self._refresh()
        if not self.needs_keys:
            return ANYBODY
        now = datetime.now(UTC)
        text = key_text(metadata() or ())
        if text is None:
            named = (self._by_certificate.get(name) for name in certificate_names)
            key = next((each for each in named if each is not None), None)
            if key is None:
                raise NoKey
        else:
            key = self._key_of(text, now)
        if key.revoked is not None:
            raise RevokedKey(key.name)
        if key.expires is not None and key.expires <= now:
            raise ExpiredKey(key.name)
        return Caller(key, self._accounts[key.name])

    def _key_of(self, text: str, now: datetime) -> Key:
        found = TEXT.fullmatch(text)
        id, secret = found.groups() if found else ("", "")
        key, known = self._by_id.get(id, (ANYBODY.key, NO_SECRET))
        if not hmac.compare_digest(known.sha256, sha256(secret)) or known is NO_SECRET:
            raise WrongKey
        if known.until is not None and known.until <= now:
            raise RevokedKey(key.name)
        return key

    def _refresh(self) -> None:
        """Read the file if it has changed. Raises KeysUnreadable."""
        try:
            version = self._file.version()
            if version is None and self.needs_keys:
                raise KeysGone(self._file.path, self._file.needed)
            if version == self._version:
                return
            self.needs_keys = True  # also where the file cannot be read
            keys = self._file.read()
        except BadKeyFile as problem:
            if str(problem) != self._problem:  # else each call would tell it
                self._problem = str(problem)
                log.error("keys not read", problem=self._problem)
            raise KeysUnreadable from None
        self._take(keys)
        self._problem = ""
        self._version = version
        log.info("keys read", keys=len(keys))


def key_text(metadata: Metadata) -> str | None:
    """Return the key in a call's metadata, None if there is none. Raises BadField, WrongKey."""
    texts = set[str]()
    for name, value in metadata:
        if name not in (AUTHORIZATION, API_KEY):
            continue
        if not isinstance(value, str):
            raise WrongKey
        if name == API_KEY:
            texts.add(value)
        elif value[: len(BEARER)].lower() == BEARER:
            texts.add(value[len(BEARER) :].strip())
        else:
            raise BadField(AUTHORIZATION, "in the metadata must be Bearer and a key")
    if len(texts) > 1:
        raise BadField(API_KEY, "in the metadata is another key than that of authorization")
    return texts.pop() if texts else None

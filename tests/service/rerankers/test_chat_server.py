"""One call to a chat server: its request, and every way in which it can fail."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from math import inf

import pytest
from tests.service.rerankers.conftest import ChatSpeaker, Handler, gives, says

from visual_memory_service.config import BadSetting
from visual_memory_service.errors import BadChatAnswer, ChatUnavailable
from visual_memory_service.rerankers.chat_server import ANSWER_BYTES_MAX, ChatServer

KEY = "sk-very-secret"
CONTENT = [{"type": "text", "text": "Héllo\n"}]


def server_at(url: str, *, key: str = KEY, timeout: float = 10) -> ChatServer:
    return ChatServer(url, "some/model", key, timeout)


def refusal(server: ChatServer, deadline: float = inf) -> str:
    """Check that a call fails, and return the message."""
    with pytest.raises((ChatUnavailable, BadChatAnswer)) as caught:
        server.ask(CONTENT, deadline)
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_the_server_gets_the_message_and_the_key(speaker: ChatSpeaker) -> None:
    speaker.answer = says("hello")

    text = server_at(speaker.url).ask(CONTENT, inf)

    sent = speaker.sent.get_nowait()
    assert text == "hello"
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["Host"] == speaker.host
    assert sent.body == {
        "model": "some/model",
        "temperature": 0,
        "messages": [{"role": "user", "content": CONTENT}],
    }


def test_without_a_key_none_is_sent(speaker: ChatSpeaker) -> None:
    server_at(speaker.url, key="").ask(CONTENT, inf)

    assert "Authorization" not in speaker.sent.get_nowait().headers


def test_a_slash_at_the_end_of_the_url_makes_no_difference(speaker: ChatSpeaker) -> None:
    server_at(f"{speaker.url}/").ask(CONTENT, inf)

    assert speaker.sent.get_nowait().path == "/v1/chat/completions"


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(server_at("http://localhost/v1"))


# What is no answer


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (500, "answered with status 500 (Internal Server Error)."),
        (429, "answered with status 429 (Too Many Requests)."),
        (401, "with status 401 (Unauthorized); check VISUAL_MEMORY_CHAT_KEY."),
        (404, "answered with status 404 (Not Found); check --url and --model."),
        (204, "answered with status 204 (No Content)."),
        (799, "answered with status 799 (unknown)."),
    ],
)
def test_a_status_that_is_not_200_is_named(
    speaker: ChatSpeaker, status: int, sentence: str
) -> None:
    speaker.answer = gives(b"" if status == 204 else f"bad key {KEY}".encode(), status)

    said = refusal(server_at(speaker.url))

    assert said.startswith(f"The chat server at {speaker.host} ")
    assert said.endswith(sentence)


def test_a_redirect_is_not_followed_for_the_key_would_go_along(speaker: ChatSpeaker) -> None:
    def redirect(handler: Handler) -> None:
        handler.send_response(307)
        handler.send_header("Location", f"{speaker.url}/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    speaker.answer = redirect

    assert "status 307 (Temporary Redirect)" in refusal(server_at(speaker.url))
    speaker.sent.get_nowait()
    assert speaker.sent.empty()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": {}}]}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": [1]}}]}',
    ],
)
def test_an_answer_that_is_no_chat_completion_is_refused(speaker: ChatSpeaker, body: bytes) -> None:
    speaker.answer = gives(body)

    assert refusal(server_at(speaker.url)) == (
        f"The chat server at {speaker.host} answered with status 200, but not with a chat "
        "completion that holds a text."
    )


def test_an_answer_without_end_is_not_read(speaker: ChatSpeaker) -> None:
    speaker.answer = gives(bytes(ANSWER_BYTES_MAX + 1))

    assert f"but with more than {ANSWER_BYTES_MAX} bytes" in refusal(server_at(speaker.url))


def test_a_closed_port_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"

        assert refusal(server_at(f"http://{host}/v1")) == (
            f"The chat server at {host} cannot be reached: Connection refused."
        )


def test_a_host_that_has_no_address_is_named() -> None:
    said = refusal(server_at("http://nowhere.invalid/v1"))

    assert said.startswith("The chat server at nowhere.invalid cannot be reached: ")


def test_a_connection_that_is_broken_off_is_named(speaker: ChatSpeaker) -> None:
    def break_off(handler: Handler) -> None:
        handler.close_connection = True

    speaker.answer = break_off

    assert "broke the connection off" in refusal(server_at(speaker.url))


def test_a_server_of_another_protocol_is_named(speaker: ChatSpeaker) -> None:
    def speak_smtp(handler: Handler) -> None:
        handler.wfile.write(b"220 mail ready\r\n")
        handler.close_connection = True

    speaker.answer = speak_smtp

    assert "sent what is not a whole HTTP answer" in refusal(server_at(speaker.url))


def test_plain_http_where_tls_is_expected_is_named(speaker: ChatSpeaker) -> None:
    said = refusal(server_at(f"https://{speaker.host}/v1"))

    assert "cannot be reached: [SSL" in said


# Time


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    """An event that is set when the test ends, for answers that wait."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(("timeout", "seconds"), [(0.2, inf), (60, 1.0)])
def test_it_is_waited_for_as_long_as_its_timeout_and_the_deadline_allow(
    speaker: ChatSpeaker, ended: threading.Event, timeout: float, seconds: float
) -> None:
    asked = []

    def hang(handler: Handler) -> None:
        asked.append(time.monotonic())
        ended.wait(30)

    speaker.answer = hang
    began = time.monotonic()

    said = refusal(server_at(speaker.url, timeout=timeout), began + seconds)

    told = re.search(r" did not answer within ([0-9.]+) s\.$", said)
    assert told
    over = 0.0 if seconds == inf else asked[0] - began  # of the deadline, when it was asked
    allowed = min(timeout, seconds)
    assert allowed - over - 0.0005 <= float(told[1]) <= allowed, "what was left, to a millisecond"
    assert allowed <= time.monotonic() - began < 5


def test_an_answer_that_comes_byte_by_byte_is_cut_at_the_deadline(
    speaker: ChatSpeaker, ended: threading.Event
) -> None:
    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        try:
            while not ended.wait(0.01):
                handler.wfile.write(b" ")
        except OSError:
            handler.close_connection = True

    speaker.answer = drip
    began = time.monotonic()

    said = refusal(server_at(speaker.url, timeout=0.3))

    assert said.endswith("did not answer within 0.3 s.")
    assert time.monotonic() - began < 5


def test_when_the_deadline_has_passed_it_is_not_asked(speaker: ChatSpeaker) -> None:
    said = refusal(server_at(speaker.url), time.monotonic() - 1)

    assert said.endswith("did not answer within 0 s.")
    assert speaker.sent.empty()


# What cannot be asked


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://host/v1", "with http or https"),
        ("localhost:8080/v1", "with http or https"),
        ("http:///v1", "with http or https"),
        ("http://host:0/v1", "with http or https"),
        ("", "with http or https"),
        ("http://host:99999/v1", "Port out of range"),
        ("http://[::1/v1", "Invalid IPv6"),
        ("http://a..b/v1", "label empty or too long"),
        ("http://host/v1?key=x", "must end with a path"),
        ("http://host/v1#x", "must end with a path"),
        ("http://host/v 1", "must end with a path"),
        ("http://host/é", "must end with a path"),
        (f"http://me:{KEY}@host/v1", "must not hold a password"),
        (f"http://{KEY}@host/v1", "must not hold a password"),
        (f"ftp://{KEY}@host:99999/v1", "url"),
    ],
)
def test_a_url_that_cannot_be_asked_is_refused_at_the_start(url: str, problem: str) -> None:
    with pytest.raises(BadSetting, match=r"^url .+\.$") as caught:
        server_at(url)

    assert problem in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["a b", "a\n", "schlüssel", "a\r\nX: y"])
def test_a_key_that_would_break_a_header_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadSetting, match="VISUAL_MEMORY_CHAT_KEY must be visible") as caught:
        server_at("http://localhost/v1", key=key)

    assert key not in str(caught.value)

"""Why nothing was re-ranked."""

from __future__ import annotations


class RerankingRefusal(Exception):
    """The root of what a re-ranker refuses; its message is a sentence to act on."""


class ChatUnavailable(RerankingRefusal):
    """The chat server gave no answer; asked again later it may."""

    def __init__(self, host: str, problem: str) -> None:
        super().__init__(f"The chat server at {host} {problem}.")
        self.host, self.problem = host, problem


class BadChatAnswer(RerankingRefusal):
    """The chat server answered, with what is no order of the candidates."""

    def __init__(self, host: str, problem: str) -> None:
        super().__init__(f"The chat server at {host} answered with status 200, but {problem}.")
        self.host, self.problem = host, problem


class BadRanking(Exception):
    """A re-ranker's answer that no vote can be taken by; the server of the memories noticed it."""

"""Errors of the package. Each message says what happened, why, and what to do next."""

from __future__ import annotations


class NeapError(Exception):
    """Base of everything this package raises on purpose."""


class InvalidJob(NeapError):
    """The description of the job is missing a field, has a wrong type, or contradicts the environment."""


class AgentUnavailable(NeapError):
    """The node's agent did not answer within the time given for retries."""


class AgentRefused(NeapError):
    """The agent understood the request and said no (4xx). Asking again would not help.

    `status` is the HTTP status, `reason` the agent's stable machine-readable reason ("" when it gave none).
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

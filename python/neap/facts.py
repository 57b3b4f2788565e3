"""What the agent tells a training process about its job, checked before anything relies on it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

from .errors import InvalidJob

JOB_FILE_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Resume:
    """A complete checkpoint to go on from. `step` is the number of steps it contains."""

    path: Path
    step: int


@dataclass(frozen=True)
class Lease:
    """How long the node may be without its agent before its work may run elsewhere.

    `file` holds the time of the last renewal. A program that still runs `grace_seconds` after the end must go.
    """

    seconds: float
    grace_seconds: float
    file: Path | None = None


@dataclass(frozen=True)
class JobFacts:
    """One member's view of its job. `epoch` is the gang's epoch, not the pass over the data."""

    name: str = "local"
    epoch: int = 0
    rank: int = 0
    world_size: int = 1
    inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs_dir: Path = Path("outputs")
    checkpoint_dir: Path = Path("checkpoints")
    resume: Resume | None = None
    checkpoint_interval_steps: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    lease: Lease | None = None


def load_job_file(path: Path) -> JobFacts:
    """Reads NEAP_JOB_FILE. Raises InvalidJob when it cannot be read or does not describe a job."""
    try:
        with open(path, "rb") as file:
            payload = file.read(JOB_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidJob(f"the job file {path} cannot be read ({error.strerror}); check NEAP_JOB_FILE") from error
    if len(payload) > JOB_FILE_BYTES_MAX:
        raise InvalidJob(f"the job file {path} is larger than {JOB_FILE_BYTES_MAX} bytes; put bulk data into an input")
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidJob(
            f"the job file {path} is not JSON ({error}); it is written by the agent, do not edit it"
        ) from error
    return parse_facts(document, str(path))


def parse_facts(document: Any, source: str) -> JobFacts:
    """Checks one job document. Fields this version does not know are ignored, so that the agent may be newer."""
    fields = _Fields(document, source)
    world_size = fields.integer("world_size", minimum=1)
    rank = fields.integer("rank", minimum=0)
    if rank >= world_size:
        raise InvalidJob(f"{source}: rank {rank} does not exist in a job of {world_size} processes")
    return JobFacts(
        name=fields.text("name"),
        epoch=fields.integer("epoch", minimum=0),
        rank=rank,
        world_size=world_size,
        inputs={
            name: Path(_as_text(path, f"{source}: inputs.{name}")) for name, path in fields.mapping("inputs").items()
        },
        outputs_dir=Path(fields.text("outputs_dir")),
        checkpoint_dir=Path(fields.text("checkpoint_dir")),
        resume=_parse_resume(fields.optional("resume"), source),
        checkpoint_interval_steps=fields.integer("checkpoint_interval_steps", minimum=0),
        parameters=fields.mapping("parameters"),
        lease=_parse_lease(fields.optional("lease"), source),
    )


def _parse_resume(document: Any, source: str) -> Resume | None:
    if document is None:
        return None
    fields = _Fields(document, f"{source}: resume")
    return Resume(path=Path(fields.text("path")), step=fields.integer("step", minimum=0))


def _parse_lease(document: Any, source: str) -> Lease | None:
    if document is None:
        return None
    fields = _Fields(document, f"{source}: lease")
    file = fields.optional("file")
    return Lease(
        seconds=fields.seconds("seconds"),
        grace_seconds=fields.seconds("grace_seconds"),
        file=None if file is None else Path(_as_text(file, f"{source}: lease.file")),
    )


class _Fields:
    def __init__(self, document: Any, source: str) -> None:
        if not isinstance(document, dict):
            raise InvalidJob(f"{source}: expected a JSON object, found {_kind(document)}")
        self._document = document
        self._source = source

    def optional(self, name: str) -> Any:
        return self._document.get(name)

    def text(self, name: str) -> str:
        return _as_text(self._required(name), f"{self._source}: {name}")

    def integer(self, name: str, *, minimum: int) -> int:
        value: object = self._required(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise InvalidJob(f"{self._source}: {name} must be an integer of at least {minimum}, found {value!r:.80}")
        return value

    def seconds(self, name: str) -> float:
        value: object = self._required(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise InvalidJob(f"{self._source}: {name} must be a number of seconds above 0, found {value!r:.80}")
        return float(value)

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._document.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise InvalidJob(f"{self._source}: {name} must be an object, found {_kind(value)}")
        return value

    def _required(self, name: str) -> Any:
        if name not in self._document:
            raise InvalidJob(
                f"{self._source}: the field {name} is missing; agent and package must speak the same contract"
            )
        return self._document[name]


def _as_text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidJob(f"{what} must be a non-empty string, found {value!r:.80}")
    return value


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a string", type(None): "null"}.get(
        type(value), "a number or boolean"
    )

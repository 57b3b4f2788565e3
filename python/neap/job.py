"""The job as a training script sees it: inputs, resume, checkpoints, reports, and stopping in time.

Steps are counted from 1: step N is done when N optimiser steps were executed. A checkpoint "of step N" contains
exactly N steps, and a run that resumes from it executes N + 1 next.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Mapping, NoReturn, TypeVar

from .agent import CHECKPOINT_TIMEOUT_S, AgentLink, OfflineJournal, UnixAgent
from .checkpoint import remove_partial_files, write_whole_file
from .errors import AgentUnavailable, InvalidJob, NeapError
from .facts import JobFacts, Resume, load_job_file, parse_facts
from .lease import LeaseWatch
from .progress import ProgressReporter

# EX_TEMPFAIL of sysexits.h: stopped on request, may be resumed. The agent does not count it as a failure.
EXIT_INTERRUPTED = 75

# With a job file at hand there is no reason to wait long for the socket at the start.
_FACTS_RETRY_WITH_FILE_S = 5.0
# A script that ends by an exception must not hang for a minute because the agent is away, too.
_EXIT_FLUSH_S = 5.0

T = TypeVar("T", bool, int, float, str)
Agree = Callable[[bool], bool]


class Job:
    """One process of a running job. Made by `init`; used from the main thread only.

    1. Only rank 0 reports, saves and publishes; on other ranks those calls check nothing and do nothing.
    2. The step the agent knows is exact after every `save`, `finish` and `exit_interrupted`.
    3. A checkpoint the agent hears of is complete and synced; a crash leaves no half file under its name.
    4. All ranks get the same answer from `should_stop`, so they leave the loop after the same step.
    """

    def __init__(self, facts: JobFacts, link: AgentLink, agree: Agree | None = None) -> None:
        self.facts = facts
        self._link = link
        self._agree = agree if agree is not None else self._agree_by_torch
        self._signalled = False
        self._stop_agreed = False
        self._last_step = facts.resume.step if facts.resume else 0
        self._first_step: int | None = None
        self._saved_step = self._last_step
        self._reported = False
        self._unannounced: dict[str, Any] | None = None
        self._partials_removed = False
        self._closed = False
        self._reporter: ProgressReporter | None = None
        self._lease_watch: LeaseWatch | None = None
        if self.is_chief:
            self._reporter = ProgressReporter(link, steps_between_max=facts.checkpoint_interval_steps)

    # -- what the job is

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def rank(self) -> int:
        return self.facts.rank

    @property
    def world_size(self) -> int:
        return self.facts.world_size

    @property
    def is_chief(self) -> bool:
        """True on the one process that reports: rank 0."""
        return self.facts.rank == 0

    @property
    def outputs_dir(self) -> Path:
        """The directory for results; made on first use."""
        self.facts.outputs_dir.mkdir(parents=True, exist_ok=True)
        return self.facts.outputs_dir

    def input(self, name: str) -> Path:
        """The local path of an input. Raises InvalidJob when the job declares none of that name."""
        if name not in self.facts.inputs:
            declared = ", ".join(sorted(self.facts.inputs)) or "none"
            raise InvalidJob(
                f"job {self.name} has no input {name!r} (declared: {declared}); add it to the job's inputs"
            )
        return self.facts.inputs[name]

    def parameter(self, name: str, default: T) -> T:
        """A parameter of the job, converted to the type of `default`. Raises InvalidJob when it does not fit."""
        value = self.facts.parameters.get(name)
        return default if value is None else _convert(name, value, default)

    def resume(self) -> Resume | None:
        """The checkpoint to go on from, or None for a fresh start. Raises InvalidJob when its file is not there."""
        resume = self.facts.resume
        if resume is not None and not resume.path.exists():
            raise InvalidJob(
                f"the checkpoint {resume.path} of step {resume.step} does not exist; the agent must fetch it first"
            )
        return resume

    # -- the training loop

    def report(self, step: int, *, epoch: int | None = None, **metrics: Any) -> None:
        """Notes that `step` was executed. Never blocks and never fails because of the agent.

        `epoch` is the pass over the data. Raises ValueError when steps go backwards.
        """
        if step < self._last_step:
            raise ValueError(f"step {step} was reported after step {self._last_step}; steps only grow")
        resumed = self.facts.resume.step if self.facts.resume else 0
        if self._first_step is None and step > resumed:
            self._first_step = step
        self._last_step = step
        self._reported = True
        if self._reporter is not None:
            progress: dict[str, Any] = {"step": step, "metrics": metrics}
            if self._first_step is not None:
                progress["first_step"] = self._first_step
            if epoch is not None:
                progress["epoch"] = epoch
            self._reporter.offer(progress)

    def should_checkpoint(self, step: int) -> bool:
        """True on the steps that the declared interval names: the same on all ranks, the same after a resume."""
        interval = self.facts.checkpoint_interval_steps
        return interval > 0 and step > 0 and step % interval == 0

    def save(self, step: int, write: Callable[[str], object]) -> str:
        """Writes the checkpoint of `step` and tells the agent: "sealed", "durable", "unannounced" or "not-chief".

        `write(path)` must write one file. "unannounced" means: the file is complete, but the agent was away; it is
        announced again with the next report of this kind and at the end. Raises what `write` raises.
        """
        if not self.is_chief:
            self._saved_step = step
            return "not-chief"
        if not self._partials_removed:
            remove_partial_files(self.facts.checkpoint_dir)
            self._partials_removed = True
        path = self.facts.checkpoint_dir.absolute() / f"step-{step:010d}.ckpt"
        write_whole_file(path, write)
        self._saved_step = step
        self._deliver_progress(step)
        self._unannounced = {"path": str(path), "step": step}
        return self._announce_checkpoint()

    def should_stop(self) -> bool:
        """Collective: asks once a step, at the top of the loop, on every rank. True: leave by `exit_interrupted`.

        True on all ranks as soon as one was signalled, so that no rank waits for a peer that has left.
        """
        # The vote has a field of its own: a signal that arrives during the collective must not be overwritten.
        self._stop_agreed = self._agree(self._signalled) if self.world_size > 1 else self._signalled
        return self._stop_agreed

    @property
    def interrupted(self) -> bool:
        """True once this process, or with `should_stop` any rank, was asked to stop. Costs nothing."""
        return self._signalled or self._stop_agreed

    def exit_interrupted(self, step: int, write: Callable[[str], object]) -> NoReturn:
        """Saves `step` unless its checkpoint exists, reports it as the last one, and exits with code 75."""
        if step > self._saved_step:
            self.save(step, write)
        if self.is_chief:
            self._deliver_progress(step)
        self._close(_EXIT_FLUSH_S)
        raise SystemExit(EXIT_INTERRUPTED)

    # -- results

    def output(self, name: str, path: str | os.PathLike[str], **metadata: Any) -> None:
        """Publishes a complete file or directory as an output of the job. Raises when the agent cannot take it."""
        if self.is_chief:
            absolute = os.path.abspath(path)
            if not os.path.exists(absolute):
                raise NeapError(f"output {name}: {absolute} does not exist; write it before publishing it")
            self._link.post(
                "/v1/outputs", {"name": name, "path": absolute, "metadata": metadata}, timeout_s=CHECKPOINT_TIMEOUT_S
            )

    def finish(self, **metrics: Any) -> None:
        """Reports the last step and the final metrics. Raises when the agent cannot take them."""
        if self.is_chief:
            self._deliver_progress(self._last_step)
            if self._unannounced is not None:
                self._announce_checkpoint()
            self._link.post("/v1/metrics", metrics)
        self._close(_EXIT_FLUSH_S)

    # -- inside

    def _deliver_progress(self, step: int) -> None:
        assert self._reporter is not None
        if step > self._last_step or not self._reported:
            self.report(step)
        self._reporter.flush()

    def _announce_checkpoint(self) -> str:
        assert self._unannounced is not None
        try:
            answer = self._link.post("/v1/checkpoint", self._unannounced, timeout_s=CHECKPOINT_TIMEOUT_S)
        except AgentUnavailable as error:
            print(
                f"neap: checkpoint of step {self._unannounced['step']} is on disk but not announced: {error}",
                file=sys.stderr,
                flush=True,
            )
            return "unannounced"
        self._unannounced = None
        return str(answer.get("state", "sealed"))

    def _on_terminate(self, signal_number: int, frame: object) -> None:
        self._signalled = True

    def _watch_lease(self, agent: UnixAgent, socket_path: str) -> None:
        def on_lost() -> None:
            self._signalled = True
            agent.give_up()

        assert self.facts.lease is not None
        self._lease_watch = LeaseWatch(socket_path, self.facts.lease, on_lost, EXIT_INTERRUPTED)
        self._lease_watch.start()

    def _close(self, timeout_s: float) -> None:
        if not self._closed:
            self._closed = True
            if self._lease_watch is not None:
                self._lease_watch.close()
            if self._reporter is not None:
                self._reporter.close(timeout_s)

    def _agree_by_torch(self, flag: bool) -> bool:
        torch = sys.modules.get("torch")
        if torch is None or not torch.distributed.is_initialized():
            raise NeapError(
                "should_stop needs all ranks to agree: call torch.distributed.init_process_group first, "
                "or pass init(agree=...) a collective that is true when any rank passed true"
            )
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        vote = torch.tensor([int(flag)], dtype=torch.int32, device=device)
        torch.distributed.all_reduce(vote, op=torch.distributed.ReduceOp.MAX)
        return bool(vote.item())


def init(agree: Agree | None = None, environ: Mapping[str, str] | None = None) -> Job:
    """Learns what the job is and starts to listen for SIGTERM. Call it first, before slow imports.

    Facts come from the agent (NEAP_SOCKET), else from NEAP_JOB_FILE, else they are defaults for a run on a
    developer's machine. `agree` is the collective behind `should_stop` where torch.distributed is not used.
    """
    env = os.environ if environ is None else environ
    facts, link = _connect(env)
    facts = _checked_against_launcher(facts, env)
    job = Job(facts, link, agree)
    if facts.lease is not None and isinstance(link, UnixAgent):
        job._watch_lease(link, env["NEAP_SOCKET"])
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, job._on_terminate)
    else:
        print("neap: init was not called in the main thread, so SIGTERM ends the process at once", file=sys.stderr)
    atexit.register(job._close, _EXIT_FLUSH_S)
    return job


def _connect(env: Mapping[str, str]) -> tuple[JobFacts, AgentLink]:
    socket_path, job_file = env.get("NEAP_SOCKET", ""), env.get("NEAP_JOB_FILE", "")
    if socket_path:
        agent = UnixAgent(socket_path)
        # One socket may serve several ranks of a node: each asks for its own facts.
        path = f"/v1/job?rank={_launcher_number(env, 'RANK', 0)}"
        try:
            if job_file:
                return parse_facts(agent.get(path, retry_for_s=_FACTS_RETRY_WITH_FILE_S), "GET /v1/job"), agent
            return parse_facts(agent.get(path), "GET /v1/job"), agent
        except AgentUnavailable:
            if not job_file:
                raise
            return load_job_file(Path(job_file)), agent
    facts = load_job_file(Path(job_file)) if job_file else _local_facts(env)
    return facts, OfflineJournal(facts.outputs_dir / "neap-journal.jsonl")


def _local_facts(env: Mapping[str, str]) -> JobFacts:
    return replace(JobFacts(), rank=_launcher_number(env, "RANK", 0), world_size=_launcher_number(env, "WORLD_SIZE", 1))


def _checked_against_launcher(facts: JobFacts, env: Mapping[str, str]) -> JobFacts:
    rank, world_size = _launcher_number(env, "RANK", facts.rank), _launcher_number(env, "WORLD_SIZE", facts.world_size)
    if (rank, world_size) != (facts.rank, facts.world_size):
        raise InvalidJob(
            f"RANK={rank} WORLD_SIZE={world_size} contradict the job's rank {facts.rank} of {facts.world_size}; "
            "each rank needs its own socket or job file"
        )
    return facts


def _launcher_number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise InvalidJob(f"{name}={text!r} is not a number; unset it or let the launcher set it")
    return int(text)


def _convert(name: str, value: Any, default: T) -> T:
    kind = type(default)
    try:
        if kind is bool:
            known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            return known[str(value).lower()]  # type: ignore[return-value]
        if kind is int and (isinstance(value, bool) or float(value) != int(float(value))):
            raise ValueError(value)
        if kind is int:
            return int(float(value)) if isinstance(value, float) else int(value)  # type: ignore[return-value]
        return kind(value)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidJob(
            f"parameter {name}: {value!r:.80} is not a valid {kind.__name__}; correct the job's parameters"
        ) from error

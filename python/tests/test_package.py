"""The package against a fake agent, without torch and without training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fake_agent import FakeAgent

import neap
from neap.agent import UnixAgent, encode
from neap.checkpoint import write_whole_file
from neap.facts import Lease, parse_facts
from neap.job import Job
from neap.lease import LeaseWatch
from neap.progress import ProgressReporter

PACKAGE_ROOT = Path(__file__).resolve().parents[1]


def job_document(root: Path, **changes: Any) -> dict[str, Any]:
    document = {
        "name": "inspect",
        "epoch": 3,
        "rank": 0,
        "world_size": 1,
        "inputs": {"dataset": str(root / "dataset")},
        "outputs_dir": str(root / "outputs"),
        "checkpoint_dir": str(root / "checkpoints"),
        "resume": None,
        "checkpoint_interval_steps": 20,
        "parameters": {"steps": 300, "rate": "0.5", "fast": "true"},
    }
    document.update(changes)
    return document


class TemporaryDirectoryTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)

    def agent(self, **changes: Any) -> FakeAgent:
        agent = FakeAgent(self.root / "agent.sock", job_document(self.root, **changes))
        agent.start()
        self.addCleanup(agent.stop)
        return agent

    def job(self, agent: FakeAgent, **init_arguments: Any) -> Job:
        before = signal.getsignal(signal.SIGTERM)
        job = neap.init(environ={"NEAP_SOCKET": str(agent.socket_path)}, **init_arguments)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        self.addCleanup(job._close, 1.0)
        return job


def write_text(text: str) -> Any:
    return lambda path: Path(path).write_text(text)


class JobFactsTest(TemporaryDirectoryTest):
    def test_facts_come_from_the_agent(self) -> None:
        job = self.job(self.agent(resume={"path": str(self.root / "c"), "step": 40}))
        self.assertEqual((job.name, job.rank, job.world_size, job.facts.epoch), ("inspect", 0, 1, 3))
        self.assertEqual(job.input("dataset"), self.root / "dataset")
        (self.root / "c").touch()
        self.assertEqual(job.resume(), neap.Resume(self.root / "c", 40))

    def test_a_job_file_is_enough_and_reports_go_to_a_journal(self) -> None:
        job_file = self.root / "job.json"
        job_file.write_text(json.dumps(job_document(self.root)))
        job = neap.init(environ={"NEAP_JOB_FILE": str(job_file)})
        self.addCleanup(signal.signal, signal.SIGTERM, signal.SIG_DFL)
        job.report(20, loss=0.5)
        self.assertEqual(job.save(20, write_text("weights")), "sealed")
        job.finish(accuracy=0.9)
        journal = [json.loads(line) for line in (job.facts.outputs_dir / "neap-journal.jsonl").read_text().splitlines()]
        self.assertEqual([entry["path"] for entry in journal], ["/v1/progress", "/v1/checkpoint", "/v1/metrics"])

    def test_without_agent_and_file_there_are_local_defaults(self) -> None:
        facts, _ = neap.job._connect({"RANK": "1", "WORLD_SIZE": "2"})
        self.assertEqual((facts.name, facts.rank, facts.world_size, facts.resume), ("local", 1, 2, None))

    def test_the_job_file_serves_while_the_agent_is_away(self) -> None:
        job_file = self.root / "job.json"
        job_file.write_text(json.dumps(job_document(self.root)))
        self.addCleanup(setattr, neap.job, "_FACTS_RETRY_WITH_FILE_S", neap.job._FACTS_RETRY_WITH_FILE_S)
        neap.job._FACTS_RETRY_WITH_FILE_S = 0.1
        facts, link = neap.job._connect({"NEAP_JOB_FILE": str(job_file), "NEAP_SOCKET": str(self.root / "none.sock")})
        self.assertEqual(facts.name, "inspect")
        self.assertIsInstance(link, UnixAgent)

    def test_wrong_documents_are_refused_with_the_field_named(self) -> None:
        cases: list[tuple[Any, str]] = [
            ([], "JSON object"),
            (job_document(self.root, rank=2, world_size=2), "rank 2"),
            (job_document(self.root, rank=True), "rank"),
            (job_document(self.root, world_size=0), "world_size"),
            (job_document(self.root, outputs_dir=""), "outputs_dir"),
            (job_document(self.root, checkpoint_dir="a\0b"), "checkpoint_dir"),
            (job_document(self.root, inputs=["x"]), "inputs"),
            (job_document(self.root, inputs={"dataset": 5}), "inputs.dataset"),
            (job_document(self.root, resume={"path": "x"}), "step"),
            (job_document(self.root, checkpoint_interval_steps="20"), "checkpoint_interval_steps"),
            ({"name": "x"}, "world_size"),
        ]
        for document, named in cases:
            with self.subTest(named=named), self.assertRaisesRegex(neap.InvalidJob, named):
                parse_facts(document, "test")

    def test_a_job_file_that_is_no_json_or_huge_is_refused(self) -> None:
        job_file = self.root / "job.json"
        for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b" " * ((1 << 20) + 1)):
            job_file.write_bytes(content)
            with self.subTest(content=content[:5]), self.assertRaises(neap.InvalidJob):
                neap.job._connect({"NEAP_JOB_FILE": str(job_file)})

    def test_a_launcher_that_contradicts_the_job_is_refused(self) -> None:
        agent = self.agent()
        with self.assertRaisesRegex(neap.InvalidJob, "RANK=1"):
            neap.init(environ={"NEAP_SOCKET": str(agent.socket_path), "RANK": "1", "WORLD_SIZE": "2"})
        with self.assertRaisesRegex(neap.InvalidJob, "RANK='one'"):
            neap.init(environ={"NEAP_SOCKET": str(agent.socket_path), "RANK": "one"})

    def test_parameters_take_the_type_of_their_default(self) -> None:
        job = self.job(self.agent())
        self.assertEqual(
            (job.parameter("steps", 1), job.parameter("rate", 0.1), job.parameter("fast", False)), (300, 0.5, True)
        )
        self.assertEqual(job.parameter("absent", "x"), "x")
        for name, default in (("rate", 1), ("fast", 1.0), ("steps", False)):
            with self.subTest(name=name), self.assertRaisesRegex(neap.InvalidJob, name):
                job.parameter(name, default)

    def test_a_missing_input_or_checkpoint_is_named(self) -> None:
        job = self.job(self.agent(resume={"path": str(self.root / "gone"), "step": 7}))
        with self.assertRaisesRegex(neap.InvalidJob, "declared: dataset"):
            job.input("teacher")
        with self.assertRaisesRegex(neap.InvalidJob, "gone"):
            job.resume()


class CheckpointTest(TemporaryDirectoryTest):
    def test_every_save_is_preceded_by_its_exact_step(self) -> None:
        agent = self.agent()
        job = self.job(agent)
        for step in range(1, 61):
            job.report(step, loss=1 / step)
            if job.should_checkpoint(step):
                self.assertEqual(job.save(step, write_text(str(step))), "sealed")
        job.finish(accuracy=0.9)
        self.assertEqual(agent.violations, [])
        self.assertEqual([body["step"] for body in agent.bodies("/v1/checkpoint")], [20, 40, 60])
        self.assertEqual(
            [Path(body["path"]).read_text() for body in agent.bodies("/v1/checkpoint")], ["20", "40", "60"]
        )
        self.assertEqual(agent.bodies("/v1/progress")[-1]["step"], 60)
        self.assertEqual(agent.bodies("/v1/metrics"), [{"accuracy": 0.9}])

    def test_a_failed_write_leaves_the_old_file_and_no_partial_one(self) -> None:
        path = self.root / "c" / "step.ckpt"
        write_whole_file(path, write_text("old"))

        def fails(partial: str) -> None:
            Path(partial).write_text("half")
            raise OSError("disk full")

        with self.assertRaisesRegex(OSError, "disk full"):
            write_whole_file(path, fails)
        self.assertEqual([entry.name for entry in path.parent.iterdir()], ["step.ckpt"])
        self.assertEqual(path.read_text(), "old")

    def test_what_a_killed_predecessor_left_half_written_is_removed(self) -> None:
        agent = self.agent()
        directory = self.root / "checkpoints"
        directory.mkdir()
        (directory / ".step-0000000020.ckpt.1.partial").write_text("half")
        self.job(agent).save(20, write_text("x"))
        self.assertEqual(agent.violations, [])

    def test_other_ranks_neither_write_nor_report(self) -> None:
        agent = self.agent(rank=1, world_size=2)
        job = self.job(agent, agree=lambda flag: flag)
        job.report(20, loss=1.0)
        self.assertEqual(job.save(20, lambda path: self.fail("rank 1 must not write")), "not-chief")
        job.output("model", self.root)
        job.finish()
        self.assertEqual((agent.calls, agent.violations), ([], []))

    def test_a_refused_checkpoint_ends_training(self) -> None:
        agent = self.agent()
        job = self.job(agent)
        agent.answers = [(200, {}), (409, {"reason": "epoch.stale", "message": "epoch 4 runs elsewhere"})]
        with self.assertRaisesRegex(neap.AgentRefused, "epoch 4 runs elsewhere") as caught:
            job.save(20, write_text("x"))
        self.assertEqual((caught.exception.status, caught.exception.reason), (409, "epoch.stale"))

    def test_a_missing_output_is_refused_before_the_agent_hears_of_it(self) -> None:
        agent = self.agent()
        with self.assertRaisesRegex(neap.NeapError, "does not exist"):
            self.job(agent).output("model", self.root / "absent")
        self.assertEqual(agent.bodies("/v1/outputs"), [])


class AgentRestartTest(TemporaryDirectoryTest):
    def test_a_checkpoint_waits_for_an_agent_that_restarts(self) -> None:
        agent = self.agent()
        job = self.job(agent)
        agent.stop()
        threading.Timer(0.5, agent.start).start()
        job.report(20, loss=0.1)
        self.assertEqual(job.save(20, write_text("x")), "sealed")
        self.assertEqual([body["step"] for body in agent.bodies("/v1/checkpoint")], [20])
        self.assertEqual(agent.violations, [])

    def test_reports_do_not_block_while_the_agent_is_away(self) -> None:
        agent = self.agent()
        job = self.job(agent)
        agent.stop()
        for step in range(1, 1001):
            job.report(step, loss=0.1)
        self.assertEqual(agent.bodies("/v1/progress"), [])
        agent.start()
        job.finish()
        self.assertEqual(agent.bodies("/v1/progress")[-1]["step"], 1000)

    def test_overload_answers_are_retried_and_refusals_are_not(self) -> None:
        agent = self.agent()
        sleeps: list[float] = []
        link = UnixAgent(str(agent.socket_path), sleep=sleeps.append)
        agent.answers = [(503, {}), (500, {}), (429, {})]
        link.post("/v1/metrics", {})
        self.assertEqual(len(sleeps), 3)
        agent.answers = [(404, {})]
        with self.assertRaises(neap.AgentRefused):
            link.post("/v1/metrics", {})
        self.assertEqual(len(sleeps), 3)

    def test_retries_back_off_and_end(self) -> None:
        now = [0.0]
        sleeps: list[float] = []

        def sleep(seconds: float) -> None:
            sleeps.append(seconds)
            now[0] += seconds

        link = UnixAgent(str(self.root / "none.sock"), monotonic=lambda: now[0], sleep=sleep)
        with self.assertRaisesRegex(neap.AgentUnavailable, "gave no usable answer for 60 s"):
            link.post("/v1/metrics", {})
        self.assertAlmostEqual(sum(sleeps), 60.0, places=3)
        self.assertEqual(max(sleeps), 2.0)
        self.assertLess(len(sleeps), 50)

    def test_an_unannounced_checkpoint_is_announced_at_the_end(self) -> None:
        link = _FlakyLink()
        job = Job(parse_facts(job_document(self.root), "test"), link)
        link.fails_on = "/v1/checkpoint"
        job.report(20)
        self.assertEqual(job.save(20, write_text("x")), "unannounced")
        link.fails_on = ""
        job.finish()
        self.assertEqual([path for path, _ in link.calls if path != "/v1/progress"], ["/v1/checkpoint", "/v1/metrics"])


class _FlakyLink:
    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.fails_on = ""

    def post(self, path: str, body: Any, *, timeout_s: float = 0, retry_for_s: float = 0) -> dict[str, Any]:
        if path == self.fails_on:
            raise neap.AgentUnavailable("away")
        self.calls.append((path, dict(body)))
        return {}


class ProgressTest(TemporaryDirectoryTest):
    def test_the_newest_report_wins_and_steps_never_go_back(self) -> None:
        link = _FlakyLink()
        reporter = ProgressReporter(link, min_interval_s=1000.0)
        for step in range(1, 501):
            reporter.offer({"step": step, "metrics": {}})
        self.assertTrue(reporter.close())
        steps = [body["step"] for _, body in link.calls]
        self.assertEqual(steps[-1], 500)
        self.assertEqual(steps, sorted(steps))
        self.assertLess(len(steps), 10)

    def test_a_report_goes_out_at_least_every_n_steps(self) -> None:
        link = _FlakyLink()
        reporter = ProgressReporter(link, steps_between_max=10, min_interval_s=1000.0)
        reporter.offer({"step": 1, "metrics": {}})
        reporter.flush()
        for step in range(2, 12):
            reporter.offer({"step": step, "metrics": {}})
        deadline = time.monotonic() + 20
        while len(link.calls) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        self.assertEqual(link.calls[1][1]["step"], 11)
        reporter.close()

    def test_going_back_is_a_programming_error(self) -> None:
        job = self.job(self.agent())
        job.report(5)
        with self.assertRaisesRegex(ValueError, "steps only grow"):
            job.report(4)

    def test_values_json_cannot_hold_become_null(self) -> None:
        self.assertEqual(
            json.loads(encode({"a": float("nan"), "b": [float("inf")], "c": 1.5})), {"a": None, "b": [None], "c": 1.5}
        )
        with self.assertRaisesRegex(neap.NeapError, "cannot be reported"):
            encode({"a": object()})


class InterruptTest(TemporaryDirectoryTest):
    SCRIPT = """
import os, signal, sys, neap
job = neap.init()
done = job.resume().step if job.resume() else 0
write = lambda path: open(path, "w").write(str(done))
for step in range(done + 1, 101):
    if job.should_stop():
        job.exit_interrupted(done, write)
    if step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGTERM)
    done = step
    job.report(step, loss=1.0)
    if job.should_checkpoint(step):
        job.save(step, write)
    if step == int(sys.argv[2]):
        raise RuntimeError("a bug in the script")
job.finish()
"""

    def run_script(self, agent: FakeAgent, signal_at: int, fail_at: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "NEAP_SOCKET": str(agent.socket_path), "PYTHONPATH": str(PACKAGE_ROOT)}
        return subprocess.run(
            [sys.executable, "-c", self.SCRIPT, str(signal_at), str(fail_at)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_sigterm_finishes_the_step_saves_it_and_exits_with_75(self) -> None:
        agent = self.agent()
        self.assertEqual(self.run_script(agent, signal_at=47).returncode, neap.EXIT_INTERRUPTED)
        self.assertEqual([body["step"] for body in agent.bodies("/v1/checkpoint")], [20, 40, 47])
        self.assertEqual(agent.bodies("/v1/progress")[-1]["step"], 47)
        self.assertEqual(agent.bodies("/v1/metrics"), [])
        self.assertEqual(agent.violations, [])

    def test_a_stop_before_the_first_step_of_a_resumed_run_reports_the_resumed_step(self) -> None:
        agent = self.agent(resume={"path": str(self.root / "c"), "step": 40})
        (self.root / "c").touch()
        job = self.job(agent)
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertTrue(job.should_stop())
        with self.assertRaises(SystemExit) as caught:
            job.exit_interrupted(40, lambda path: self.fail("step 40 is saved already"))
        self.assertEqual(caught.exception.code, 75)
        self.assertEqual([body["step"] for body in agent.bodies("/v1/progress")], [40])

    def test_a_checkpoint_that_exists_is_not_written_again_for_the_stop(self) -> None:
        agent = self.agent()
        self.assertEqual(self.run_script(agent, signal_at=40).returncode, neap.EXIT_INTERRUPTED)
        self.assertEqual([body["step"] for body in agent.bodies("/v1/checkpoint")], [20, 40])

    def test_a_script_that_fails_still_reports_its_last_step(self) -> None:
        agent = self.agent()
        result = self.run_script(agent, signal_at=0, fail_at=53)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("a bug in the script", result.stderr)
        self.assertEqual(agent.bodies("/v1/progress")[-1]["step"], 53)
        self.assertEqual(agent.violations, [])

    def test_a_signal_during_the_vote_is_not_lost(self) -> None:
        job = self.job(self.agent(world_size=2), agree=self._vote_with_a_signal_inside)
        self.assertFalse(job.should_stop())
        self.assertTrue(job.interrupted)
        self.assertTrue(job.should_stop())

    @staticmethod
    def _vote_with_a_signal_inside(flag: bool) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return flag

    def test_a_vote_of_another_rank_stops_this_one(self) -> None:
        job = self.job(self.agent(world_size=2), agree=lambda flag: True)
        self.assertTrue(job.should_stop())
        self.assertTrue(job.interrupted)

    def test_voting_without_a_collective_is_an_error_that_says_what_to_do(self) -> None:
        job = self.job(self.agent(world_size=2))
        if "torch" in sys.modules:
            self.skipTest("torch is loaded in this process")
        with self.assertRaisesRegex(neap.NeapError, "init_process_group"):
            job.should_stop()


class LeaseTest(TemporaryDirectoryTest):
    SCRIPT = """
import sys, time, neap
job = neap.init()
write = lambda path: open(path, "w").write("state")
job.report(1, loss=1.0)
print("started", flush=True)
for step in range(2, 10_000):
    if sys.argv[1] == "listens" and job.should_stop():
        job.exit_interrupted(step - 1, write)
    time.sleep(0.02)
    job.report(step, loss=1.0)
"""

    def start_script(self, agent: FakeAgent, behaviour: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "NEAP_SOCKET": str(agent.socket_path), "PYTHONPATH": str(PACKAGE_ROOT)}
        script = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, behaviour],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(script.communicate)
        self.addCleanup(script.kill)
        assert script.stdout is not None
        self.assertEqual(script.stdout.readline(), "started\n")
        return script

    def lease(self, seconds: float, grace_seconds: float = 30.0) -> dict[str, Any]:
        return {"seconds": seconds, "grace_seconds": grace_seconds, "file": str(self.root / "lease")}

    def test_a_job_whose_agent_stays_away_saves_and_exits_with_75(self) -> None:
        agent = self.agent(lease=self.lease(1.0))
        script = self.start_script(agent, "listens")
        agent.stop()
        _, errors = script.communicate(timeout=60)
        self.assertEqual(script.returncode, neap.EXIT_INTERRUPTED, errors)
        self.assertIn("away longer than its lease", errors)
        self.assertEqual(len(list((self.root / "checkpoints").glob("step-*.ckpt"))), 1)

    def test_a_program_that_does_not_listen_is_ended_after_the_grace(self) -> None:
        agent = self.agent(lease=self.lease(0.5, grace_seconds=0.5))
        script = self.start_script(agent, "is deaf")
        agent.stop()
        _, errors = script.communicate(timeout=60)
        self.assertEqual(script.returncode, neap.EXIT_INTERRUPTED, errors)
        self.assertIn("ending now", errors)

    def test_an_agent_that_comes_back_within_the_lease_changes_nothing(self) -> None:
        agent = self.agent(lease=self.lease(20.0))
        script = self.start_script(agent, "listens")
        agent.stop()
        time.sleep(0.5)
        agent.start()
        before = len(agent.bodies("/v1/progress"))
        deadline = time.monotonic() + 30
        while len(agent.bodies("/v1/progress")) < before + 2:
            self.assertLess(time.monotonic(), deadline, "the job reports no more")
            time.sleep(0.05)
        self.assertIsNone(script.poll())
        self.assertEqual(agent.violations, [])

    def watch(self, **changes: Any) -> LeaseWatch:
        self.now, self.wall, self.there = 100.0, 1_800_000_000.0, True
        lease = Lease(seconds=20.0, grace_seconds=6.0, file=changes.get("file"))
        return LeaseWatch(
            "socket", lease, lambda: None, 75, answers=lambda _: self.there, monotonic=lambda: self.now, wall=lambda: self.wall
        )

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def write_lease(self, age_seconds: float) -> Path:
        path = self.root / "lease"
        path.write_text(datetime.fromtimestamp(1_800_000_000.0 - age_seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        return path

    def test_while_the_agent_answers_an_old_lease_is_its_business(self) -> None:
        watch = self.watch(file=self.write_lease(age_seconds=500))
        self.pass_time(500)
        self.assertFalse(watch.is_lost())

    def test_the_lease_counts_from_its_last_renewal(self) -> None:
        watch = self.watch(file=self.write_lease(age_seconds=15))
        self.there = False
        self.pass_time(4.9)
        self.assertFalse(watch.is_lost())
        self.pass_time(0.2)
        self.assertTrue(watch.is_lost())

    def test_without_a_readable_renewal_it_counts_from_when_the_agent_was_last_seen(self) -> None:
        unreadable = self.root / "lease"
        unreadable.write_text("yesterday")
        for file in (None, self.root / "absent", unreadable):
            watch = self.watch(file=file)
            self.pass_time(300)
            self.assertFalse(watch.is_lost())
            self.there = False
            self.pass_time(19.9)
            self.assertFalse(watch.is_lost())
            self.pass_time(0.2)
            self.assertTrue(watch.is_lost())

    def test_a_clock_that_went_back_gives_no_time(self) -> None:
        watch = self.watch(file=self.write_lease(age_seconds=0))
        self.there = False
        self.pass_time(20.1)
        self.wall -= 3600
        self.assertTrue(watch.is_lost())

    def test_a_lease_that_makes_no_sense_is_refused_by_name(self) -> None:
        for seconds in (0, -1, "20", None, True):
            with self.assertRaisesRegex(neap.InvalidJob, "lease: seconds"):
                parse_facts(job_document(self.root, lease={"seconds": seconds, "grace_seconds": 1}), "test")


if __name__ == "__main__":
    unittest.main()

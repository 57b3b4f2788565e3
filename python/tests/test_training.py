"""The real train.py with two ranks: interrupted, killed and resumed, it ends where an undisturbed run ends."""

from __future__ import annotations

import signal
import tempfile
import unittest
from pathlib import Path
from typing import Any

import gang

STEPS = 40
INTERVAL = 10


@unittest.skipUnless(gang.torch_is_installed(), "Debian package python3-torch is not installed")
@unittest.skipUnless(gang.SOURCE.is_dir(), "Debian package dataset-fashion-mnist is not installed")
class TrainingTest(unittest.TestCase):
    root: Path
    dataset: Path
    undisturbed: gang.GangRun

    @classmethod
    def setUpClass(cls) -> None:
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.root = Path(directory.name)
        cls.dataset = gang.make_dataset(cls.root / "dataset", 1500)
        cls.undisturbed = cls.train("undisturbed")

    @classmethod
    def train(cls, name: str, ranks: int = 2, **arguments: Any) -> gang.GangRun:
        return gang.run_gang(
            "train.py",
            cls.root / name,
            ranks=ranks,
            inputs={"dataset": cls.dataset},
            interval=INTERVAL,
            parameters={"steps": STEPS, "batch_size": 64, "learning_rate": 0.01},
            **arguments,
        )

    def assert_same_end(self, first: gang.GangRun, second: gang.GangRun, name: str) -> None:
        """Every step of both parts has the loss of the undisturbed run, and the weights are equal bit by bit."""
        self.assertEqual(set(second.exit_codes), {0}, second.logs)
        for part in (first, second):
            for step, loss in part.losses().items():
                self.assertEqual(loss, self.undisturbed.losses()[step], f"step {step}")
        self.assertEqual(self.state(name), self.state("undisturbed"))
        self.assertEqual(second.violations(), [])

    def state(self, name: str) -> dict[str, list[float]]:
        import torch

        state = torch.load(self.root / name / "outputs-0" / "teacher.pt", weights_only=True)
        return {key: weight.flatten().tolist() for key, weight in state.items()}

    def test_an_undisturbed_run_executes_every_step_once_and_learns(self) -> None:
        run = self.undisturbed
        self.assertEqual(run.exit_codes, [0, 0], run.logs)
        self.assertEqual(run.executed_steps(), list(range(1, STEPS + 1)))
        self.assertEqual([checkpoint["step"] for checkpoint in run.checkpoints()], [10, 20, 30, 40])
        self.assertEqual(run.last_reported_step(), STEPS)
        (output,) = run.agents[0].bodies("/v1/outputs")
        (metrics,) = run.agents[0].bodies("/v1/metrics")
        self.assertEqual(output["name"], "model")
        self.assertGreater(metrics["accuracy"], 0.3)  # ten classes: 0.1 is chance
        self.assertEqual(run.agents[1].calls, [])
        self.assertEqual(run.violations(), [])

    def test_sigterm_to_one_rank_stops_both_after_the_same_step_and_the_resume_goes_on_exactly_there(self) -> None:
        first = self.train("interrupted", act_at_step=13, to_ranks=(1,))
        self.assertEqual(first.exit_codes, [75, 75], first.logs)
        stopped_at = first.checkpoints()[-1]["step"]
        self.assertEqual(first.last_reported_step(), stopped_at)
        self.assertIn(f"rank 0 stops after step {stopped_at}\n", first.logs[0])
        self.assertIn(f"rank 1 stops after step {stopped_at}\n", first.logs[1])
        self.assertTrue(13 <= stopped_at < STEPS, stopped_at)
        self.assertEqual(first.violations(), [])

        second = self.train("resumed", resume=first.checkpoints()[-1])
        self.assertEqual(first.executed_steps() + second.executed_steps(), list(range(1, STEPS + 1)))
        self.assert_same_end(first, second, "resumed")

    def test_a_rank_that_dies_ends_its_peer_with_the_exact_step_and_costs_at_most_one_interval(self) -> None:
        first = self.train("killed", act_at_step=23, send=signal.SIGKILL, to_ranks=(1,))
        self.assertEqual(first.exit_codes[1], -signal.SIGKILL)
        self.assertNotIn(first.exit_codes[0], (0, 75), first.logs)
        executed, checkpoint = first.executed_steps()[-1], first.checkpoints()[-1]
        self.assertEqual(first.last_reported_step(), executed)
        self.assertLessEqual(executed - checkpoint["step"], INTERVAL)
        self.assertGreaterEqual(checkpoint["step"], 20)

        second = self.train("after-kill", resume=checkpoint)
        self.assertEqual(second.executed_steps(), list(range(checkpoint["step"] + 1, STEPS + 1)))
        self.assert_same_end(first, second, "after-kill")

    def test_a_resume_from_the_last_step_only_publishes(self) -> None:
        run = self.train("finished", ranks=1, resume=self.undisturbed.checkpoints()[-1])
        self.assertEqual(run.executed_steps(), [])
        self.assert_same_end(self.undisturbed, run, "finished")

    def test_a_checkpoint_of_another_step_is_refused(self) -> None:
        run = self.train("mixed-up", ranks=1, resume={**self.undisturbed.checkpoints()[0], "step": 20})
        self.assertEqual(run.exit_codes, [1])
        self.assertIn("holds step 10, the job says 20", run.logs[0])

    def test_a_dataset_whose_pictures_and_records_disagree_is_refused(self) -> None:
        broken = self.root / "broken" / "part"
        broken.mkdir(parents=True)
        (broken / "records.jsonl").write_text('{"label": 1, "split": "train"}\n')
        (broken / "images.bin").write_bytes(b"x" * 783)
        run = gang.run_gang(
            "train.py",
            self.root / "broken-run",
            ranks=1,
            inputs={"dataset": broken},
            interval=0,
            parameters={},
        )
        self.assertEqual(run.exit_codes, [1])
        self.assertIn("783 bytes", run.logs[0])


if __name__ == "__main__":
    unittest.main()

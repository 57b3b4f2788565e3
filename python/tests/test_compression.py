"""The real compress.py on a small subset. Needs the environment that tools/bootstrap_python.sh makes."""

from __future__ import annotations

import base64
import importlib.util
import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

import gang


def onnx_is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


@unittest.skipUnless(gang.torch_is_installed(), "Debian package python3-torch is not installed")
@unittest.skipUnless(onnx_is_installed(), "onnx and onnxruntime are missing: run tools/bootstrap_python.sh")
@unittest.skipUnless(gang.SOURCE.is_dir(), "Debian package dataset-fashion-mnist is not installed")
class CompressionTest(unittest.TestCase):
    root: Path

    @classmethod
    def setUpClass(cls) -> None:
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.root = Path(directory.name)
        cls.dataset = gang.make_dataset(cls.root / "dataset", 2000)
        teacher = gang.run_gang(
            "train.py",
            cls.root / "teacher",
            ranks=1,
            inputs={"dataset": cls.dataset},
            interval=0,
            parameters={"steps": 60, "batch_size": 64, "learning_rate": 0.01},
        )
        assert teacher.exit_codes == [0], teacher.logs
        cls.good = cls.compress("good")
        cls.bad = cls.compress("bad", bad_model=True)

    @classmethod
    def compress(
        cls, name: str, *, resume: Any = None, act_at_step: int = 0, to_ranks: tuple[int, ...] = (), **parameters: Any
    ) -> gang.GangRun:
        inputs = {"dataset": cls.dataset, "teacher": cls.root / "teacher" / "outputs-0"}
        small = {"steps": 80, "batch_size": 64, "calibration_samples": 40, "probe_samples": 50}
        return gang.run_gang(
            "compress.py",
            cls.root / name,
            ranks=1,
            inputs=inputs,
            interval=40,
            parameters={**small, **parameters},
            resume=resume,
            act_at_step=act_at_step,
            to_ranks=to_ranks,
        )

    def metrics(self, name: str) -> dict[str, Any]:
        document = json.loads((self.root / name / "outputs-0" / "metrics.json").read_text())
        assert isinstance(document, dict)
        return document

    def test_all_outputs_are_published_and_the_figures_agree_with_the_files(self) -> None:
        self.assertEqual(self.good.exit_codes, [0], self.good.logs)
        self.assertEqual(self.good.violations(), [])
        outputs = {body["name"]: Path(body["path"]) for body in self.good.agents[0].bodies("/v1/outputs")}
        self.assertEqual(set(outputs), {"student.onnx", "student.int8.onnx", "metrics.json", "probe.json"})
        metrics = self.metrics("good")
        self.assertEqual(metrics["bytes_fp32"], outputs["student.onnx"].stat().st_size)
        self.assertEqual(metrics["bytes_int8"], outputs["student.int8.onnx"].stat().st_size)
        self.assertLess(metrics["bytes_int8"], 0.5 * metrics["bytes_fp32"])
        self.assertEqual(self.good.agents[0].bodies("/v1/metrics"), [metrics])

    def test_the_student_keeps_most_of_the_accuracy_and_int8_nearly_all_of_that(self) -> None:
        metrics = self.metrics("good")
        self.assertGreater(metrics["accuracy_teacher"], 0.4)
        self.assertLess(metrics["accuracy_drop_distillation"], 0.2)
        self.assertLess(abs(metrics["accuracy_drop_int8"]), 0.05)

    def test_the_published_models_have_the_agreed_shape_and_take_any_batch(self) -> None:
        import numpy
        import onnx
        import onnxruntime

        for name in ("student.onnx", "student.int8.onnx"):
            path = str(self.root / "good" / "outputs-0" / name)
            opsets = {opset.domain: opset.version for opset in onnx.load(path).opset_import}
            self.assertEqual(opsets, {"": 13})
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            (model_input,), (model_output,) = session.get_inputs(), session.get_outputs()
            self.assertEqual(
                (model_input.name, model_input.type, model_input.shape[1:]), ("input", "tensor(float)", [1, 28, 28])
            )
            self.assertEqual((model_output.name, model_output.shape[1:]), ("logits", [10]))
            for batch in (1, 7):
                (logits,) = session.run(None, {"input": numpy.zeros((batch, 1, 28, 28), numpy.float32)})
                self.assertEqual(logits.shape, (batch, 10))

    def test_the_probe_replayed_on_the_model_has_about_its_accuracy(self) -> None:
        import numpy
        import onnxruntime

        outputs = self.root / "good" / "outputs-0"
        probe = json.loads((outputs / "probe.json").read_text())
        pixels = b"".join(base64.b64decode(sample["pixels"]) for sample in probe["samples"])
        pictures = (
            numpy.frombuffer(pixels, numpy.uint8).reshape(-1, *probe["shape"]).astype(numpy.float32) / probe["scale"]
        )
        self.assertEqual(len(pictures), 50)
        session = onnxruntime.InferenceSession(str(outputs / "student.int8.onnx"), providers=["CPUExecutionProvider"])
        (logits,) = session.run([probe["output"]], {probe["input"]: pictures})
        correct = (logits.argmax(1) == [sample["label"] for sample in probe["samples"]]).mean()
        self.assertAlmostEqual(correct, self.metrics("good")["accuracy_int8"], delta=0.25)

    def test_pruning_makes_the_file_smaller_and_states_what_it_cost(self) -> None:
        pruned = self.compress("pruned", prune_share=0.5, prune_steps=60)
        self.assertEqual(pruned.exit_codes, [0], pruned.logs)
        before, after = self.metrics("good"), self.metrics("pruned")
        self.assertEqual(after["accuracy_distilled"], before["accuracy_distilled"])
        self.assertLess(after["bytes_int8"], 0.7 * before["bytes_int8"])
        self.assertLess(after["accuracy_drop_pruning"], 0.15)
        drops = sum(after[f"accuracy_drop_{part}"] for part in ("distillation", "pruning", "int8"))
        self.assertAlmostEqual(drops, after["accuracy_drop_total"], places=5)

    def test_an_interrupted_distillation_resumes_to_the_same_model(self) -> None:
        first = self.compress("cut", act_at_step=30, to_ranks=(0,))
        self.assertEqual(first.exit_codes, [75], first.logs)
        second = self.compress("continued", resume=first.checkpoints()[-1])
        self.assertEqual(second.exit_codes, [0], second.logs)
        names = ("accuracy_student", "accuracy_int8", "bytes_int8")
        self.assertEqual([self.metrics("continued")[n] for n in names], [self.metrics("good")[n] for n in names])

    def test_a_bad_model_is_published_with_its_true_accuracy(self) -> None:
        self.assertEqual(self.bad.exit_codes, [0], self.bad.logs)
        metrics = self.metrics("bad")
        self.assertLess(metrics["accuracy_student"], 0.35)
        self.assertLess(metrics["accuracy_int8"], 0.35)
        self.assertGreater(metrics["accuracy_drop_total"], 0.1)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""Makes a small served model out of the teacher: distillation, pruning, ONNX, INT8, and the figures for the gate.

Inputs `dataset` and `teacher` (teacher.pt or a directory that holds it); one process. Needs the packages of
python/requirements.txt. Parameters: steps, batch_size, learning_rate, temperature, seed, train_limit, test_limit,
prune_share (of hidden units; 0: none), prune_steps, calibration_samples, probe_samples, bad_model.

`bad_model: true` drowns the student's weights in noise before the export. Everything after it runs as usual, so the
quality gate and the canary have something real to refuse.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any, Iterator

import neap

# Before torch, so that SIGTERM during the slow imports already means "stop soon".
job = neap.init()

import numpy  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import surface  # noqa: E402

try:
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
except ImportError as error:
    sys.exit(f"compress.py: {error.name} is missing; run it with the interpreter that tools/bootstrap_python.sh makes")

INPUT_NAME, OUTPUT_NAME = "input", "logits"
OPSET = 13


def main() -> None:
    started = time.monotonic()
    surface.use_threads(default=1)
    torch.use_deterministic_algorithms(True)
    if job.world_size != 1:
        sys.exit(f"compress.py runs as one process, not {job.world_size}; set one replica")
    train, test = surface.load_dataset(job.input("dataset"))
    train, test = train.head(job.parameter("train_limit", 30_000)), test.head(job.parameter("test_limit", 0))
    teacher = load_teacher(job.input("teacher"))

    lesson, writer = Lesson(teacher, train), CheckpointWriter()
    distilled = distil(lesson, job.parameter("steps", 500), writer)
    student = prune(distilled, job.parameter("prune_share", 0.0), lesson, writer)
    if job.parameter("bad_model", False):
        drown_in_noise(student)
    distilled_at = time.monotonic()

    fp32_path, int8_path = job.outputs_dir / "student.onnx", job.outputs_dir / "student.int8.onnx"
    export_onnx(student, fp32_path)
    quantise(fp32_path, int8_path, train.head(job.parameter("calibration_samples", 200)))

    metrics = measure(teacher, distilled, fp32_path, int8_path, test)
    metrics["distil_seconds"] = round(distilled_at - started, 3)
    metrics["seconds"] = round(time.monotonic() - started, 3)
    publish(metrics, fp32_path, int8_path, test)


def load_teacher(path: Path) -> nn.Module:
    """Reads the weights; never runs code from the file (weights_only)."""
    file = path / "teacher.pt" if path.is_dir() else path
    if not file.is_file():
        sys.exit(f"{file} does not exist; the input 'teacher' must be the output 'model' of train.py")
    teacher = surface.make_teacher()
    teacher.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return teacher.eval()


class Lesson:
    """What the student learns from: pictures, labels, and the teacher's softened answers to them."""

    def __init__(self, teacher: nn.Module, train: surface.Split) -> None:
        self._train = train
        self._batch_size = job.parameter("batch_size", 256)
        self._seed = job.parameter("seed", 1)
        self._temperature = job.parameter("temperature", 2.0)
        self._soft_answers = soften(teacher, train, self._temperature)

    def step(self, student: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> tuple[float, int]:
        """One optimiser step; returns the loss and the pass over the data."""
        chosen, data_pass = surface.batch_indices(len(self._train), self._batch_size, step, self._seed)
        answer = student(surface.scaled(self._train.images[chosen]))
        # Hinton, Vinyals, Dean 2015, section 2: T^2 keeps the soft gradient's size independent of T.
        soft_answer = answer / self._temperature
        soft_loss = nn.functional.cross_entropy(soft_answer, self._soft_answers[chosen]) * self._temperature**2
        loss = 0.5 * soft_loss + 0.5 * nn.functional.cross_entropy(answer, self._train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item(), data_pass


def distil(lesson: Lesson, steps: int, writer: CheckpointWriter) -> nn.Sequential:
    """Trains the student from scratch or from the job's checkpoint."""
    peak_rate = job.parameter("learning_rate", 0.015)
    torch.manual_seed(job.parameter("seed", 1) + 1)
    student = surface.make_student()
    optimizer = torch.optim.Adam(student.parameters(), lr=peak_rate)
    writer.watch(student, optimizer)
    resume = job.resume()
    if resume is not None:
        state = torch.load(resume.path, map_location="cpu")
        student.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        writer.done = resume.step
    for step in range(writer.done + 1, steps + 1):
        if job.should_stop():
            job.exit_interrupted(writer.done, writer)
        surface.set_learning_rate(optimizer, surface.one_cycle(step, steps, peak_rate))
        loss, data_pass = lesson.step(student, optimizer, step)
        writer.done = step
        job.report(step, epoch=data_pass, loss=loss)
        if step % 50 == 0:
            print(f"step {step} pass {data_pass} loss {loss:.4f}", flush=True)
        if job.should_checkpoint(step) or step == steps:
            job.save(step, writer)
    return student


class CheckpointWriter:
    """Writes the state of the distillation as it is when called."""

    def __init__(self) -> None:
        self.done = 0

    def watch(self, student: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._student, self._optimizer = student, optimizer

    def __call__(self, path: str) -> None:
        state = {"model": self._student.state_dict(), "optimizer": self._optimizer.state_dict()}
        torch.save({"step": self.done, **state}, path)


def prune(student: nn.Sequential, share: float, lesson: Lesson, writer: CheckpointWriter) -> nn.Sequential:
    """Removes `share` of the hidden units, those with the least weight, and lets the rest adapt.

    Units are removed, not zeroed: the file becomes smaller and every engine faster. The short adaptation is not
    checkpointed; a job interrupted in it resumes after the distillation and gets the same result.
    """
    if not 0.0 <= share < 1.0:
        sys.exit(f"prune_share {share} is not in [0, 1); it is the share of hidden units to remove")
    if share == 0.0:
        return student
    before, after = student[-3], student[-1]
    # A unit matters by what comes in times what goes out.
    weight = before.weight.detach().norm(dim=1) * after.weight.detach().norm(dim=0)
    keep = weight.topk(max(round(len(weight) * (1.0 - share)), 1)).indices.sort().values
    smaller = surface.make_student(hidden=len(keep))
    state = student.state_dict()
    for name in ("7.weight", "7.bias"):
        state[name] = state[name][keep]
    state["9.weight"] = state["9.weight"][:, keep]
    smaller.load_state_dict(state)

    steps = job.parameter("prune_steps", 150)
    optimizer = torch.optim.Adam(smaller.parameters())
    for step in range(1, steps + 1):
        if job.should_stop():
            job.exit_interrupted(writer.done, writer)
        surface.set_learning_rate(optimizer, surface.one_cycle(step, steps, 0.004))
        lesson.step(smaller, optimizer, writer.done + step)
    print(f"pruned {len(weight)} hidden units to {len(keep)}", flush=True)
    return smaller


def soften(teacher: nn.Module, train: surface.Split, temperature: float) -> torch.Tensor:
    """The teacher's answers to all samples, asked once instead of in every pass."""
    with torch.no_grad():
        parts = [
            torch.softmax(teacher(surface.scaled(train.images[start : start + 500])) / temperature, 1)
            for start in range(0, len(train), 500)
        ]
    return torch.cat(parts)


def drown_in_noise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 4.0 * weight.std())
    print("bad_model: the student's weights were destroyed on purpose", flush=True)


def export_onnx(model: nn.Module, path: Path) -> None:
    torch.onnx.export(
        model,
        torch.zeros(1, 1, surface.SIDE, surface.SIDE),
        str(path),
        opset_version=OPSET,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamic_axes={INPUT_NAME: {0: "batch"}, OUTPUT_NAME: {0: "batch"}},
    )


class _CalibrationPictures(CalibrationDataReader):
    def __init__(self, split: surface.Split) -> None:
        self._feeds: Iterator[dict[str, numpy.ndarray]] = (
            {INPUT_NAME: surface.scaled(split.images[index : index + 1]).numpy()} for index in range(len(split))
        )

    def get_next(self) -> dict[str, numpy.ndarray] | None:
        return next(self._feeds, None)


def quantise(source: Path, target: Path, calibration: surface.Split) -> None:
    """Static INT8 in QDQ form, one scale per output channel of the weights."""
    prepared = target.with_suffix(".prepared")
    quant_pre_process(str(source), str(prepared))
    quantize_static(
        str(prepared),
        str(target),
        _CalibrationPictures(calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
    )
    prepared.unlink()
    # The preparation declares every operator set its own runtime knows; an older one at the edge would refuse them.
    model = onnx.load(str(target))
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.save(model, str(target))


def onnx_accuracy(path: Path, split: surface.Split) -> float:
    """Accuracy as the edge will see it: by ONNX Runtime, from the file that is published."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    correct = 0
    for start in range(0, len(split), 500):
        pictures = surface.scaled(split.images[start : start + 500]).numpy()
        (logits,) = session.run([OUTPUT_NAME], {INPUT_NAME: pictures})
        correct += int((logits.argmax(1) == split.labels[start : start + 500].numpy()).sum())
    return correct / len(split)


def measure(
    teacher: nn.Module, distilled: nn.Module, fp32_path: Path, int8_path: Path, test: surface.Split
) -> dict[str, Any]:
    """The figures of the quality gate. Drops are in accuracy (0.01 is one percentage point).

    "student" is what is published in FP32: after distillation and pruning.
    """
    accuracy_teacher, accuracy_distilled = surface.accuracy(teacher, test), surface.accuracy(distilled, test)
    accuracy_student, accuracy_int8 = onnx_accuracy(fp32_path, test), onnx_accuracy(int8_path, test)
    bytes_teacher, bytes_distilled = weight_bytes(teacher), weight_bytes(distilled)
    bytes_fp32, bytes_int8 = fp32_path.stat().st_size, int8_path.stat().st_size
    return {
        "accuracy_teacher": accuracy_teacher,
        "accuracy_distilled": accuracy_distilled,
        "accuracy_student": accuracy_student,
        "accuracy_int8": accuracy_int8,
        "accuracy_drop_distillation": round(accuracy_teacher - accuracy_distilled, 6),
        "accuracy_drop_pruning": round(accuracy_distilled - accuracy_student, 6),
        "accuracy_drop_int8": round(accuracy_student - accuracy_int8, 6),
        "accuracy_drop_total": round(accuracy_teacher - accuracy_int8, 6),
        "bytes_teacher": bytes_teacher,
        "bytes_distilled": bytes_distilled,
        "bytes_fp32": bytes_fp32,
        "bytes_int8": bytes_int8,
        "size_ratio_int8": round(bytes_int8 / bytes_fp32, 4),
        "size_ratio_total": round(bytes_int8 / bytes_teacher, 4),
        "test_samples": len(test),
    }


def weight_bytes(model: nn.Module) -> int:
    """Size of the weights in FP32, without any file format around them."""
    return sum(4 * weight.numel() for weight in model.parameters())


def publish(metrics: dict[str, Any], fp32_path: Path, int8_path: Path, test: surface.Split) -> None:
    metrics_path, probe_path = job.outputs_dir / "metrics.json", job.outputs_dir / "probe.json"
    metrics_path.write_text(json.dumps(metrics, indent=2) + "\n")
    probe_path.write_text(json.dumps(probe_document(test.head(job.parameter("probe_samples", 200)))) + "\n")
    tensors = {"input": INPUT_NAME, "output": OUTPUT_NAME, "opset": OPSET}
    job.output(
        "student.onnx", fp32_path, format="onnx", precision="fp32", accuracy=metrics["accuracy_student"], **tensors
    )
    job.output(
        "student.int8.onnx", int8_path, format="onnx", precision="int8", accuracy=metrics["accuracy_int8"], **tensors
    )
    job.output("metrics.json", metrics_path, format="json")
    job.output("probe.json", probe_path, format="json")
    print(json.dumps(metrics), flush=True)
    job.finish(**metrics)


def probe_document(samples: surface.Split) -> dict[str, Any]:
    """Labelled test pictures that a canary replays: pixel bytes in base64, to be divided by `scale`."""
    return {
        "input": INPUT_NAME,
        "output": OUTPUT_NAME,
        "shape": [1, surface.SIDE, surface.SIDE],
        "scale": 255,
        "samples": [
            {"label": int(label), "pixels": base64.b64encode(picture.numpy().tobytes()).decode()}
            for picture, label in zip(samples.images, samples.labels)
        ],
    }


if __name__ == "__main__":
    main()

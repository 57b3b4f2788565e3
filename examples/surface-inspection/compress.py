#!/usr/bin/python3
"""Makes a small served model out of the teacher: distillation, ONNX export, INT8, and honest figures for the gate.

Inputs `dataset` and `teacher` (teacher.pt or a directory that holds it); one process. Needs the packages of
python/requirements.txt. Parameters: steps, batch_size, learning_rate, temperature, seed, train_limit, test_limit,
calibration_samples, probe_samples, bad_model.

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

    student = distil(teacher, train)
    if job.parameter("bad_model", False):
        drown_in_noise(student)
    distilled_at = time.monotonic()

    fp32_path, int8_path = job.outputs_dir / "student.onnx", job.outputs_dir / "student.int8.onnx"
    export_onnx(student, fp32_path)
    quantise(fp32_path, int8_path, train.head(job.parameter("calibration_samples", 200)))

    metrics = measure(teacher, fp32_path, int8_path, test)
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


def distil(teacher: nn.Module, train: surface.Split) -> nn.Module:
    """Trains the student on the teacher's softened answers and the labels. Resumable like any training."""
    steps, batch_size = job.parameter("steps", 500), job.parameter("batch_size", 256)
    peak_rate, seed = job.parameter("learning_rate", 0.015), job.parameter("seed", 1)
    temperature = job.parameter("temperature", 2.0)
    torch.manual_seed(seed + 1)
    soft_answers = soften(teacher, train, temperature)
    student = surface.make_student()
    optimizer = torch.optim.Adam(student.parameters(), lr=peak_rate)
    done = 0
    resume = job.resume()
    if resume is not None:
        state = torch.load(resume.path, map_location="cpu")
        student.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = resume.step

    def write_checkpoint(path: str) -> None:
        torch.save({"step": done, "model": student.state_dict(), "optimizer": optimizer.state_dict()}, path)

    for step in range(done + 1, steps + 1):
        if job.should_stop():
            job.exit_interrupted(done, write_checkpoint)
        chosen, data_pass = surface.batch_indices(len(train), batch_size, step, seed)
        surface.set_learning_rate(optimizer, surface.one_cycle(step, steps, peak_rate))
        answer = student(surface.scaled(train.images[chosen]))
        # Hinton, Vinyals, Dean 2015, section 2: T^2 keeps the soft gradient's size independent of T.
        soft_loss = nn.functional.cross_entropy(answer / temperature, soft_answers[chosen]) * temperature**2
        loss = 0.5 * soft_loss + 0.5 * nn.functional.cross_entropy(answer, train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done = step
        job.report(step, epoch=data_pass, loss=loss.item())
        if step % 50 == 0:
            print(f"step {step} pass {data_pass} loss {loss.item():.4f}", flush=True)
        if job.should_checkpoint(step):
            job.save(step, write_checkpoint)
    return student.eval()


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


def measure(teacher: nn.Module, fp32_path: Path, int8_path: Path, test: surface.Split) -> dict[str, Any]:
    """The figures of the quality gate. Drops are in accuracy (0.01 is one percentage point)."""
    teacher_weights = sum(weight.numel() for weight in teacher.parameters())
    accuracy_teacher = surface.accuracy(teacher, test)
    accuracy_student, accuracy_int8 = onnx_accuracy(fp32_path, test), onnx_accuracy(int8_path, test)
    bytes_teacher, bytes_fp32, bytes_int8 = 4 * teacher_weights, fp32_path.stat().st_size, int8_path.stat().st_size
    return {
        "accuracy_teacher": accuracy_teacher,
        "accuracy_student": accuracy_student,
        "accuracy_int8": accuracy_int8,
        "accuracy_drop_distillation": round(accuracy_teacher - accuracy_student, 6),
        "accuracy_drop_int8": round(accuracy_student - accuracy_int8, 6),
        "accuracy_drop_total": round(accuracy_teacher - accuracy_int8, 6),
        "bytes_teacher": bytes_teacher,
        "bytes_fp32": bytes_fp32,
        "bytes_int8": bytes_int8,
        "size_ratio_int8": round(bytes_int8 / bytes_fp32, 4),
        "size_ratio_total": round(bytes_int8 / bytes_teacher, 4),
        "test_samples": len(test),
    }


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

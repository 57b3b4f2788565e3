"""What training and compression share: the L3 dataset, the two networks, and how accuracy is measured."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import nn

SIDE = 28
IMAGE_BYTES = SIDE * SIDE
CLASSES = 10


@dataclass(frozen=True)
class Split:
    """Pictures as bytes, shape [n, 1, 28, 28], and their labels."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> Split:
        """The first `count` samples; all of them when `count` is 0."""
        return Split(self.images[:count], self.labels[:count]) if count else self


def load_dataset(directory: Path) -> tuple[Split, Split]:
    """Reads every part below `directory` and returns (train, test). Exits with a sentence when the data is unusable.

    A part is a directory with records.jsonl and images.bin, 784 bytes per record in the order of the records. Parts
    are taken in the order of their paths, so that every rank and every resumed run sees the same sequence.
    """
    images: list[numpy.ndarray] = []
    labels: list[int] = []
    is_test: list[bool] = []
    for records_path in sorted(directory.rglob("records.jsonl")):
        before = len(labels)
        with open(records_path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                label, in_test = _parse_record(line, records_path, number)
                labels.append(label)
                is_test.append(in_test)
        pixels = numpy.fromfile(records_path.with_name("images.bin"), dtype=numpy.uint8)
        if len(pixels) != (len(labels) - before) * IMAGE_BYTES:
            raise SystemExit(
                f"{records_path.parent}: images.bin has {len(pixels)} bytes, but {len(labels) - before} records need "
                f"{IMAGE_BYTES} each; make this dataset version again"
            )
        images.append(pixels)
    if not labels:
        raise SystemExit(f"{directory} holds no records; check the job's input 'dataset'")
    all_images = torch.from_numpy(numpy.concatenate(images)).view(-1, 1, SIDE, SIDE)
    all_labels, test_mask = torch.tensor(labels), torch.tensor(is_test)
    train = Split(all_images[~test_mask], all_labels[~test_mask])
    test = Split(all_images[test_mask], all_labels[test_mask])
    if not len(train) or not len(test):
        raise SystemExit(f"{directory} has {len(train)} train and {len(test)} test records; both splits are needed")
    return train, test


def _parse_record(line: str, path: Path, number: int) -> tuple[int, bool]:
    try:
        record = json.loads(line)
        label, split = record["label"], record["split"]
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path} line {number} is not a record with label and split ({error!r})") from error
    if not isinstance(label, int) or not 0 <= label < CLASSES or split not in ("train", "test"):
        raise SystemExit(f"{path} line {number}: label {label!r} or split {split!r} is not one of this dataset's")
    return label, split == "test"


def scaled(images: torch.Tensor) -> torch.Tensor:
    """Bytes to the floats 0..1 that the networks and the served model take."""
    return images.to(torch.float32) / 255.0


def batch_indices(samples: int, batch_size: int, step: int, seed: int) -> tuple[torch.Tensor, int]:
    """The samples of one step (counted from 1) and the pass over the data it belongs to.

    A function of the step alone: a resumed run needs no saved generator, and any number of ranks shares one order.
    """
    steps_per_pass = samples // batch_size
    if steps_per_pass == 0:
        raise SystemExit(f"batch_size {batch_size} is larger than the {samples} training samples; lower it")
    data_pass, position = divmod(step - 1, steps_per_pass)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed * 1_000_003 + data_pass))
    return order[position * batch_size : (position + 1) * batch_size], data_pass


def convolutional(first: int, second: int, hidden: int) -> nn.Sequential:
    """Two convolutions with pooling and two dense layers; no state but the weights, so replicas stay equal."""
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (SIDE // 4) ** 2, hidden),
        nn.ReLU(),
        nn.Linear(hidden, CLASSES),
    )


def make_teacher() -> nn.Sequential:
    return convolutional(16, 32, 64)


def make_student(hidden: int = 32) -> nn.Sequential:
    return convolutional(8, 16, hidden)


def accuracy(model: nn.Module, split: Split, batch: int = 500) -> float:
    """Share of `split` that `model` labels correctly."""
    model.eval()
    correct = 0
    with torch.no_grad():
        for start in range(0, len(split), batch):
            predicted = model(scaled(split.images[start : start + batch])).argmax(1)
            correct += int((predicted == split.labels[start : start + batch]).sum())
    model.train()
    return correct / len(split)


def one_cycle(step: int, total: int, peak: float) -> float:
    """Learning rate of one step: linear rise over the first fifth, linear fall to a hundredth of the peak."""
    rise = max(total // 5, 1)
    if step <= rise:
        return peak * step / rise
    return peak * max((total - step) / max(total - rise, 1), 0.01)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def use_threads(default: int) -> None:
    """As many threads as the launcher allows: OMP_NUM_THREADS, else `default`."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or default))

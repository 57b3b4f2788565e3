#!/usr/bin/python3
"""Trains the teacher network, data-parallel over gloo, on the L3 version of all factories' data.

Started once per rank with torchrun's environment. Input `dataset`; output `model` (teacher.pt). Parameters: steps,
batch_size (over all ranks), learning_rate, seed, train_limit, test_limit (0: everything).
"""

from __future__ import annotations

import datetime
import sys
import time

import neap

# Before torch: importing it takes seconds, and a SIGTERM during them must already mean "stop soon".
job = neap.init()

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402

import surface  # noqa: E402

# A rank that waits longer than this for its peers ends with an error instead of holding its node.
PEER_TIMEOUT = datetime.timedelta(seconds=120)


def main() -> None:
    started = time.monotonic()
    surface.use_threads(default=1)
    torch.use_deterministic_algorithms(True)
    if job.world_size > 1:
        dist.init_process_group("gloo", timeout=PEER_TIMEOUT)

    steps = job.parameter("steps", 300)
    batch_size = job.parameter("batch_size", 384)
    peak_rate = job.parameter("learning_rate", 0.012)
    seed = job.parameter("seed", 1)
    train, test = surface.load_dataset(job.input("dataset"))
    train, test = train.head(job.parameter("train_limit", 0)), test.head(job.parameter("test_limit", 0))
    if batch_size % job.world_size:
        sys.exit(f"batch_size {batch_size} cannot be divided among {job.world_size} ranks; choose a multiple")

    torch.manual_seed(seed)
    model = surface.make_teacher()
    optimizer = torch.optim.Adam(model.parameters(), lr=peak_rate)
    done = load_checkpoint(model, optimizer)
    replica: nn.Module = nn.parallel.DistributedDataParallel(model) if job.world_size > 1 else model

    def write_checkpoint(path: str) -> None:
        # The step is in the file as well, so that a mix-up of files is noticed on resume.
        torch.save({"step": done, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)

    loss_sum = torch.zeros(())
    for step in range(done + 1, steps + 1):
        if job.should_stop():
            print(f"rank {job.rank} stops after step {done}", flush=True)
            job.exit_interrupted(done, write_checkpoint)
        chosen, data_pass = surface.batch_indices(len(train), batch_size, step, seed)
        mine = chosen[job.rank :: job.world_size]
        surface.set_learning_rate(optimizer, surface.one_cycle(step, steps, peak_rate))
        loss = nn.functional.cross_entropy(replica(surface.scaled(train.images[mine])), train.labels[mine])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done = step
        loss_sum = loss.detach()
        job.report(step, epoch=data_pass, loss=loss_sum.item())
        if job.is_chief:
            print(f"step {step} pass {data_pass} loss {loss_sum.item():.6f}", flush=True)
        if job.should_checkpoint(step) or step == steps:
            job.save(step, write_checkpoint)

    if job.is_chief:
        publish(model, test, time.monotonic() - started, float(loss_sum))
    else:
        job.finish()


def load_checkpoint(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restores what the job resumes from; returns the number of steps already done."""
    resume = job.resume()
    if resume is None:
        return 0
    state = torch.load(resume.path, map_location="cpu")
    if state["step"] != resume.step:
        sys.exit(f"{resume.path} holds step {state['step']}, the job says {resume.step}; the wrong file was fetched")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"rank {job.rank} resumes after step {resume.step}", flush=True)
    return resume.step


def publish(model: nn.Module, test: surface.Split, seconds: float, loss: float) -> None:
    accuracy = surface.accuracy(model, test)
    path = job.outputs_dir / "teacher.pt"
    torch.save(model.state_dict(), path)
    parameters = sum(weight.numel() for weight in model.parameters())
    job.output("model", path, format="torch-state-dict", accuracy=accuracy, parameters=parameters)
    print(f"test accuracy {accuracy:.4f} on {len(test)} pictures", flush=True)
    job.finish(accuracy=accuracy, loss=loss, train_seconds=round(seconds, 3))


if __name__ == "__main__":
    main()

"""neap: checkpoint, resume, report and publish from a training script. Standard library only.

import neap
job = neap.init()                       # first: SIGTERM is handled from here on
...
for step in range(done + 1, total + 1):
    if job.should_stop():               # all ranks agree
        job.exit_interrupted(step - 1, write_checkpoint)
    ...
    job.report(step, loss=loss)
    if job.should_checkpoint(step):
        job.save(step, write_checkpoint)
job.output("model", path)
job.finish(accuracy=accuracy)
"""

from .errors import AgentRefused, AgentUnavailable, InvalidJob, NeapError
from .facts import JobFacts, Resume
from .job import EXIT_INTERRUPTED, Job, init

__all__ = [
    "EXIT_INTERRUPTED",
    "AgentRefused",
    "AgentUnavailable",
    "InvalidJob",
    "Job",
    "JobFacts",
    "NeapError",
    "Resume",
    "init",
]

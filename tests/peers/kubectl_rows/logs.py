"""logs of work that runs on a node."""

import datetime
import pathlib

from .case import check, collector, contains, equal
from .lab import COUNT, FIVE, run_job

ROWS, row = collector()


@row("logs", "`logs`, `logs -c main` of work that runs on a node")
def logs(k):
    pod = run_job(k, COUNT + "sleep 600")
    k.until(lambda: k.ok("logs", pod) == FIVE)
    equal(k.ok("logs", pod, "-c", "main"), FIVE)
    contains(k.refused("logs", pod, "-c", "side"), "side")


@row("logs", "`logs --tail`, `--limit-bytes`")
def logs_tail(k):
    pod = run_job(k, COUNT, phase="Succeeded")
    equal(k.ok("logs", pod, "--tail=2"), "line 4\nline 5\n")
    equal(k.ok("logs", pod, "--limit-bytes=8"), "line 1\nl")


@row("logs", "`logs -f` until the work has ended")
def logs_follow(k):
    pod = run_job(k, COUNT + "while [ ! -e go ]; do sleep 0.1; done; echo last")
    follower = k.start("logs", "-f", pod)
    k.until_output(follower, "line 5")
    check(follower.poll() is None, "a followed log ended while the work runs")
    k.ok("delete", "trainingjob", "talk")
    follower.wait(timeout=60)
    contains(pathlib.Path(follower.files[0]).read_text(), FIVE)


@row("logs", "`logs -f --tail`; `logs -l`, `--prefix`")
def logs_selected(k):
    pod = run_job(k, COUNT + "while [ ! -e go ]; do sleep 0.1; done; echo last; sleep 600")
    k.until(lambda: k.ok("logs", pod) == FIVE)
    follower = k.start("logs", "-f", "--tail=1", pod)
    k.until_output(follower, "line 5")
    k.ok("exec", pod, "--", "touch", "go")
    k.until_output(follower, "last")
    equal(pathlib.Path(follower.files[0]).read_text(), "line 5\nlast\n")
    equal(k.ok("logs", "-l", "work=talk", "--tail=1", "--prefix"), "[pod/%s/main] last\n" % pod)


@row("logs", "`logs --timestamps`, `--since`, `--since-time`")
def logs_times(k):
    pod = run_job(k, "echo early; sleep 8; echo late; sleep 600")
    k.until(lambda: "late" in k.ok("logs", pod))
    lines = [line.split(" ", 1) for line in k.ok("logs", pod, "--timestamps").splitlines()]
    equal([text for _, text in lines], ["early", "late"])
    early, late = (datetime.datetime.fromisoformat(time.replace("Z", "+00:00")) for time, _ in lines)
    check(7 <= (late - early).total_seconds() <= 11, lines)
    equal(k.ok("logs", pod, "--since-time=" + (late - datetime.timedelta(seconds=4)).isoformat(timespec="seconds").replace("+00:00", "Z")), "late\n")
    equal(k.ok("logs", pod, "--since=1h"), "early\nlate\n")
    k.until(lambda: k.ok("logs", pod, "--since=1s") == "")


@row("logs", "`logs --previous`")
def logs_previous(k):
    pod = run_job(k, COUNT, phase="Succeeded")
    message = k.refused("logs", pod, "--previous")
    contains(message, "previous")
    return "an allocation runs its programs once; the run before it is an allocation of its own"

"""Rows of docs/reference/kubectl.md about running work: they need agents, so they run against `neap up`."""

import json
import pathlib
import subprocess

from neap_process import PROGRAM

ROWS = []


def row(group, title, since=None):
    """`since`: the first minor version of kubectl that has the command."""

    def keep(function):
        ROWS.append((group, title, since, function))
        return function

    return keep


class Lab:
    """`neap up`: a server and five agents, as rows see a server."""

    def __init__(self, state):
        self.state = state
        self.log_path = state.parent / (state.name + ".log")
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(PROGRAM), "up", "--state", str(self.state)], stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            raise AssertionError("neap up did not start: " + line + self.log_path.read_text(errors="replace")[-2000:])

    def stop(self):
        self.process.terminate()
        self.process.stdout.close()
        return self.process.wait(timeout=60)

    def end(self):
        if self.process and self.process.poll() is None:
            self.stop()


def make_server(folder):
    return Lab(folder / "lab")


JOB = """\
apiVersion: neap.dev/v1
kind: TrainingJob
metadata: {name: %s}
spec:
  command: ["/bin/sh", "-c", %s]
  resources: {cpu: 100m, memory: 64Mi}
  allowedSites: [cloud-a]
  backoffLimit: 0
"""


def check(holds, what=""):
    if not holds:
        raise AssertionError(what)


def equal(found, wanted):
    check(found == wanted, "found %r, wanted %r" % (found, wanted))


def contains(text, *words):
    for word in words:
        check(word in text, "%r is not in %r" % (word, text))


def pods_of(k, job):
    items = json.loads(k.ok("get", "pods", "-o", "json"))["items"]
    return [p for p in items if p["metadata"]["name"].startswith(job)]


def run_job(k, script, name="talk", phase="Running"):
    """The name of the pod that runs `script`, once it has reached that phase."""
    k.ok("apply", "-f", k.write(JOB % (name, json.dumps(script)), name + ".yaml"))
    k.until(lambda: any(p["status"]["phase"] == phase for p in pods_of(k, name)))
    return pods_of(k, name)[0]["metadata"]["name"]


COUNT = "for i in 1 2 3 4 5; do echo line $i; done; "
FIVE = "".join("line %d\n" % i for i in range(1, 6))


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


@row("logs", "`logs --previous`")
def logs_previous(k):
    pod = run_job(k, COUNT, phase="Succeeded")
    message = k.refused("logs", pod, "--previous")
    contains(message, "previous")
    return "an allocation runs its programs once; the run before it is an allocation of its own"

"""`neap up` as rows see a server, and work that runs on it."""

import json
import subprocess

from neap_process import PROGRAM


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


JOB = """\
apiVersion: neap.dev/v1
kind: TrainingJob
metadata: {name: %s, labels: {work: %s}}
spec:
  command: ["/bin/sh", "-c", %s]
  resources: {cpu: 100m, memory: 64Mi}
  allowedSites: [factory-01]
  backoffLimit: 0
  stdin: %s
"""


def pods_of(k, job):
    items = json.loads(k.ok("get", "pods", "-o", "json"))["items"]
    return [p for p in items if p["metadata"]["name"].startswith(job)]


def run_job(k, script, name="talk", phase="Running", stdin=False):
    """The name of the pod that runs `script`, once it has reached that phase."""
    k.at_end.append(["delete", "trainingjob", name, "--ignore-not-found", "--wait=false"])
    k.ok("apply", "-f", k.write(JOB % (name, name, json.dumps(script), json.dumps(stdin)), name + ".yaml"))
    k.until(lambda: any(p["status"]["phase"] == phase for p in pods_of(k, name)), lambda: k.ok("get", "trainingjob,pods", "-o", "yaml"))
    return pods_of(k, name)[0]["metadata"]["name"]


COUNT = "for i in 1 2 3 4 5; do echo line $i; done; "
FIVE = "".join("line %d\n" % i for i in range(1, 6))


def exec_pod(k):
    return run_job(k, "touch made-by-work; sleep 600")

"""Rows of docs/reference/kubectl.md about running work: they need agents, so they run against `neap up`."""

import concurrent.futures
import datetime
import json
import pathlib
import re
import socket
import subprocess
import urllib.request

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
  allowedSites: [factory-01]
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
    k.at_end.append(["delete", "trainingjob", name, "--ignore-not-found", "--wait=false"])
    k.ok("apply", "-f", k.write(JOB % (name, json.dumps(script)), name + ".yaml"))
    k.until(lambda: any(p["status"]["phase"] == phase for p in pods_of(k, name)), lambda: k.ok("get", "trainingjob,pods", "-o", "yaml"))
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


def exec_pod(k):
    return run_job(k, "touch made-by-work; sleep 600")


@row("exec", "`exec`: runs in the work's folder and environment; output and errors apart")
def exec_plain(k):
    pod = exec_pod(k)
    equal(k.ok("exec", pod, "--", "ls"), "made-by-work\n")
    contains(k.ok("exec", pod, "--", "env"), "NEAP_JOB_FILE=", "RANK=0")
    done = k.run("exec", pod, "--", "sh", "-c", "echo out; echo err >&2")
    equal((done.out, done.code), ("out\n", 0))
    contains(done.err, "err\n")


@row("exec", "`exec`: the exit code comes back, and what cannot run is said")
def exec_exit_code(k):
    pod = exec_pod(k)
    done = k.run("exec", pod, "--", "sh", "-c", "exit 3")
    equal(done.code, 3)
    contains(done.err, "exit code 3")
    contains(k.refused("exec", pod, "--", "no-such-program"), "no-such-program")
    contains(k.refused("exec", pod, "-c", "side", "--", "true"), "side")


@row("exec", "`exec -i`: input until its end, several MiB both ways")
def exec_input(k):
    pod = exec_pod(k)
    equal(k.ok("exec", "-i", pod, "--", "cat", stdin="one\ntwo\n"), "one\ntwo\n")
    long = "0123456789abcdef" * (200 << 10)
    equal(len(k.ok("exec", "-i", pod, "--", "cat", stdin=long)), len(long))


@row("exec", "`exec -it`: a terminal of the right size")
def exec_terminal(k):
    pod = exec_pod(k)
    # kubectl tells the size once the session is open, which may be after the program has started.
    script = 'until [ "$(stty size)" != "0 0" ]; do sleep 0.1; done; stty size; test -t 0 && echo is-a-tty; exit 5'
    text, code = k.in_terminal(["exec", "-it", pod, "--", "sh", "-c", script], rows=33, columns=101)
    contains(text, "33 101", "is-a-tty")
    equal(code, 5)


@row("exec", "`exec`: a user who goes takes the program along")
def exec_gone(k):
    pod = exec_pod(k)
    process = k.start("exec", pod, "--", "sh", "-c", "echo started; exec sleep 4242")
    k.until_output(process, "started")
    process.kill()
    process.wait()
    k.until(lambda: "sleep 4242" not in k.ok("exec", pod, "--", "ps", "-eo", "args"))


@row("exec", "`exec` needs the right to create pods/exec: reading is not enough", since=24)
def exec_rights(k):
    pod = exec_pod(k)
    k.ok("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/exec,pods/log")
    k.ok("create", "serviceaccount", "viewer")
    k.ok("create", "rolebinding", "viewer", "--role=reader", "--serviceaccount=%s:viewer" % k.ns)
    token = k.ok("create", "token", "viewer").strip()
    contains(k.ok("get", "pods", token=token), pod)
    contains(k.refused("exec", pod, "--", "true", token=token), "forbidden", "create")
    k.ok("create", "role", "debugger", "--verb=create", "--resource=pods/exec")
    k.ok("create", "rolebinding", "debugger", "--role=debugger", "--serviceaccount=%s:viewer" % k.ns)
    k.until(lambda: k.run("exec", pod, "--", "true", token=token).code == 0)


PROTECTED = """\
apiVersion: neap.dev/v1
kind: Allocation
metadata: {name: protected}
spec:
  node: %s
  site: factory-01
  ownerKind: TrainingJob
  ownerName: protected
  epoch: 1
  committedEpoch: 1
  level: L2
  resources: {cpu: 100m, memory: 64Mi}
  process: {command: ["/bin/sh", "-c", "sleep 600"]}
"""
POLICY = """\
apiVersion: neap.dev/v1
kind: DataPolicy
metadata: {name: debuggers}
spec:
  rules:
    - {name: who-debugs, level: L2, effect: allow, purposes: [exec/%s]}
"""


def audit(k, kind, project):
    entries = json.loads(k.ok("get", "--raw", "/neap/v1/audit?type=" + kind))["entries"]
    return [e for e in entries if e.get("project") == project]


@row("exec", "`exec` where work is on L2 data: for users a policy names, and on record from beginning to end")
def exec_protected(k):
    node = json.loads(k.ok("get", "nodes", "-o", "json"))["items"]
    k.ok("apply", "-f", k.write(PROTECTED % next(n["metadata"]["name"] for n in node if n["spec"]["site"] == "factory-01")))
    k.at_end.append(["delete", "allocation", "protected", "--ignore-not-found", "--wait=false"])
    k.until(lambda: k.object("allocations", "protected").get("status", {}).get("phase") == "Running", lambda: k.ok("get", "allocations", "-o", "yaml"))
    message = k.refused("exec", "protected", "--", "echo", "secret")
    contains(message, "L2", "no policy")
    k.until(lambda: audit(k, "refusal", k.ns))
    user = re.search(r"names user (\S+)", message).group(1)
    k.ok("apply", "-f", k.write(POLICY % user))
    k.until(lambda: k.run("exec", "protected", "--", "echo", "seen").out == "seen\n")
    contains(k.refused("port-forward", "protected", ":80"), "no policy")
    k.until(lambda: audit(k, "session-end", k.ns))
    begun, ended = audit(k, "session-start", k.ns)[0], audit(k, "session-end", k.ns)[0]
    equal([begun[f] for f in ("kind", "user", "level", "program", "from")], ["exec", user, "L2", "echo", "factory-01"])
    equal([ended[f] for f in ("session", "bytesOut", "bytesIn", "how")], [begun["session"], 5, 0, "program ended"])
    check(ended["seconds"] >= 0)


@row("exec", "`attach`: output as it comes")
def attach(k):
    pod = run_job(k, "while true; do echo beat; sleep 0.2; done")
    process = k.start("attach", pod)
    k.until_output(process, "beat", times=3)
    contains(k.refused("attach", "-i", pod, stdin=""), "reads no input")


@row("exec", "`cp` in both directions, files and folders")
def cp(k):
    pod = exec_pod(k)
    folder = k.folder / "up"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/data").write_bytes(bytes(range(256)) * 4096)
    k.ok("cp", str(folder), "%s/%s:up" % (k.ns, pod))
    equal(k.ok("exec", pod, "--", "wc", "-c", "up/deep/data").split()[0], str(1 << 20))
    k.ok("cp", "%s/%s:up" % (k.ns, pod), str(k.folder / "down"))
    equal((k.folder / "down/deep/data").read_bytes(), (folder / "deep/data").read_bytes())


SERVE = "exec /usr/bin/python3 -m http.server --bind 127.0.0.1 %d"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def forwarded(k, pod, port):
    """A port-forward under way, and its own port here."""
    process = k.start("port-forward", pod, ":%d" % port)
    k.until_output(process, "Forwarding from 127.0.0.1:")
    text = pathlib.Path(process.files[0]).read_text()
    return process, int(re.search(r"127\.0\.0\.1:(\d+)", text).group(1))


def fetch(port, path="/"):
    return urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=30).read()


@row("port-forward", "`port-forward` to a port the work listens on, several connections at once")
def port_forward(k):
    port = free_port()
    pod = run_job(k, "head -c 3000000 /dev/zero > big; " + SERVE % port)
    k.until(lambda: k.run("exec", pod, "--", "/usr/bin/python3", "-c", "import socket; socket.create_connection(('127.0.0.1', %d))" % port).code == 0)
    process, local = forwarded(k, pod, port)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda _: len(fetch(local, "/big")), range(16)))
    equal(sizes, [3000000] * 16)
    check(process.poll() is None, k.err_of(process))


@row("port-forward", "`port-forward` to a port of somebody else's program")
def port_forward_other(k):
    pod = exec_pod(k)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        process, local = forwarded(k, pod, other.getsockname()[1])
        try:
            fetch(local)
            raise AssertionError("another program's port was reached")
        except OSError:
            pass
        k.until(lambda: "belongs to another program" in k.err_of(process))
    return "the port belongs to another program of the node"

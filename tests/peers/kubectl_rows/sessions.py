"""exec, attach and cp."""

import json
import re

from .case import check, collector, contains, equal
from .lab import exec_pod, run_job

ROWS, row = collector()


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


# Allocations are the controllers' to make; whose hand does it has that right by name.
PLAYS_CONTROLLERS = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: plays-controllers}
rules: [{apiGroups: [neap.dev], resources: [allocations], verbs: [override]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: plays-controllers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: plays-controllers}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:masters"}]
"""
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
    protected = k.write(PROTECTED % next(n["metadata"]["name"] for n in node if n["spec"]["site"] == "factory-01"))
    contains(k.refused("apply", "-f", protected), "controllers and agents only", "override")
    k.ok("apply", "-f", k.write(PLAYS_CONTROLLERS, "role.yaml"))
    k.until(lambda: k.run("apply", "-f", protected).code == 0)
    k.at_end.append(["delete", "allocation", "protected", "--ignore-not-found", "--wait=false"])
    k.until(lambda: k.object("allocations", "protected").get("status", {}).get("phase") == "Running", lambda: k.ok("get", "allocations", "-o", "yaml"))
    message = k.refused("exec", "protected", "--", "echo", "secret")
    contains(message, "L2", "no policy")
    k.until(lambda: audit(k, "refusal", k.ns))
    user = re.search(r"names user (\S+)", message).group(1)
    k.ok("apply", "-f", k.write(POLICY % user))
    k.until(lambda: k.run("exec", "protected", "--", "echo", "seen").out == "seen\n")
    contains(k.refused("port-forward", "protected", ":80"), "no policy")
    contains(k.refused("attach", "-i", "protected", stdin="x\n"), "no policy")
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


@row("exec", "`attach -i` to work made with `stdin: true`: several one after the other and at once, none of them ends it")
def attach_input(k):
    # The beat tells when somebody is attached.
    pod = run_job(k, "while true; do echo beat; sleep 0.2; done & while read line; do echo got $line; done; echo ended; sleep 600", stdin=True)
    equal(k.object("pod", pod)["spec"]["containers"][0].get("stdin"), True)
    watching = k.start("attach", pod)
    k.until_output(watching, "beat")
    for line in ("one", "two"):
        # Its own input ends at once, the work's does not.
        typing = k.start("attach", "-i", pod, stdin=line + "\n")
        k.until_output(watching, "got " + line)
        k.until_output(typing, "got " + line)
    many = [k.start("attach", "-i", pod, stdin="".join("%s%d\n" % (who, i) for i in range(50))) for who in "ab"]
    k.until(lambda: all(k.ok("logs", pod).count("got " + who) == 50 for who in "ab"))
    check(all(process.poll() is None for process in many), "an attach ended while the work runs")
    check("ended" not in k.ok("logs", pod), "the end of a user's input was the end of the work's")


@row("exec", "`attach -i` of more than the work reads: it waits, and nothing is lost")
def attach_backpressure(k):
    pod = run_job(k, "while [ ! -e go ]; do sleep 0.1; done; head -c 1000000 | wc -c; sleep 600", stdin=True)
    k.start("attach", "-i", pod, stdin="0123456789\n" * 100000)
    k.ok("exec", pod, "--", "touch", "go")
    k.until(lambda: k.ok("logs", pod).strip() == "1000000", lambda: k.ok("logs", pod))


@row("exec", "`attach -i` to work made without `stdin: true`")
def attach_without_input(k):
    pod = run_job(k, "cat; sleep 600")
    contains(k.refused("attach", "-i", pod, stdin=""), "stdin: true")
    return "the program reads no input; the message names `stdin: true`"


@row("exec", "`attach` needs the right to create pods/attach: that of pods/exec is not enough", since=24)
def attach_rights(k):
    pod = run_job(k, "while read line; do echo got $line; done", stdin=True)
    k.ok("create", "role", "r", "--verb=create", "--resource=pods/exec")
    k.ok("create", "role", "reader", "--verb=get", "--resource=pods")
    k.ok("create", "serviceaccount", "viewer")
    for role in ("r", "reader"):
        k.ok("create", "rolebinding", role, "--role=" + role, "--serviceaccount=%s:viewer" % k.ns)
    token = k.ok("create", "token", "viewer").strip()
    contains(k.refused("attach", "-i", pod, token=token, stdin="x\n"), "forbidden", "pods/attach")


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


@row("exec", "`describe pod`, `get pod -o wide` of work that runs")
def describe_pod(k):
    pod = exec_pod(k)
    described = k.ok("describe", "pod", pod)
    contains(described, "Status:", "Running", "touch made-by-work", "main:")
    contains(k.ok("get", "pod", pod, "-o", "wide"), k.object("pod", pod)["spec"]["nodeName"])
    contains(k.ok("wait", "pod/" + pod, "--for=condition=Ready", "--timeout=20s"), "condition met")

"""port-forward."""

import concurrent.futures
import pathlib
import re
import socket
import urllib.request

from .case import check, collector, equal
from .lab import exec_pod, run_job

ROWS, row = collector()


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

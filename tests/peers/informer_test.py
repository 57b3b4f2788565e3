"""Informers of client-go and of @kubernetes/client-node against a real `neap server`: whatever happens to the
connection, to the server and to its history, their caches equal the server's in the end."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from neap_process import Server  # noqa: E402

DEPENDENCIES = pathlib.Path(os.environ["NEAP_DEPENDENCIES"])
HERE = pathlib.Path(__file__).resolve().parent
NAMESPACE = "informers"
CONFIGMAPS = "/api/v1/namespaces/%s/configmaps" % NAMESPACE
JOBS = "/apis/neap.dev/v1/namespaces/%s/trainingjobs" % NAMESPACE
SETTLE_SECONDS = 90
# More than a watcher's queue (4,096) and the server's history (8,192) hold.
FLOOD = 9000
# Of each object, so that the sockets' buffers cannot hide that somebody sleeps.
PADDING = 2000


class Informer:
    """A process that keeps a cache and prints it when asked."""

    def __init__(self, words, log):
        self.log = open(log, "w+")
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        if self.process.stdout.readline() != "synced\n":
            raise AssertionError("it did not sync: " + pathlib.Path(log).read_text())

    def ask(self, line="dump"):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def errors(self):
        return pathlib.Path(self.log.name).read_text()

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()


class ClientGo(Informer):
    def __init__(self, server, folder):
        program = DEPENDENCIES / "informers" / "informers"
        super().__init__([str(program), str(server.state / "admin.kubeconfig"), NAMESPACE], folder / "client-go.log")

    def caches(self):
        found = json.loads(self.ask())
        return {CONFIGMAPS: found["configmaps"], JOBS: found["trainingjobs"]}


class ClientNode(Informer):
    def __init__(self, server, folder):
        place = DEPENDENCIES / "client_node"
        shutil.copy(HERE / "client_node" / "informer.js", place / "informer.js")
        super().__init__(["node", str(place / "informer.js"), str(server.state / "admin.kubeconfig"), NAMESPACE],
                         folder / "client-node.log")

    def caches(self):
        return {CONFIGMAPS: json.loads(self.ask())}


def config_map(name, value="0"):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}


def job(name):
    return {"apiVersion": "neap.dev/v1", "kind": "TrainingJob", "metadata": {"name": name},
            "spec": {"command": ["train"], "suspend": True, "resources": {"cpu": "1", "memory": "1Gi"}}}


class InformerTest(unittest.TestCase):
    """One server and one informer of each client; every test leaves both in step again."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="neap-informers-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.server = Server(cls.folder / "server")
        cls.server.start()
        cls.addClassCleanup(cls.server.end)
        cls.server.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        cls.write(0, 1000)
        api = cls.server.api()
        for i in range(50):
            assert api.call("POST", JOBS, job("job-%d" % i)).status == 201
        api.close()
        cls.informers = [ClientGo(cls.server, cls.folder), ClientNode(cls.server, cls.folder)]
        for informer in cls.informers:
            cls.addClassCleanup(informer.end)

    @classmethod
    def write(cls, begin, end):
        api = cls.server.api()
        for i in range(begin, end):
            reply = api.call("POST", CONFIGMAPS, config_map("c-%d" % i))
            assert reply.status in (201, 409), reply.text
        api.close()

    @classmethod
    def change(cls, names, value, attempts=200):
        """Patches each, over restarts of the server."""
        api = None
        for name in names:
            for _ in range(attempts):
                try:
                    api = api or cls.server.api()
                    reply = api.call("PATCH", CONFIGMAPS + "/" + name, {"data": {"value": value}}, "application/merge-patch+json")
                    if reply.status == 200:
                        break
                except (OSError, http.client.HTTPException):  # the server is being restarted
                    api = None
                    time.sleep(0.1)
            else:
                raise AssertionError("could not change " + name)
        if api:
            api.close()

    def in_threads(self, names, value, count=4):
        threads = [threading.Thread(target=self.change, args=(names[i::count], value)) for i in range(count)]
        for thread in threads:
            thread.start()
        return threads

    def wanted(self):
        out = {}
        for path in (CONFIGMAPS, JOBS):
            items = self.server.ask("GET", path).json["items"]
            out[path] = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}
        return out

    def check_in_step(self):
        until = time.monotonic() + SETTLE_SECONDS
        for informer in self.informers:
            while True:
                wanted, caches = self.wanted(), informer.caches()
                if all(caches[path] == wanted[path] for path in caches):
                    break
                if time.monotonic() > until:
                    differ = {path: len(set(caches[path].items()) ^ set(wanted[path].items())) for path in caches}
                    self.fail("%s: %r entries differ\n%s" % (type(informer).__name__, differ, informer.errors()[-3000:]))
                time.sleep(0.3)

    def names(self):
        return ["c-%d" % i for i in range(1000)]

    def test_1_they_follow_creations_changes_and_deletions(self):
        self.change(self.names()[:100], "1")
        api = self.server.api()
        for i in range(20):
            self.assertEqual(api.call("DELETE", JOBS + "/job-%d" % i).status, 200)
        api.close()
        self.check_in_step()

    def test_2_a_thousand_objects_change_while_the_server_restarts_and_they_list_again(self):
        threads = self.in_threads(self.names(), "2")
        time.sleep(0.3)
        self.server.kill()
        self.server.start()
        for thread in threads:
            thread.join()
        self.check_in_step()

    def test_3_a_clean_restart_loses_nothing(self):
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        self.change(self.names()[:50], "3")
        self.check_in_step()

    def test_4_whoever_sleeps_through_more_than_the_history_catches_up(self):
        for informer in self.informers:
            informer.process.send_signal(signal.SIGSTOP)
        threads = []
        for round_ in range(FLOOD // 1000):
            for thread in threads:
                thread.join()
            threads = self.in_threads(self.names(), "flood-%d-%s" % (round_, "x" * PADDING), count=2)
        for thread in threads:
            thread.join()
        for informer in self.informers:
            informer.process.send_signal(signal.SIGCONT)
        self.check_in_step()

    def test_5_slow_handlers_lose_nothing(self):
        self.assertEqual(self.informers[0].ask("slow 1"), "ok\n")
        for thread in self.in_threads(self.names(), "5"):
            thread.join()
        self.assertEqual(self.informers[0].ask("slow 0"), "ok\n")
        self.check_in_step()

    def test_6_a_watch_ends_with_a_bookmark_and_goes_on_from_it(self):
        path = CONFIGMAPS + "?watch=true&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion="
        now = self.server.ask("GET", CONFIGMAPS + "?limit=1").json["metadata"]["resourceVersion"]
        # Something of another kind moves the revision on: the bookmark must be beyond it.
        self.server.ask("POST", JOBS, job("bookmark"))
        lines = [json.loads(line) for line in self.server.ask("GET", path + now).text.splitlines()]
        self.assertEqual([line["type"] for line in lines], ["BOOKMARK"])
        bookmark = lines[0]["object"]["metadata"]["resourceVersion"]
        self.assertGreater(int(bookmark), int(now))
        self.change(["c-1"], "6")
        lines = [json.loads(line) for line in self.server.ask("GET", path + bookmark).text.splitlines()]
        self.assertEqual([line["type"] for line in lines], ["MODIFIED", "BOOKMARK"])

    def test_7_a_watch_from_before_the_history_is_answered_410(self):
        reply = self.server.ask("GET", CONFIGMAPS + "?watch=true&resourceVersion=1&timeoutSeconds=1")
        text = reply.json if reply.status == 410 else json.loads(reply.text.splitlines()[0])["object"]
        self.assertEqual((text["code"], text["reason"]), (410, "Expired"))

    def test_8_leader_election_on_a_lease(self):
        self.assertEqual(self.informers[0].ask("lead leader"), "leading\n")
        lease = self.server.ask("GET", "/apis/coordination.k8s.io/v1/namespaces/%s/leases/leader" % NAMESPACE).json
        self.assertEqual(lease["spec"]["leaseTransitions"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Three servers on three members of etcd: a rolling restart and a dead member that no client with one retry notices, and a
leader that was paused through its term and writes nothing when it goes on. NEAP_LONG=1 makes more rounds of it."""

from __future__ import annotations

import collections
import http.client
import json
import os
import signal
import ssl
import threading
import time
import unittest

from neap_process import Api, Reply, Server
from node_life_test import Agent
from three_servers import JOBS, AllServers, ThreeServersTest

PATH = "/api/v1/namespaces/default/configmaps"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/neap-system/leases/neap-controllers"
LONG = os.environ.get("NEAP_LONG") == "1"
ROUNDS = 3 if LONG else 1


class Client:
    """Knows all servers; a call that fails is tried once more, at the next one."""

    def __init__(self, servers: list[Server], first: int) -> None:
        self.addresses = [server.address for server in servers]
        self.context, self.token = servers[0].tls(), servers[0].token
        self.at = first % len(self.addresses)
        self.api: Api | None = None
        self.retries = 0

    def once(self, method: str, path: str, body: object) -> Reply | None:
        try:
            if not self.api:
                self.api = Api(self.addresses[self.at], self.context, self.token)
            reply = self.api.call(method, path, body)
            if reply.status < 500 and reply.status != 429:
                return reply
            self.failure = f"{self.addresses[self.at]}: {reply.status} {reply.text[:300]}"
        except (OSError, http.client.HTTPException) as error:
            self.failure = f"{self.addresses[self.at]}: {error!r}"
        self.close()
        self.at = (self.at + 1) % len(self.addresses)
        return None

    def call(self, method: str, path: str, body: object = None) -> tuple[Reply | None, bool]:
        """The answer, None where two tries gave none, and whether there were two."""
        reply = self.once(method, path, body)
        if reply:
            return reply, False
        self.retries += 1
        return self.once(method, path, body), True

    def close(self) -> None:
        if self.api:
            self.api.close()
        self.api = None


class Writer(threading.Thread):
    """Creates objects and changes each one; remembers what was acknowledged and what failed twice."""

    def __init__(self, servers: list[Server], index: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.client, self.prefix, self.stopping = Client(servers, index), f"w{index}", stop
        self.acknowledged: dict[str, str] = {}
        self.failed: list[str] = []
        self.slowest = 0.0

    def run(self) -> None:
        for index in range(1_000_000):
            if self.stopping.is_set():
                break
            name = f"{self.prefix}-{index:06d}"
            for method, path, value in (("POST", PATH, "first"), ("PUT", f"{PATH}/{name}", "second")):
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
                began = time.monotonic()
                reply, again = self.client.call(method, path, body)
                self.slowest = max(self.slowest, time.monotonic() - began)
                # The try whose answer was lost may have made it.
                if reply and (reply.status in (200, 201) or (again and method == "POST" and reply.status == 409)):
                    self.acknowledged[name] = value
                else:
                    self.failed.append(f"{method} {name}: {reply.status if reply else 'none'} {reply.text[:300] if reply else self.client.failure}")
                    break
                # Read your own write, at another server.
                self.client.close()
                self.client.at = (self.client.at + 1) % len(self.client.addresses)
                reply, _ = self.client.call("GET", f"{PATH}/{name}")
                if not reply or reply.status != 200 or reply.json["data"]["value"] != value:
                    self.failed.append(f"GET {name} after {value}: {reply.text[:300] if reply else self.client.failure}")
            time.sleep(0.02)
        self.client.close()


class Watcher(threading.Thread):
    """A cache kept by list and watch, as informers do: when a watch ends it goes on from its revision, anywhere."""

    def __init__(self, servers: list[Server], first: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.client, self.stopping = Client(servers, first), stop
        self.cache: dict[str, tuple[str, int]] = {}
        self.revision, self.lists, self.watches = "", 0, 0
        self.broken: list[str] = []
        self.story: list[str] = []  # what happened, for whoever reads a failure

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                if not self.revision:
                    self.list()
                self.watch()
            except (OSError, http.client.HTTPException):
                self.client.at = (self.client.at + 1) % 3
            time.sleep(0.05)
        self.client.close()

    def list(self) -> None:
        reply, _ = self.client.call("GET", PATH)
        if not reply or reply.status != 200:
            raise OSError("no list")
        self.lists += 1
        self.story.append(f"listed at {reply.json['metadata']['resourceVersion']} from {self.client.addresses[self.client.at]}")
        self.cache = {item["metadata"]["name"]: self.seen(item) for item in reply.json["items"]}
        self.revision = reply.json["metadata"]["resourceVersion"]

    @staticmethod
    def seen(item: dict) -> tuple[str, int]:
        return item["data"]["value"], int(item["metadata"]["resourceVersion"])

    def watch(self) -> None:
        self.watches += 1
        host, port = self.client.addresses[self.client.at].rsplit(":", 1)
        connection = http.client.HTTPSConnection(host, int(port), context=self.client.context, timeout=3)
        try:
            connection.request("GET", f"{PATH}?watch=1&resourceVersion={self.revision}&allowWatchBookmarks=true", headers={"Authorization": f"Bearer {self.client.token}"})
            stream = connection.getresponse()
            self.story.append(f"watch from {self.revision} at port {port}: {stream.status}")
            if stream.status != 200:
                if stream.status == 410:
                    self.revision = ""
                return
            while line := stream.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self.revision = ""
                    return
                item = event["object"]
                revision = int(item["metadata"]["resourceVersion"])
                if event["type"] != "BOOKMARK":
                    if revision <= int(self.revision):
                        self.broken.append(f"{item['metadata']['name']} at {revision} came after {self.revision}")
                    self.cache[item["metadata"]["name"]] = self.seen(item)
                self.revision = str(revision)
        finally:
            connection.close()


class HighAvailabilityTest(ThreeServersTest):
    def holder(self, server: Server) -> str:
        reply = server.ask("GET", LEASE)
        return reply.json["spec"]["holderIdentity"].split("_")[0] if reply.status == 200 else ""

    def leader(self) -> Server:
        self.wait("nobody leads", lambda: any(self.holder(self.servers[0]) == server.address for server in self.servers))
        return next(server for server in self.servers if server.address == self.holder(self.servers[0]))

    def decided(self, server: Server, name: str) -> bool:
        reply = server.ask("GET", f"{JOBS}/{name}")
        return reply.status == 200 and "explanation" in reply.json.get("status", {})

    def test_a_rolling_restart_and_a_dead_member_of_etcd_fail_no_call_that_is_tried_twice(self) -> None:
        stop = threading.Event()
        writers = [Writer(self.servers, index, stop) for index in range(6)]
        watchers = [Watcher(self.servers, index, stop) for index in range(3)]
        for one in (*watchers, *writers):
            one.start()
        time.sleep(1)
        began = time.monotonic()
        for round_number in range(ROUNDS):
            for server in self.servers:
                self.assertEqual(server.stop(), 0)
                server.start()
                time.sleep(0.5)
            member = self.members[round_number % 3]
            member.end()
            time.sleep(3)
            member.start()
        time.sleep(1)
        took = time.monotonic() - began
        stop.set()
        for one in (*writers, *watchers):
            one.join(timeout=90)
            self.assertFalse(one.is_alive(), "a client still waits")
        self.assertEqual([line for writer in writers for line in writer.failed], [])
        acknowledged = {name: value for writer in writers for name, value in writer.acknowledged.items()}
        retries = sum(writer.client.retries for writer in writers)
        self.assertGreater(retries, 0, "nobody noticed a restart: there was no load")
        last = self.servers[0].ask("GET", PATH)
        stored = {item["metadata"]["name"]: Watcher.seen(item) for item in last.json["items"]}
        for name, value in acknowledged.items():
            self.assertIn(name, stored, "an acknowledged write is gone")
            self.assertEqual(stored[name][0], value)
        for watcher in watchers:
            self.assertEqual(watcher.broken, [])
            self.catch_up(watcher, last.json["metadata"]["resourceVersion"])
            self.assertEqual({name: (watcher.cache.get(name), seen) for name, seen in stored.items() if watcher.cache.get(name) != seen}, {}, watcher.story)
            self.assertEqual(set(watcher.cache), set(stored))
        print(f"{len(acknowledged)} objects written in {took:.1f} s, {retries} calls tried twice, none failed, slowest {max(w.slowest for w in writers):.2f} s; "
              f"watchers: {sum(w.watches for w in watchers)} watches, {sum(w.lists for w in watchers)} lists", flush=True)

    def catch_up(self, watcher: Watcher, revision: str) -> None:
        """The events that were on their way when the watcher was stopped."""
        watcher.client = Client(self.servers, 1)
        self.addCleanup(watcher.client.close)
        until = time.monotonic() + 30
        while int(watcher.revision or 0) < int(revision) and time.monotonic() < until:
            try:
                if not watcher.revision:
                    watcher.list()
                watcher.watch()
            except OSError:
                # Silence of three seconds: all that matches has come.
                return

    def test_a_paused_leader_is_replaced_within_seconds_and_writes_nothing_when_it_goes_on(self) -> None:
        for round_number in range(ROUNDS):
            old = self.leader()
            others = [server for server in self.servers if server is not old]
            self.submit(others[0], f"before-{round_number}")
            self.wait("the leader decides nothing", lambda n=round_number: self.decided(others[0], f"before-{n}"))
            old.process.send_signal(signal.SIGSTOP)
            try:
                self.submit(others[0], f"meanwhile-{round_number}")
                gap = self.wait("nobody took over", lambda n=round_number: self.decided(others[1], f"meanwhile-{n}"))
                new = next(server for server in others if server.address == self.holder(others[0]))
                before = others[0].ask("GET", LEASE).json["spec"]["leaseTransitions"]
            finally:
                old.process.send_signal(signal.SIGCONT)
            # Woken, it believes to lead, tries to write, and is refused by the store.
            self.wait("the old leader does not notice", lambda: "this server leads no more" in old.log_path.read_text(errors="replace"))
            self.submit(old, f"after-{round_number}")
            self.wait("the new leader does not go on", lambda n=round_number: self.decided(old, f"after-{n}"))
            lease = old.ask("GET", LEASE).json["spec"]
            self.assertEqual(lease["holderIdentity"].split("_")[0], new.address)
            self.assertEqual(lease["leaseTransitions"], before, "the old leader took the lease back")
            print(f"paused leader replaced and the next decision made after {gap:.1f} s", flush=True)

    def test_a_killed_leader_is_replaced_and_every_server_shows_the_same_audit_ledger(self) -> None:
        old = self.leader()
        others = [server for server in self.servers if server is not old]
        for index, server in enumerate(self.servers):
            self.assertEqual(server.ask("POST", PATH, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"audited-{index}"}, "data": {"value": "x"}}).status, 201)
        old.kill()
        self.submit(others[0], "after-the-kill")
        gap = self.wait("nobody took over", lambda: self.decided(others[1], "after-the-kill"))
        old.start()
        records = []
        for server in self.servers:
            reply = server.ask("GET", "/neap/v1/audit")
            self.assertIs(reply.json["log_verified"], True)
            mine = [(e["type"], e.get("name"), e.get("storeRevision"), e.get("storePlace")) for e in reply.json["entries"]]
            self.assertEqual([count for count in collections.Counter(mine).values() if count > 1], [], "an entry was copied twice")
            records.append(mine)
        self.assertEqual(records[0], records[1])
        self.assertEqual(records[0], records[2])
        for index in range(3):
            self.assertIn(f"audited-{index}", [name for _, name, _, _ in records[0]])
        print(f"killed leader replaced after {gap:.1f} s; {len(records[0])} audit entries, the same on three servers", flush=True)

    def test_an_agent_goes_on_at_another_server_and_its_logs_are_read_at_any(self) -> None:
        site = {"apiVersion": "neap.dev/v1", "kind": "Site", "metadata": {"name": "plant"}, "spec": {"tier": "private", "jurisdiction": "DE"}}
        self.assertEqual(self.servers[0].ask("POST", "/apis/neap.dev/v1/sites", site).status, 201)
        agent = Agent(AllServers(self.servers), self.folder)
        self.addCleanup(agent.end)
        agent.start(with_token=True)
        self.submit(self.servers[1], "speaks", ["/bin/sh", "-c", "echo hello from the node; sleep 600"])
        log = "/apis/neap.dev/v1/namespaces/default/allocations/speaks-e1-0/log?tailLines=5"

        said = collections.deque(maxlen=1)

        def readable(server: Server) -> bool:
            reply = server.ask("GET", log)
            said.append(f"{server.address}: {reply.status} {reply.text[:300]}")
            return reply.status == 200 and "hello from the node" in reply.text

        for server in self.servers:
            self.wait("a log cannot be read", lambda s=server: readable(s), seconds=60, said=said)
        for server in self.servers:
            self.assertEqual(server.stop(), 0)
            for other in self.servers:
                if other is not server:
                    self.wait("a log cannot be read without one of the servers", lambda s=other: readable(s), seconds=60, said=said)
            server.start()
        node = self.servers[0].ask("GET", "/apis/neap.dev/v1/nodes/edge-1").json
        self.assertIn(("Ready", "True"), [(c["type"], c["status"]) for c in node["status"]["conditions"]])
        allocation = self.servers[0].ask("GET", log.split("/log")[0]).json
        self.assertEqual(allocation["status"]["phase"], "Running", "work was stopped because a server was")

    def test_a_server_with_another_identity_is_refused(self) -> None:
        other = Server(self.folder / "stranger")
        other.ARGUMENTS = self.servers[0].ARGUMENTS
        with self.assertRaisesRegex(AssertionError, "another identity"):
            other.start()
        with self.assertRaises(ssl.SSLError):
            Api(self.members[0].url.removeprefix("https://"), ssl.create_default_context(cafile=str(self.folder / "tls/ca.pem"))).call("GET", "/health")


if __name__ == "__main__":
    unittest.main()

"""kill -9 under write load: what was acknowledged is there afterwards, with the content that was acknowledged."""

from __future__ import annotations

import http.client
import random
import subprocess
import threading
import time
import unittest

from neap_process import PROGRAM, Server, ServerTest

ROUNDS = 3
WRITERS = 8
PATH = "/api/v1/namespaces/default/configmaps"


class Writer(threading.Thread):
    """Creates ConfigMaps, and changes every third again, until the server is gone; remembers what was acknowledged."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(daemon=True)
        self.api, self.prefix = server.api(), name
        self.acknowledged: dict[str, tuple[str, int]] = {}  # name: value, resource version
        self.unsure: set[str] = set()  # the request in flight when the server died
        self.refusals: list[str] = []
        self.revisions: list[int] = []

    def run(self) -> None:
        index = 0
        while True:
            name = f"{self.prefix}-{index:05d}"
            if not self.write("POST", PATH, name, f"first {index} " + "x" * (index % 900)):
                return
            if index % 3 == 0 and not self.write("PUT", f"{PATH}/{name}", name, f"second {index}"):
                return
            index += 1

    def write(self, method: str, path: str, name: str, value: str) -> bool:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
        try:
            reply = self.api.call(method, path, body)
        except (OSError, http.client.HTTPException):
            self.unsure.add(name)
            return False
        if reply.status not in (200, 201):
            self.refusals.append(f"{method} {name}: {reply.status} {reply.text[:200]}")
            return False
        revision = int(reply.json["metadata"]["resourceVersion"])
        self.acknowledged[name] = (value, revision)
        self.revisions.append(revision)
        return True


class CrashTest(ServerTest):
    def stored(self) -> dict[str, dict]:
        """Every ConfigMap by name, page after page."""
        api, out, token = self.server.api(), {}, ""
        while True:
            reply = api.call("GET", f"{PATH}?limit=500" + (f"&continue={token}" if token else ""))
            self.assertEqual(reply.status, 200, reply.text[:500])
            page = reply.json
            out.update({item["metadata"]["name"]: item for item in page["items"]})
            token = page["metadata"].get("continue", "")
            if not token:
                api.close()
                return out

    def test_three_kills_lose_no_acknowledged_write(self) -> None:
        rng = random.Random(20)
        acknowledged: dict[str, tuple[str, int]] = {}
        unsure: set[str] = set()
        highest = 0
        for round_number in range(ROUNDS):
            writers = [Writer(self.server, f"r{round_number}w{index}") for index in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(rng.uniform(0.7, 2.5))
            self.server.kill()
            for writer in writers:
                writer.join(timeout=70)
                self.assertFalse(writer.is_alive(), "a writer still waits for a server that is gone")
                self.assertEqual(writer.refusals, [])
                self.assertEqual(writer.revisions, sorted(set(writer.revisions)), "a resourceVersion did not grow")
                if writer.revisions:
                    self.assertGreater(writer.revisions[0], highest, "a resourceVersion from before the crash was given again")
                acknowledged.update(writer.acknowledged)
                unsure |= writer.unsure
            written = sum(len(writer.revisions) for writer in writers)
            self.assertGreater(written, 50, "there was hardly any load when the server was killed")
            every = [revision for writer in writers for revision in writer.revisions]
            self.assertEqual(len(every), len(set(every)), "two writes got the same resourceVersion")
            highest = max(every + [highest])

            self.server.start()
            self.check_writes(acknowledged, unsure)
            self.check_ledgers()
            print(f"round {round_number + 1}: {written} writes acknowledged before the kill, all {len(acknowledged)} objects there", flush=True)

    def check_writes(self, acknowledged: dict[str, tuple[str, int]], unsure: set[str]) -> None:
        stored = self.stored()
        for name, (value, revision) in acknowledged.items():
            self.assertIn(name, stored, "an acknowledged write is gone")
            if name in unsure:
                continue  # the change in flight may have been made or not
            self.assertEqual(stored[name]["data"]["value"], value, name)
            self.assertEqual(int(stored[name]["metadata"]["resourceVersion"]), revision, name)
        self.assertLessEqual(set(stored) - set(acknowledged), unsure, "objects are there that nobody wrote")

    def check_ledgers(self) -> None:
        reply = self.server.ask("GET", "/neap/v1/audit")
        self.assertEqual(reply.status, 200, reply.text[:500])
        self.assertGreater(reply.json["size"], 0)
        self.assertIs(reply.json["log_verified"], True, reply.json.get("error"))

    def test_a_second_server_on_the_same_state_is_refused(self) -> None:
        second = subprocess.run(
            [str(PROGRAM), "server", "--state", str(self.server.state), "--listen", "127.0.0.1:0"],
            capture_output=True, text=True, timeout=60, check=False,
        )
        self.assertNotEqual(second.returncode, 0, "two servers opened one state directory")
        self.assertIn(str(self.server.state), second.stderr)
        self.assertEqual(self.server.ask("GET", "/readyz").status, 200)
        self.assertTrue((self.server.state / "ready").exists(), "the second server took the first one's ready file away")

    def test_z_sigterm_ends_cleanly_and_everything_is_there_again(self) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "before-the-end"}, "data": {"value": "kept"}}
        self.assertEqual(self.server.ask("POST", PATH, body).status, 201)
        watcher = self.server.api()  # an open watch must not hold the end up
        watcher.connection.request("GET", f"{PATH}?watch=1", headers={"Authorization": f"Bearer {watcher.token}"})
        self.assertEqual(self.server.stop(seconds=10), 0)
        watcher.close()
        self.assertFalse((self.server.state / "ready").exists(), "a stopped server still says that it is ready")
        self.server.start()
        reply = self.server.ask("GET", f"{PATH}/before-the-end")
        self.assertEqual(reply.json["data"], {"value": "kept"})
        self.assertEqual(self.server.stop(seconds=10), 0)


if __name__ == "__main__":
    unittest.main()

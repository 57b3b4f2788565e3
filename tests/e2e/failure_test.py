"""What fails under the program: a disk that loses writes, a `neap up` that is killed."""

from __future__ import annotations

import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from neap_process import LabTest, Server, ServerTest

PATH = "/api/v1/namespaces/default/configmaps"
EXIT_STORAGE_FAILED = 74
HERE = pathlib.Path(__file__).resolve().parent


def config_map(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": name}}


def is_alive(pid: int) -> bool:
    """A zombie has ended; whoever inherited it has only not looked yet."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def compile_preload(folder: pathlib.Path) -> pathlib.Path:
    compiler = next((c for c in ("clang-19", "clang", "cc", "gcc") if shutil.which(c)), None)
    if not compiler:
        raise unittest.SkipTest("no C compiler: the failing fsync cannot be built")
    out = folder / "failing_sync.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(out), str(HERE / "failing_sync.c"), "-ldl"], check=True, timeout=60)
    return out


class FailedSyncTest(ServerTest):
    @classmethod
    def setUpClass(cls) -> None:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="neap-e2e-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.switch = folder / "fail"
        added = {"LD_PRELOAD": str(compile_preload(folder)), "NEAP_TEST_FAIL_SYNC": str(cls.switch)}
        Server.ENVIRONMENT = added
        cls.addClassCleanup(setattr, Server, "ENVIRONMENT", {})
        super().setUpClass()

    def test_a_server_whose_disk_failed_says_so_ends_with_74_and_loses_nothing_it_acknowledged(self) -> None:
        acknowledged = [f"kept-{i}" for i in range(20)]
        for name in acknowledged:
            self.assertEqual(self.server.ask("POST", PATH, config_map(name)).status, 201)
        self.switch.touch()
        try:
            reply = self.server.ask("POST", PATH, config_map("lost"))
            self.assertGreaterEqual(reply.status, 500, reply.text)
            self.assertIn("check the disk", reply.text)
        except (OSError, http.client.HTTPException):
            pass  # it may end before it has answered
        self.assertEqual(self.server.process.wait(timeout=30), EXIT_STORAGE_FAILED)
        self.assertIn("the disk failed a write; this process ends", self.server.log_path.read_text())
        self.assertFalse((self.server.state / "ready").exists())
        self.switch.unlink()
        self.server.start()
        stored = {item["metadata"]["name"] for item in self.server.ask("GET", PATH).json["items"]}
        self.assertLessEqual(set(acknowledged), stored)
        self.assertEqual(self.server.ask("POST", PATH, config_map("afterwards")).status, 201)


class AuditTest(ServerTest):
    def test_what_was_answered_is_on_record_after_kill_9(self) -> None:
        for round_number in range(3):
            names = [f"r{round_number}-{i}" for i in range(30)]
            api = self.server.api()
            for name in names:
                self.assertEqual(api.call("POST", PATH, config_map(name)).status, 201)
            refused = self.server.api(token="neapt.wrong").call("GET", PATH)
            self.server.kill()  # at once: nothing was left for later
            self.assertEqual(refused.status, 401)
            self.server.start()
            entries = self.server.ask("GET", "/neap/v1/audit").json["entries"]
            recorded = {e["name"] for e in entries if e["type"] == "api" and e["verb"] == "create"}
            self.assertLessEqual(set(names), recorded, "an answered write is not on record")
            refusals = [e for e in entries if e["type"] == "api-refusal" and e["status"] == 401]
            self.assertEqual(len(refusals), round_number + 1)


class KilledLabTest(LabTest):
    def test_a_killed_lab_leaves_no_process_and_its_state_starts_again(self) -> None:
        lab = self.start()
        children = self.children()
        self.assertEqual(len(children), 6)
        os.kill(children["server"], signal.SIGKILL)
        self.wait("the server was not started again", lambda: self.children().get("server", children["server"]) != children["server"])
        self.assertIn("server was ended by signal 9", self.log.read_text())
        children = self.children()
        lab.kill()
        lab.wait(timeout=30)
        self.wait("children outlived a killed `neap up`", lambda: not any(map(is_alive, children.values())))
        again = self.start()
        self.assertEqual(len(self.children()), 6)
        self.end(again)


if __name__ == "__main__":
    unittest.main()

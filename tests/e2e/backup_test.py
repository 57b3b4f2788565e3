"""neap backup of a server under write load, kill -9, neap restore into a fresh directory: what was acknowledged before the backup is there."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import time

from crash_test import PATH, Writer
from neap_process import PROGRAM, Server, ServerTest

WRITERS = 8


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, timeout=120, check=False)


class BackupTest(ServerTest):
    def backup(self, to: pathlib.Path) -> str:
        done = run("backup", "--state", str(self.server.state), "--to", str(to))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_a_backup_under_load_restores_everything_acknowledged_before_it(self) -> None:
        writers = [Writer(self.server, f"w{index}") for index in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(2)
        before = {name: value for writer in writers for name, value in dict(writer.acknowledged).items()}
        counts = [len(writer.revisions) for writer in writers]
        began = time.monotonic()
        said = self.backup(self.folder / "backup")
        seconds = time.monotonic() - began
        during = sum(len(writer.revisions) for writer in writers) - sum(counts)
        time.sleep(0.5)
        self.server.kill()
        for writer in writers:
            writer.join(timeout=70)
            self.assertEqual(writer.refusals, [], "a write was refused while the backup was made")
        self.assertGreater(len(before), 50, "there was hardly any load before the backup")
        self.assertGreater(during, 0, "no write was acknowledged while the backup was made")
        highest = max(revision for writer in writers for revision in writer.revisions)
        print(f"{len(before)} objects before, {during} writes acknowledged during the {seconds:.2f} s of: {said}", end="", flush=True)

        restored = Server(self.folder / "restored")
        done = run("restore", "--from", str(self.folder / "backup"), "--state", str(restored.state))
        self.assertEqual(done.returncode, 0, done.stderr)
        restored.port = self.server.port  # clients find it where the lost one was
        self.addCleanup(restored.end)
        restored.start()
        self.assertEqual(restored.token, self.server.token, "the identity was not restored")
        self.check_objects(restored, before, {name for writer in writers for name in writer.acknowledged} | {n for w in writers for n in w.unsure})
        self.check_revisions(restored, highest)
        listed = subprocess.run(
            ["kubectl", "get", "configmaps", "-o", "name"], capture_output=True, text=True, timeout=60, check=False,
            env=dict(os.environ, KUBECONFIG=str(restored.state / "admin.kubeconfig")),
        ) if shutil.which("kubectl") else restored.cli("get", "configmaps", "-o", "name")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertGreaterEqual(len(listed.stdout.splitlines()), len(before))
        audit = restored.ask("GET", "/neap/v1/audit").json
        self.assertIs(audit["log_verified"], True, audit.get("error"))
        self.assertGreater(audit["size"], 0)

    def check_objects(self, server: Server, before: dict, ever: set[str]) -> None:
        stored = {item["metadata"]["name"]: item for item in server.ask("GET", PATH).json["items"]}
        for name, (value, revision) in before.items():
            self.assertIn(name, stored, "what was acknowledged before the backup is gone")
            found = int(stored[name]["metadata"]["resourceVersion"])
            self.assertGreaterEqual(found, revision, name)
            if found == revision:
                self.assertEqual(stored[name]["data"]["value"], value, name)
        self.assertLessEqual(set(stored), ever, "objects are there that nobody wrote")

    def check_revisions(self, server: Server, highest: int) -> None:
        """No revision that the lost server gave is given again, and a watch from one is told to list."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after-the-restore"}, "data": {}}
        self.assertGreater(int(server.ask("POST", PATH, body).json["metadata"]["resourceVersion"]), highest)
        gone = server.ask("GET", f"{PATH}?watch=1&resourceVersion={highest}")
        self.assertTrue(gone.status == 410 or json.loads(gone.text.splitlines()[0])["object"]["code"] == 410, gone.text[:300])

    def test_what_cannot_be_backed_up_or_restored_is_refused_with_the_way_on(self) -> None:
        if self.server.process.poll() is not None:
            self.server.start()
        file = self.folder / "second"
        self.backup(file)
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        new = self.folder / "new"
        damaged = self.folder / "damaged"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        foreign = self.folder / "foreign"
        foreign.write_text("hello\n")
        for words, text in (
            (("restore", "--from", str(damaged), "--state", str(new)), "older backup"),
            (("restore", "--from", str(foreign), "--state", str(new)), "neap backup"),
            (("restore", "--from", str(file), "--state", str(self.server.state)), "not empty"),
            (("backup", "--state", str(self.server.state), "--to", str(file)), "exists already"),
            (("backup", "--state", str(self.folder), "--to", str(self.folder / "x")), "neap server --state"),
        ):
            done = run(*words)
            self.assertEqual(done.returncode, 1, words)
            self.assertIn(text, done.stderr)
        self.assertFalse(new.exists())

"""A disk that is really full (a small tmpfs): writes are refused with a reason, reads go on, nothing acknowledged is lost,
and with room again the same process writes again. And a database that the disk changed is refused by name."""

from __future__ import annotations

import ctypes
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from neap_process import Server

CLONE_NEWNS = 0x20000
PATH = "/api/v1/namespaces/default/configmaps"


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, timeout=30)


class FullDiskTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="neap-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        # A mount namespace of this process alone: nothing stays behind, whatever happens.
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
            raise unittest.SkipTest(f"no mount namespace of its own: {os.strerror(ctypes.get_errno())}; run as root")
        try:
            mount("--make-rprivate", "/")
            mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(cls.folder))
        except (OSError, subprocess.CalledProcessError) as error:
            raise unittest.SkipTest(f"cannot mount a tmpfs: {error}") from error
        cls.addClassCleanup(subprocess.run, ["umount", "-l", str(cls.folder)], check=False)
        cls.server = Server(cls.folder / "server")
        cls.addClassCleanup(cls.server.end)
        cls.server.start()

    def write(self, name: str, size: int):
        return self.server.ask("POST", PATH, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"fill": "x" * size}})

    def check(self, acknowledged: set[str]) -> None:
        for name in acknowledged:
            reply = self.server.ask("GET", f"{PATH}/{name}")
            self.assertEqual(reply.status, 200, f"{name} was acknowledged: {reply.text[:300]}")

    def test_a_full_disk_refuses_writes_keeps_what_it_took_and_goes_on_with_room(self) -> None:
        acknowledged: set[str] = set()
        for size in (400_000, 4_000):
            for index in range(2000):
                reply = self.write(f"o{size}-{index}", size)
                if reply.status != 201:
                    break
                acknowledged.add(f"o{size}-{index}")
            else:
                self.fail("24 MB never filled up")
            self.assertGreaterEqual(reply.status, 400)
            self.assertRegex(reply.text, "disk|space|full", reply.text[:500])
        self.assertGreater(len(acknowledged), 10)
        self.assertIsNone(self.server.process.poll(), "the server gave up: " + self.server.log_path.read_text(errors="replace")[-1000:])
        self.check(acknowledged)
        mount("-o", "remount,size=64m", str(self.folder))
        for index in range(20):
            reply = self.write(f"after-{index}", 1000)
            self.assertEqual(reply.status, 201, reply.text[:500])
            acknowledged.add(f"after-{index}")
        self.server.kill()
        self.server.start()
        self.check(acknowledged)
        print(f"{len(acknowledged)} writes acknowledged around the full disk, all there after a kill", flush=True)

    def test_z_a_damaged_database_is_refused_by_name_and_left_as_it_is(self) -> None:
        self.assertEqual(self.server.stop(), 0)
        database = self.server.state / "store/store.db"
        bytes_before = database.read_bytes()
        damaged = bytearray(bytes_before)
        damaged[len(damaged) // 2 : len(damaged) // 2 + 4096] = bytes(4096)
        database.write_bytes(damaged)
        # A small database is refused at the start, a large one as soon as it was read.
        try:
            self.server.start()
            self.assertEqual(self.server.process.wait(timeout=60), 74)
        except AssertionError:
            self.assertNotEqual(self.server.process.wait(timeout=60), 0)
        text = self.server.log_path.read_text(errors="replace")
        self.assertIn("is damaged", text[-3000:])
        self.assertIn("restore it from a backup", text[-3000:])
        database.write_bytes(bytes_before)
        self.server.start()
        self.assertEqual(self.server.ask("GET", PATH).status, 200)


if __name__ == "__main__":
    unittest.main()

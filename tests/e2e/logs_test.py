"""`neap logs` in the lab: what a program on a node wrote, read through the connection its agent opened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import unittest

from neap_process import LabTest

JOB = """
apiVersion: neap.dev/v1
kind: TrainingJob
metadata: {{name: {name}, namespace: default}}
spec:
  command: ["/bin/sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; {then}"]
  resources: {{cpu: 100m, memory: 64Mi}}
  allowedSites: [{site}]
  backoffLimit: 0
"""


class LogsTest(LabTest):
    def setUp(self) -> None:
        super().setUp()
        self.lab = self.start()

    def submit(self, name: str, site: str, then: str) -> None:
        applied = self.cli("apply", "-f", "-", stdin=JOB.format(name=name, site=site, then=then))
        self.assertEqual(applied.returncode, 0, applied.stdout + applied.stderr)

    def allocation(self, job: str) -> dict:
        listed = self.cli("get", "allocations", "-o", "json")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        mine = [a for a in json.loads(listed.stdout)["items"] if a["spec"]["ownerName"] == job]
        return mine[-1] if mine else {"status": {}}

    def phase(self, job: str) -> str:
        return self.allocation(job)["status"].get("phase", "")

    def wait_for_lines(self, job: str) -> None:
        self.wait(f"{job} wrote nothing", lambda: "line 5" in self.cli("logs", f"trainingjob/{job}").stdout, seconds=60)

    def test_logs_of_running_killed_and_unreachable_work(self) -> None:
        self.submit("talk", "cloud-a", "sleep 600")
        self.wait_for_lines("talk")
        self.assertEqual(self.cli("logs", "trainingjob/talk", "--tail", "2").stdout, "line 4\nline 5\n")

        allocation = self.allocation("talk")
        name = allocation["metadata"]["name"]
        command, environment = self.cli_command("logs", "-f", name)
        followers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
        for follower in followers:
            self.addCleanup(follower.communicate)
            self.addCleanup(follower.kill)
            self.assertEqual([follower.stdout.readline() for _ in range(5)], [f"line {i}\n" for i in range(1, 6)])
            self.assertIsNone(follower.poll(), "a followed log ended while the work runs")
        followers.pop().kill()  # a reader that goes disturbs nobody

        state = self.folder / "lab/agents" / allocation["spec"]["node"] / "state/allocations" / allocation["metadata"]["uid"]
        program = json.loads((state / "process.json").read_text())["processes"][0]["pid"]
        os.killpg(program, signal.SIGKILL)
        for follower in followers:
            _, errors = follower.communicate(timeout=60)
            self.assertEqual(follower.returncode, 0, errors)
        self.wait("the killed program is not seen", lambda: self.phase("talk") == "Failed")
        self.assertEqual(self.cli("logs", name).stdout, "".join(f"line {i}\n" for i in range(1, 6)))

        entries = json.loads(self.cli("audit", "--type", "crossing", "-o", "json").stdout)["entries"]
        self.assertTrue(any(e["purpose"] == "log" and e["from"] == "cloud-a" and e["bytes"] > 0 for e in entries), entries[-5:])

        previous = self.cli("logs", "absent")
        self.assertEqual(previous.returncode, 1)
        self.assertIn("absent", previous.stderr)

        self.control("POST", f"/v1/stop/{allocation['spec']['node']}")
        unreachable = self.cli("logs", name)
        self.assertEqual(unreachable.returncode, 1)
        # Through the lab's relay the server may notice only when nobody answers.
        self.assertRegex(unreachable.stderr, "is not connected to this server|did not answer within")


if __name__ == "__main__":
    unittest.main()

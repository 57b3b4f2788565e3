"""Neap's registry before oras: artifacts with referrers, copies between repositories, pages of tags, deletion."""

from __future__ import annotations

import json
import pathlib
import subprocess
import unittest

from neap_process import SOURCE, ServerTest

ORAS = SOURCE / "build/deps/oras/oras"
LARGE = bytes(range(256)) * (20 << 12)  # 20 MiB


class OrasTest(ServerTest):
    @classmethod
    def setUpClass(cls) -> None:
        if not ORAS.exists():
            raise AssertionError(f"{ORAS} is missing; run tools/bootstrap_oras.sh")
        super().setUpClass()
        cls.files = cls.folder / "files"
        cls.files.mkdir()
        (cls.files / "m.onnx").write_bytes(LARGE)
        (cls.files / "card.md").write_text("# A model\n")
        (cls.files / "bill.json").write_text('{"components": []}')

    def run_oras(self, *words: str, token: str | None = None, folder: pathlib.Path | None = None) -> subprocess.CompletedProcess:
        login = ["--ca-file", str(self.server.state / "ca.pem"), "--username", "someone", "--password", token or self.server.token]
        return subprocess.run([str(ORAS), *words, *login], cwd=folder or self.files, capture_output=True, text=True, timeout=120, check=False)

    def oras(self, *words: str, **kwargs: object) -> str:
        result = self.run_oras(*words, **kwargs)
        self.assertEqual(result.returncode, 0, f"oras {' '.join(words)}: {result.stdout}{result.stderr}")
        return result.stdout

    def target(self, reference: str) -> str:
        return f"{self.server.address}/default/{reference}"

    def push(self, reference: str, *files: str) -> str:
        """Digest of the manifest."""
        answer = self.oras("push", self.target(reference), "--artifact-type", "application/vnd.example.model", "--format", "json", *files)
        return json.loads(answer)["digest"]

    def test_what_is_pushed_is_pulled_byte_for_byte(self) -> None:
        digest = self.push("whole:v1", "m.onnx:application/octet-stream", "card.md:text/markdown")
        for number, reference in enumerate(("whole:v1", f"whole@{digest}")):
            back = self.folder / f"back-{number}"
            back.mkdir()
            self.oras("pull", self.target(reference), folder=back)
            self.assertEqual((back / "m.onnx").read_bytes(), LARGE)
            self.assertEqual((back / "card.md").read_text(), "# A model\n")
        self.assertEqual(json.loads(self.oras("manifest", "fetch", "--descriptor", self.target("whole:v1")))["digest"], digest)

    def test_tags_come_in_pages_and_in_order(self) -> None:
        self.push("paged:v0", "card.md")
        names = [f"v{n:03}" for n in range(25)]
        self.oras("tag", self.target("paged:v0"), *names)
        self.assertEqual(self.oras("repo", "tags", self.target("paged")).split(), ["v0", *names])
        self.assertEqual(self.oras("repo", "tags", self.target("paged"), "--last", "v020").split(), names[21:])
        token = {"token": self.server.token}
        seen, path = [], "/v2/default/paged/tags/list?n=4"
        for _ in range(20):
            reply = self.server.ask("GET", path, **token)
            self.assertEqual(reply.status, 200, reply.text)
            self.assertLessEqual(len(reply.json["tags"]), 4)
            seen += reply.json["tags"]
            if "link" not in reply.headers:
                break
            path = reply.headers["link"].split(">")[0].removeprefix("<")
        self.assertEqual(seen, ["v0", *names])

    def test_repositories_are_listed(self) -> None:
        for name in ("listed-a", "listed-b"):
            self.push(f"{name}:v1", "card.md")
        names = self.oras("repo", "ls", self.server.address).split()
        self.assertLessEqual({"default/listed-a", "default/listed-b"}, set(names))
        self.assertEqual(names, sorted(names))

    def test_referrers_are_attached_discovered_filtered_and_removed(self) -> None:
        subject = self.push("referred:v1", "card.md")
        bill, notes = "application/vnd.example.bill", "application/vnd.example.notes"
        first = json.loads(self.oras("attach", self.target("referred:v1"), "--artifact-type", bill, "--format", "json", "bill.json:application/json"))
        second = json.loads(self.oras("attach", self.target(f"referred@{subject}"), "--artifact-type", notes, "--annotation", "by=someone", "--format", "json"))

        def found(*words: str) -> dict[str, str]:
            answer = json.loads(self.oras("discover", self.target("referred:v1"), "--format", "json", *words))
            return {r["digest"]: r["artifactType"] for r in answer.get("referrers") or answer.get("manifests") or []}

        self.assertEqual(found(), {first["digest"]: bill, second["digest"]: notes})
        self.assertEqual(found("--artifact-type", bill), {first["digest"]: bill})
        # Without the referrers API a client keeps an index under a tag: none may have been made.
        self.assertEqual(self.oras("repo", "tags", self.target("referred")).split(), ["v1"])
        self.oras("manifest", "delete", "--force", self.target(f"referred@{first['digest']}"))
        self.assertEqual(found(), {second["digest"]: notes})

    def test_a_copy_takes_its_referrers_along_and_mounts_what_is_there(self) -> None:
        self.push("origin:v1", "m.onnx:application/octet-stream")
        self.oras("attach", self.target("origin:v1"), "--artifact-type", "application/vnd.example.bill", "bill.json:application/json")
        login = ["--from-ca-file", str(self.server.state / "ca.pem"), "--from-username", "x", "--from-password", self.server.token,
                 "--to-ca-file", str(self.server.state / "ca.pem"), "--to-username", "x", "--to-password", self.server.token]
        copied = subprocess.run([str(ORAS), "cp", "-r", *login, self.target("origin:v1"), self.target("copied:v1")], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(copied.returncode, 0, copied.stdout + copied.stderr)
        self.assertIn("Mounted", copied.stdout + copied.stderr, "the blob was sent over the wire although it is here")
        answer = json.loads(self.oras("discover", self.target("copied:v1"), "--format", "json"))
        self.assertEqual(len(answer.get("referrers") or answer.get("manifests")), 1)

    def test_a_blob_goes_in_and_out_by_itself_and_is_deleted(self) -> None:
        answer = json.loads(self.oras("blob", "push", self.target("blobs"), "m.onnx", "--descriptor"))
        at = self.target(f"blobs@{answer['digest']}")
        back = self.folder / "blob"
        self.oras("blob", "fetch", at, "--output", str(back))
        self.assertEqual(back.read_bytes(), LARGE)
        self.oras("blob", "delete", "--force", at)
        self.assertNotEqual(self.run_oras("blob", "fetch", at, "--output", str(back)).returncode, 0)

    def test_a_deleted_manifest_is_gone_with_its_tags(self) -> None:
        digest = self.push("gone:v1", "card.md")
        self.oras("tag", self.target("gone:v1"), "v2")
        self.oras("manifest", "delete", "--force", self.target(f"gone@{digest}"))
        for reference in ("gone:v1", "gone:v2", f"gone@{digest}"):
            self.assertNotEqual(self.run_oras("manifest", "fetch", self.target(reference)).returncode, 0, reference)

    def test_a_wrong_token_is_told_so(self) -> None:
        refused = self.run_oras("push", self.target("refused:v1"), "card.md", token="wrong")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("401", refused.stderr)


if __name__ == "__main__":
    unittest.main()

"""Neap's registry before a client that is not Neap's: skopeo, over TLS, with basic authentication."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import subprocess
import unittest

from neap_process import STORY, Server, ServerTest, story_summary


def trust(server: Server) -> None:
    """skopeo verifies TLS against the server's own authority."""
    certificates = server.state.parent / "certificates"
    certificates.mkdir()
    shutil.copy(server.state / "ca.pem", certificates / "ca.crt")


def skopeo(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, text=True, timeout=120, check=False)


def credentials(server: Server, direction: str, token: str | None = None) -> list[str]:
    return [f"--{direction}-cert-dir", str(server.state.parent / "certificates"), f"--{direction}-creds", f"someone:{token or server.token}"]


def write_layout(folder: pathlib.Path) -> str:
    """A small OCI image layout with two layers; returns the digest of its manifest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layers = [blob(b"weights " * 200_000, "application/vnd.oci.image.layer.v1.tar"), blob(b"notes", "application/vnd.oci.image.layer.v1.tar")]
    config = blob(b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}', "application/vnd.oci.image.config.v1+json")
    document = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers}
    manifest = blob(json.dumps(document).encode(), document["mediaType"])
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return manifest["digest"]


def files_of(folder: pathlib.Path) -> dict[str, tuple[int, str]]:
    """Size and digest of every blob of a layout, hashed here."""
    blobs = (folder / "blobs" / "sha256").iterdir()
    return {path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for path in blobs}


class SkopeoTest(ServerTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        trust(cls.server)

    def test_what_goes_in_comes_out_byte_for_byte(self) -> None:
        source, back = self.folder / "source", self.folder / "back"
        digest = write_layout(source)
        target = f"docker://{self.server.address}/default/sample:v1"
        pushed = skopeo("copy", "--preserve-digests", *credentials(self.server, "dest"), f"oci:{source}:v1", target)
        self.assertEqual(pushed.returncode, 0, pushed.stderr)
        pulled = skopeo("copy", "--preserve-digests", *credentials(self.server, "src"), target, f"oci:{back}:v1")
        self.assertEqual(pulled.returncode, 0, pulled.stderr)
        self.assertEqual(files_of(back), files_of(source))
        self.assertEqual(json.loads((back / "index.json").read_text())["manifests"][0]["digest"], digest)

    def test_a_wrong_token_neither_reads_nor_writes(self) -> None:
        source = self.folder / "refused"
        write_layout(source)
        target = f"docker://{self.server.address}/default/refused:v1"
        pushed = skopeo("copy", "--preserve-digests", *credentials(self.server, "dest", "wrong"), f"oci:{source}:v1", target)
        self.assertNotEqual(pushed.returncode, 0)
        reply = self.server.ask("GET", "/v2/default/refused/tags/list")
        self.assertEqual(reply.status, 404, reply.text)


class StoryModelTest(unittest.TestCase):
    """A second server on a copy of what the story's server kept."""

    def test_the_published_model_can_be_pulled_with_its_digest(self) -> None:
        summary = story_summary()
        folder = STORY.parent / "registry-test"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        shutil.copytree(STORY / "state" / "server", folder / "server")
        server = Server(folder / "server")
        self.addCleanup(server.end)
        server.start()
        trust(server)
        model = f"docker://{server.address}/default/surface:g1-v2"
        pulled = skopeo("copy", "--preserve-digests", *credentials(server, "src"), model, f"oci:{folder / 'model'}:v2")
        self.assertEqual(pulled.returncode, 0, pulled.stderr)
        index = json.loads((folder / "model" / "index.json").read_text())
        self.assertEqual(index["manifests"][0]["digest"], summary["model"]["digest"])
        blobs = files_of(folder / "model")
        self.assertIn(summary["model"]["bytes_int8"], {size for size, _ in blobs.values()})
        for name, (_, digest) in blobs.items():
            self.assertEqual(digest, name)


if __name__ == "__main__":
    unittest.main()

"""Models that must not be served: rotten bytes, absent and forged signatures, files that are no model or another one's.

In a real lab. Each case finds one version serving and leaves it serving; the bad one is refused with its reason in the
status, in `neap describe` and in the audit ledger; and once things are put right, it is served.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

from neap_process import PROGRAM, SOURCE, Api
from onnx_file import linear_model

sys.path.insert(0, str(SOURCE / "examples/surface-inspection"))
from story import Lab  # noqa: E402

REPOSITORY = "default/sorter"
SERVICES = "/apis/neap.dev/v1/namespaces/default/inferenceservices"
VERSIONS = "/apis/neap.dev/v1/namespaces/default/modelversions"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
WIDTH = 4
WEIGHTS = [[1.0 if column == row % 3 else 0.0 for column in range(3)] for row in range(WIDTH)]
# Four pixels, of which the brightest names the class.
PROBE = {"scale": 255, "samples": [{"label": label % 3, "pixels": base64.b64encode(bytes(255 if i == label else 0 for i in range(WIDTH))).decode()}
                                   for label in range(3)]}
WAIT_SECONDS = 30


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def openssl(*words: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=True).stdout


@contextlib.contextmanager
def flipped(path: pathlib.Path):
    """The file with its bytes in the middle inverted; as it was when the block ends."""
    before = path.read_bytes()
    middle = len(before) // 2
    path.chmod(0o600)
    path.write_bytes(before[:middle] + bytes(b ^ 0xFF for b in before[middle : middle + 16]) + before[middle + 16 :])
    try:
        yield
    finally:
        path.write_bytes(before)


class Publisher:
    """Pushes and signs models over the registry's own protocol, with openssl for the signatures."""

    def __init__(self, api: Api, folder: pathlib.Path, signing_key: pathlib.Path) -> None:
        self.api, self.folder, self.signing_key = api, folder, signing_key

    def expect(self, status: int, method: str, path: str, body: object = None, content_type: str = "application/octet-stream"):
        reply = self.api.call(method, path, body, content_type)
        assert reply.status == status, f"{method} {path}: {reply.status} {reply.text[:500]}"
        return reply

    def blob(self, data: bytes, media_type: str) -> dict:
        begun = self.expect(202, "POST", f"/v2/{REPOSITORY}/blobs/uploads/")
        location = begun.headers["location"]
        self.expect(201, "PUT", location + ("&" if "?" in location else "?") + f"digest={sha256(data)}", data)
        return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}

    def manifest(self, document: dict) -> tuple[str, int]:
        data = json.dumps(document).encode()
        self.expect(201, "PUT", f"/v2/{REPOSITORY}/manifests/{sha256(data)}", data, MANIFEST)
        return sha256(data), len(data)

    def push(self, name: str, files: dict[str, bytes]) -> tuple[str, int]:
        """A model version with its ModelVersion object; digest and size of the manifest."""
        layers = []
        for path, data in files.items():
            layer = self.blob(data, "application/vnd.cncf.model.weight.v1.raw")
            layers.append({**layer, "annotations": {"org.cncf.model.filepath": path, "org.opencontainers.image.title": path}})
        config = self.blob(json.dumps({"descriptor": {"name": REPOSITORY, "version": name}}).encode(), "application/vnd.cncf.model.config.v1+json")
        subject = self.manifest({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
                                 "annotations": {"org.opencontainers.image.version": name}})
        self.expect(201, "POST", VERSIONS, json.dumps({
            "apiVersion": "neap.dev/v1", "kind": "ModelVersion", "metadata": {"name": name},
            "spec": {"model": "sorter", "repository": REPOSITORY, "manifestDigest": subject[0], "file": "m.onnx", "level": "L3"},
        }), "application/json")
        return subject

    def sign(self, subject: tuple[str, int], key: pathlib.Path | None = None, said: str = "", key_id: str = "") -> str:
        """Digest of the signature's manifest. `key` and `key_id`: others than the platform's; `said`: another subject."""
        key = key or self.signing_key
        payload = json.dumps({"type": "neap.dev/signature/v1", "subject": said or subject[0], "signedAt": "2026-01-01T00:00:00Z"}).encode()
        text = self.folder / "payload"
        text.write_bytes(payload)
        signature = openssl("pkeyutl", "-sign", "-inkey", str(key), "-rawin", "-in", str(text))
        config, layer = self.blob(b"{}", "application/vnd.oci.empty.v1+json"), self.blob(payload, "application/vnd.neap.signature.payload.v1+json")
        return self.manifest({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.neap.signature.v1+json", "config": config, "layers": [layer],
            "subject": {"mediaType": MANIFEST, "digest": subject[0], "size": subject[1]},
            "annotations": {"neap.dev/key-id": key_id or self.key_id(key), "neap.dev/signature": base64.b64encode(signature).decode()},
        })[0]

    def key_id(self, key: pathlib.Path) -> str:
        return hashlib.sha256(openssl("pkey", "-in", str(key), "-pubout", "-outform", "DER")).hexdigest()


class BadModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="neap-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.state = cls.folder / "state"
        cls.lab = Lab(PROGRAM, cls.state)
        cls.addClassCleanup(cls.lab.stop)
        cls.made = 0
        cls.connect()
        cls.addClassCleanup(lambda: cls.api.close())
        cls.good = cls.push_good()
        cls.apply("sorter", cls.good, "factory-01")
        cls.wait_phase("sorter", "Complete")

    @classmethod
    def connect(cls) -> None:
        if hasattr(cls, "api"):
            cls.api.close()
        token = (cls.state / "server/admin.token").read_text().strip()
        cls.api = Api(cls.lab.url.removeprefix("https://"), ssl.create_default_context(cafile=str(cls.state / "server/ca.pem")), token)
        cls.publisher = Publisher(cls.api, cls.folder, cls.state / "server/identity/signing.key")

    # -- what is asked for

    @classmethod
    def model(cls) -> bytes:
        """Another file each time, of the same answers."""
        cls.made += 1
        return linear_model([[w * (1 + cls.made) for w in row] for row in WEIGHTS])

    @classmethod
    def push(cls, files: dict[str, bytes]) -> tuple[str, tuple[str, int]]:
        cls.made += 1
        name = f"sorter-v{cls.made}"
        return name, cls.publisher.push(name, files)

    @classmethod
    def push_good(cls) -> str:
        name, subject = cls.push({"m.onnx": cls.model(), "probe.json": json.dumps(PROBE).encode()})
        cls.publisher.sign(subject)
        return name

    @classmethod
    def apply(cls, service: str, version: str, site: str) -> None:
        path = cls.folder / f"{service}.json"
        path.write_text(json.dumps({
            "apiVersion": "neap.dev/v1", "kind": "InferenceService", "metadata": {"name": service},
            "spec": {"model": service, "modelVersion": version, "places": [{"site": site}], "resources": {"cpu": "100m"}, "canary": {"minRequests": 0}},
        }))
        cls.neap("apply", "-f", str(path))

    @classmethod
    def neap(cls, *words: str) -> str:
        environment = dict(os.environ, KUBECONFIG=str(cls.state / "admin.kubeconfig"))
        result = subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, env=environment, timeout=60, check=False)
        assert result.returncode == 0, f"neap {' '.join(words)}: {result.stderr}"
        return result.stdout

    # -- what is seen

    @classmethod
    def wait(cls, what: str, probe, seconds: float = WAIT_SECONDS):
        until = time.monotonic() + seconds
        while not (found := probe()):
            if time.monotonic() > until:
                raise AssertionError(f"waited {seconds} s for {what}\n{cls.neap('describe', 'inferenceservice', 'sorter')}\n{cls.neap('get', 'allocations', '-o', 'yaml')}")
            time.sleep(0.1)
        return found

    @classmethod
    def status(cls, service: str) -> dict:
        reply = cls.api.call("GET", f"{SERVICES}/{service}")
        assert reply.status == 200, reply.text
        # Of the generation that was asked for last, or nothing yet.
        document = reply.json
        status = document.get("status", {})
        return status if status.get("observedGeneration") == document["metadata"]["generation"] else {}

    @classmethod
    def wait_phase(cls, service: str, phase: str) -> dict:
        return cls.wait(f"{service} to be {phase}", lambda: (s := cls.status(service)).get("phase") == phase and s)

    def ask(self, site: str = "factory-01", service: str = "sorter") -> tuple[int, str]:
        """HTTP status and the version that answered."""
        connection = http.client.HTTPConnection(self.lab.endpoints()["gateways"][site].removeprefix("http://"), timeout=10)
        body = json.dumps({"inputs": [{"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": [0, 0, 1, 0]}]})
        try:
            connection.request("POST", f"/v2/models/{service}/infer", body, {"X-Neap-Data-Level": "L1"})
            reply = connection.getresponse()
            text = reply.read()
            if reply.status == 200:
                answer = json.loads(text)["outputs"][0]["data"]
                self.assertEqual(answer.index(max(answer)), 2, "a model answered that is not ours")
            return reply.status, reply.headers.get("X-Neap-Model-Version", "")
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def refusals(self, *says: str) -> list[dict]:
        entries = json.loads(self.neap("audit", "--type", "refusal", "-o", "json"))["entries"]
        return [e for e in entries if e.get("purpose") == "serve" and all(part in e["reason"] for part in says)]

    def roll_out(self, version: str) -> None:
        self.apply("sorter", version, "factory-01")

    def assert_refused(self, version: str, *says: str) -> None:
        """`version` was asked for: it goes back, says why in all places, and the good one still answers."""
        status = self.wait_phase("sorter", "RolledBack")
        for part in (version, *says):
            self.assertIn(part, status["message"])
            self.assertIn(part, self.neap("describe", "inferenceservice", "sorter"))
        self.assertEqual(status["activeVersion"], self.good)
        self.assertEqual(self.ask(), (200, self.good))
        self.wait("the refusal in the audit ledger", lambda: self.refusals(version, *says))
        self.assertEqual(len(self.refusals(version, *says)), 1, "one refusal was recorded more than once")

    def put_right(self, version: str) -> None:
        """The same version again, now that it is as it should be."""
        self.roll_out(self.good)
        self.wait_phase("sorter", "Complete")
        self.roll_out(version)
        self.wait_phase("sorter", "Complete")
        self.assertEqual(self.ask(), (200, version))
        type(self).good = version

    def blob_of(self, store: str, version: str) -> pathlib.Path:
        """Where a store keeps m.onnx of a version."""
        digest = self.api.call("GET", f"{VERSIONS}/{version}").json["spec"]["manifestDigest"]
        layers = self.api.call("GET", f"/v2/{REPOSITORY}/manifests/{digest}").json["layers"]
        name = next(layer for layer in layers if layer["annotations"]["org.cncf.model.filepath"] == "m.onnx")["digest"].removeprefix("sha256:")
        return self.state / store / "content/blobs/sha256" / name[:2] / name

    # -- the cases

    def test_bytes_that_rotted_on_the_node_are_not_served_and_fetched_again(self) -> None:
        blob = self.blob_of("agents/factory-01/state", self.good)
        before = blob.read_bytes()
        self.lab.act("stop", "server")
        self.lab.act("kill", "factory-01")
        blob.chmod(0o600)
        blob.write_bytes(before[:-40] + bytes(40))
        self.lab.act("start", "factory-01")
        self.wait("the node to answer", lambda: self.ask()[0] != 0)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            self.assertEqual(self.ask()[0], 503, "without the server the node has nothing right to serve")
            time.sleep(0.05)
        self.lab.act("start", "server")
        self.connect()
        self.wait("the node to serve again", lambda: self.ask() == (200, self.good))
        self.assertEqual(blob.read_bytes(), before)
        self.wait("the refusal in the audit ledger", lambda: self.refusals(self.good, sha256(before), "the medium changed it"))
        self.wait_phase("sorter", "Complete")

    def test_bytes_that_rotted_in_the_registry_are_not_served(self) -> None:
        version = self.push_good()
        blob = self.blob_of("server", version)
        with flipped(blob):
            self.roll_out(version)
            self.assert_refused(version, sha256_name(blob))
        self.put_right(version)

    def test_a_model_without_its_signature_or_with_another_is_not_served(self) -> None:
        version, subject = self.push({"m.onnx": self.model(), "probe.json": json.dumps(PROBE).encode()})
        self.roll_out(version)
        self.assert_refused(version, subject[0], "carries no signature")
        other = self.folder / "other.key"
        other.write_bytes(openssl("genpkey", "-algorithm", "ed25519"))
        platform = self.publisher.key_id(self.publisher.signing_key)
        for forged, says in (
            ({"key": other}, "which is not trusted here"),
            ({"key": other, "key_id": platform}, "the key did not make it"),
            ({"said": sha256(b"another model")}, "it is about another digest"),
        ):
            with self.subTest(says):
                version, subject = self.push({"m.onnx": self.model(), "probe.json": json.dumps(PROBE).encode()})
                self.publisher.sign(subject, **forged)
                self.roll_out(version)
                self.assert_refused(version, subject[0], says)
        self.publisher.sign(subject)
        self.put_right(version)

    def test_a_file_that_is_no_model_is_not_served(self) -> None:
        for data, says in ((b"this is no model\n" * 100, "no ONNX model"), (self.model()[:-30], "no ONNX model"), (b"", "the file is empty")):
            with self.subTest(says, bytes=len(data)):
                version, subject = self.push({"m.onnx": data})
                self.publisher.sign(subject)
                self.roll_out(version)
                self.assert_refused(version, "m.onnx", says)

    def test_a_model_of_another_input_shape_is_not_served(self) -> None:
        wide = linear_model([[1.0, 0.0, 0.0]] * (WIDTH + 1))
        version, subject = self.push({"m.onnx": wide, "probe.json": json.dumps(PROBE).encode()})
        self.publisher.sign(subject)
        self.roll_out(version)
        self.assert_refused(version, "row 1 of probe.json has 4 values", "takes [1,5]")

    def test_a_first_version_that_is_put_right_is_served_without_being_asked_for_again(self) -> None:
        version = self.push_good()
        with flipped(self.blob_of("server", version)):
            self.apply("fresh", version, "factory-02")
            status = self.wait_phase("fresh", "RolledBack")
            self.assertIn(version, status["message"])
            self.assertEqual(status.get("readyReplicas", 0), 0)
            self.assertNotEqual(self.ask("factory-02", "fresh")[0], 200)
        self.wait_phase("fresh", "Complete")
        self.assertEqual(self.ask("factory-02", "fresh"), (200, version))


def sha256_name(blob: pathlib.Path) -> str:
    return "sha256:" + blob.name


if __name__ == "__main__":
    unittest.main()

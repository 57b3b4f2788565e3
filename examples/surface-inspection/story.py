#!/usr/bin/env python3
"""The main job end to end, against a real lab: raw records in, a served, billed and explained model out.

Everything in the summary is read from the running system or measured by this client; nothing is assumed. A fact that
does not hold ends the story with a message and exit status 1.
"""

from __future__ import annotations

import argparse
import array
import gzip
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
DATASET = pathlib.Path("/usr/share/datasets/fashion-mnist")
NAMESPACE = "default"
STRATEGY = "surface-inspection"
SERVICE = "surface"
RECLAIM_AT_STEP = 60
IMAGE_BYTES = 784


class StoryFailed(Exception):
    pass


class Screen:
    def __init__(self) -> None:
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        seconds = time.monotonic() - self.started
        print(f"[{int(seconds // 60):2d}m{seconds % 60:04.1f}s] {text}", flush=True)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("lab", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Lab:
    """`neap up` and its control socket."""

    def __init__(self, neap: pathlib.Path, state: pathlib.Path) -> None:
        self.neap, self.state = neap, state
        self.log = open(state.parent / "up.log", "ab")
        self.process = subprocess.Popen([str(neap), "up", "--state", str(state)], stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            raise StoryFailed(f"neap up did not become ready; see {state.parent / 'up.log'} and {state / 'server.log'}")
        self.url = line.split()[1]

    def endpoints(self) -> dict:
        return json.loads((self.state / "endpoints.json").read_text())

    def act(self, verb: str, name: str = "", **body: object) -> dict:
        connection = UnixConnection(str(self.state / "lab.sock"))
        path = f"/v1/{verb}" + (f"/{name}" if name else "")
        connection.request("GET" if verb == "state" else "POST", path, json.dumps(body) if body else None)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        if response.status != 200:
            raise StoryFailed(f"lab {verb} {name}: {text}")
        return json.loads(text)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)
        self.process.stdout.close()
        self.log.close()


class Api:
    """The published API with the administrator's token."""

    def __init__(self, state: pathlib.Path, url: str) -> None:
        host, port = url.removeprefix("https://").rsplit(":", 1)
        self.host, self.port = host, int(port)
        self.tls = ssl.create_default_context(cafile=str(state / "server" / "ca.pem"))
        self.token = (state / "server" / "admin.token").read_text()

    def call(self, method: str, path: str, body: object = None) -> dict:
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status >= 400:
            raise StoryFailed(f"{method} {path}: {response.status} {text.decode(errors='replace')[:500]}")
        return json.loads(text) if text else {}

    def get(self, plural: str, name: str = "", namespaced: bool = True) -> dict:
        scope = f"namespaces/{NAMESPACE}/" if namespaced else ""
        return self.call("GET", f"/apis/neap.dev/v1/{scope}{plural}" + (f"/{name}" if name else ""))

    def find(self, plural: str, name: str) -> dict | None:
        try:
            return self.get(plural, name)
        except StoryFailed as error:
            if ": 404 " in str(error):
                return None
            raise


def read_test_images() -> tuple[bytes, bytes]:
    images = gzip.decompress((DATASET / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((DATASET / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    return images, labels


class EdgeClient:
    """A client of one edge's gateway: Open Inference Protocol, one keep-alive connection."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").rsplit(":", 1)
        self.address = (host, int(port))
        self.connection: http.client.HTTPConnection | None = None

    def infer(self, images: bytes, first: int, count: int, level: str) -> tuple[int, list[int], dict]:
        """HTTP status, predicted classes, reply headers. Raises OSError when the connection fails."""
        pixels = array.array("f", (value / 255.0 for value in images[first * IMAGE_BYTES : (first + count) * IMAGE_BYTES])).tobytes()
        head = json.dumps(
            {
                "inputs": [
                    {"name": "input", "shape": [count, 1, 28, 28], "datatype": "FP32", "parameters": {"binary_data_size": len(pixels)}}
                ]
            }
        ).encode()
        return self.send(head, pixels, count, level)

    def send(self, head: bytes, pixels: bytes, count: int, level: str) -> tuple[int, list[int], dict]:
        headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream", "X-Neap-Data-Level": level}
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=30)
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.connection.request("POST", f"/v2/models/{SERVICE}/infer", head + pixels, headers)
            response = self.connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if response.status != 200:
            return response.status, [], dict(response.getheaders())
        data = json.loads(body)["outputs"][0]["data"]
        width = len(data) // count
        best = [max(range(width), key=lambda c: data[row * width + c]) for row in range(count)]
        return 200, best, {name.lower(): value for name, value in response.getheaders()}

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class LiveLoad(threading.Thread):
    """Steady requests to one edge while versions are switched; every failure counts."""

    def __init__(self, url: str, images: bytes, labels: bytes) -> None:
        super().__init__(daemon=True)
        self.client, self.images, self.labels = EdgeClient(url), images, labels
        self.requests = self.failed = 0
        self.versions: dict[str, int] = {}
        self.errors: list[str] = []
        self.done = threading.Event()

    def run(self) -> None:
        index = 0
        while not self.done.is_set():
            self.requests += 1
            try:
                status, _, headers = self.client.infer(self.images, index % len(self.labels), 1, "L2")
                if status != 200:
                    self.failed += 1
                    self.errors.append(f"status {status}")
                else:
                    version = headers.get("x-neap-model-version", "?")
                    self.versions[version] = self.versions.get(version, 0) + 1
            except (OSError, http.client.HTTPException) as error:
                self.failed += 1
                self.errors.append(repr(error))
            index += 1
            self.done.wait(0.01)
        self.client.close()


class Story:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.out = pathlib.Path(args.out).resolve()
        self.neap = pathlib.Path(args.neap).resolve()
        self.state = self.out / "state"
        self.screen = Screen()
        self.summary: dict = {}
        self.images, self.labels = read_test_images()

    # -- small tools

    def say(self, text: str) -> None:
        self.screen.say(text)

    def require(self, holds: bool, message: str) -> None:
        if not holds:
            raise StoryFailed(message)

    def wait(self, what: str, probe, seconds: float, pause: float = 0.25):
        until = time.monotonic() + seconds
        while True:
            found = probe()
            if found:
                return found
            if time.monotonic() > until:
                raise StoryFailed(f"waited {seconds:.0f} s for {what}")
            time.sleep(pause)

    def cli(self, *words: str) -> str:
        environment = dict(os.environ, KUBECONFIG=str(self.state / "admin.kubeconfig"))
        result = subprocess.run([str(self.neap), *words], capture_output=True, text=True, env=environment, check=False)
        if result.returncode != 0:
            raise StoryFailed(f"neap {' '.join(words)}: {result.stderr.strip()}")
        return result.stdout

    def strategy(self) -> dict:
        return self.api.get("deploymentstrategies", STRATEGY)

    def stage(self, name: str) -> dict:
        for stage in self.strategy().get("status", {}).get("stages", []):
            if stage["name"] == name:
                return stage
        return {}

    def wait_stage(self, name: str, seconds: float, every=None) -> dict:
        said = ""

        def probe():
            nonlocal said
            stage = self.stage(name)
            if every:
                every()
            text = f"{name}: {stage.get('phase')} {stage.get('message', '')}"
            if text != said and stage.get("phase") in ("Running", "Done", "Failed"):
                said = text
                self.say("  " + text[:160])
            if stage.get("phase") == "Failed":
                raise StoryFailed(text)
            return stage if stage.get("phase") == "Done" else None

        return self.wait(f"stage {name}", probe, seconds)

    # -- the steps

    def start(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.state.mkdir(parents=True)
        self.say("starting the lab: server, hq-1, hq-2, cloud-a-1 (spot), factory-01, factory-02")
        self.lab = Lab(self.neap, self.state)
        self.api = Api(self.state, self.lab.url)
        self.wait("five ready nodes", lambda: self.ready_nodes() >= 5, 30)
        self.say(f"ready at {self.lab.url}; console {self.lab.endpoints()['console']}")

    def ready_nodes(self) -> int:
        nodes = self.api.get("nodes", namespaced=False).get("items", [])
        return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in n.get("status", {}).get("conditions", [])) for n in nodes)

    def make_raw_data(self) -> None:
        for part, site in enumerate(("factory-01", "factory-02")):
            target = self.state / "agents" / site / "data" / "inspections"
            subprocess.run(
                ["/usr/bin/python3", str(HERE / "make_data.py"), "--out", str(target), "--site", site, "--part", f"{part}/2", "--seed", "7"],
                check=True, stdout=subprocess.DEVNULL,
            )
        self.say("raw L2 records lie at the two factories: 70,000 pictures with notes about who inspected them")

    def collect(self) -> None:
        self.say("1. collect: masking at the edge; the lab will cut factory-01's upload in the middle")
        self.lab.act("cut", "factory-01", afterBytes=4_000_000, downMillis=1500)
        self.say("  " + self.cli("apply", "-f", str(HERE / "strategy.yaml")).strip().replace("\n", "; "))
        self.wait_stage("collect", 90)
        version = next(v for v in self.api.get("datasetversions")["items"] if v["spec"]["dataset"] == "inspections")
        parts = version["spec"]["parts"]
        total = lambda field: sum(int(part.get(field, 0)) for part in parts)  # noqa: E731
        self.summary["collect"] = {
            "records": total("records"), "l1_kept_home": total("recordsKeptHome"), "records_masked": total("recordsMasked"),
            "identifiers_masked": total("identifiersMasked"), "bytes_sent": self.quantity_sum(parts, "bytesSent"),
            "bytes_raw": self.quantity_sum(parts, "bytesRaw"), "upload_cuts": self.lab.act("state")["processes"]["factory-01"]["cuts"],
            "level": version["spec"]["level"], "declassification": version["spec"]["declassification"],
        }
        self.require(self.summary["collect"]["upload_cuts"] == 1, "the upload of factory-01 was not cut")
        c = self.summary["collect"]
        self.say(f"  {c['records']:,} records, {c['l1_kept_home']:,} L1 kept home, {c['identifiers_masked']:,} identifiers masked, "
                 f"{c['bytes_sent']:,} of {c['bytes_raw']:,} bytes sent; the cut upload went on")

    @staticmethod
    def quantity_sum(parts: list, field: str) -> int:
        units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
        total = 0
        for part in parts:
            text = str(part.get(field, "0"))
            total += int(text[:-2]) * units[text[-2:]] if text[-2:] in units else int(text)
        return total

    def check_nothing_leaked(self) -> None:
        """No identifier of the raw records in any byte that left a factory (plain, before encryption)."""
        for site in ("factory-01", "factory-02"):
            agent = self.state / "agents" / site
            sent = b"".join(p.read_bytes() for p in sorted((agent / "state" / "exports").glob("*.plain")))
            self.require(len(sent) > 1_000_000, f"the export log of {site} is empty; nothing to search")
            # Pictures are no text; their bytes are only counted.
            text = "".join(p.read_text() for p in (agent / "state" / "exports").glob("*.plain") if p.read_bytes()[:1] == b"{")
            words = set(self.tokens(text))
            identifiers = (agent / "data" / "inspections" / "identifiers.txt").read_text().splitlines()
            numbers = [i for i in identifiers if any(ch.isdigit() for ch in i) or "@" in i]
            names = set(identifiers) - set(numbers)
            leaked = [i for i in numbers if i in words] + [n for n in names if n in text]
            self.require(not leaked, f"{len(leaked)} identifiers left {site}, for example {leaked[:1]}")
            self.searched = getattr(self, "searched", 0) + len(identifiers)
        self.say(f"  searched every byte that left for {self.searched:,} names, numbers and addresses: none is in it")

    @staticmethod
    def tokens(text: str) -> list[str]:
        out, word = [], []
        for ch in text:
            if ch.isalnum() or ch in "@._-+":
                word.append(ch)
            elif word:
                out.append("".join(word).strip("._-+"))
                word = []
        return out

    def train(self) -> None:
        self.say("2. train: two ranks on spot capacity; the lab takes the machine away in the middle")
        name = f"{STRATEGY}-g1-train"
        reclaimed = False
        said = -1

        def watch() -> None:
            nonlocal reclaimed, said
            job = self.api.find("trainingjobs", name)
            status = (job or {}).get("status", {})
            step = int(status.get("step", -1))
            if step // 40 != said // 40 and step > 0:
                self.say(f"  step {step} at {status.get('site')} ({status.get('capacityType')})")
                said = step
            if not reclaimed and status.get("phase") == "Running" and step >= RECLAIM_AT_STEP:
                self.first_site = (status["site"], status["capacityType"])
                self.require(status["site"] == "cloud-a" and status["capacityType"] == "spot", f"the job runs at {self.first_site}, not on cloud-a spot")
                self.say(f"  step {step}: spot capacity of cloud-a is reclaimed, 15 s of grace")
                self.lab.act("reclaim", "cloud-a-1", graceSeconds=15)
                reclaimed = True

        self.wait_stage("train", 150, watch)
        self.require(reclaimed, "the job ended before its machine could be taken away")
        job = self.api.get("trainingjobs", name)
        status, spec = job["status"], job["spec"]
        runs = status["runs"]
        self.explanation = json.loads(self.cli("explain", f"trainingjob/{name}", "-o", "json"))
        self.summary["train"] = {
            "site": self.first_site[0], "capacity_type": self.first_site[1], "ranks": spec["replicas"] * spec.get("processesPerReplica", 1),
            "interruptions": int(status.get("interruptions", 0)), "steps": int(status["step"]), "steps_repeated": int(status.get("stepsRepeated", 0)),
            "checkpoint_interval_steps": spec["checkpoint"]["intervalSteps"], "resumed_on": runs[-1]["site"],
            "runs": [{k: run.get(k) for k in ("epoch", "site", "capacityType", "firstStep", "lastStep", "reason")} for run in runs],
            "seconds": self.seconds_between(status["startedAt"], status["finishedAt"]),
        }
        t = self.summary["train"]
        self.require(t["interruptions"] == 1, f"{t['interruptions']} interruptions, not one")
        self.require(t["steps_repeated"] <= t["checkpoint_interval_steps"], "more than one checkpoint interval was lost")
        self.say(f"  {t['steps']} steps, {t['steps_repeated']} repeated, went on at {t['resumed_on']}")

    @staticmethod
    def seconds_between(first: str, last: str) -> float:
        parse = lambda text: time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))  # noqa: E731
        return parse(last) - parse(first)

    def compress_and_register(self) -> None:
        self.say("3. compress: distil, export, quantise, evaluate, pass the gate")
        self.say("  cloud-a brings an on-demand machine for serving")
        self.lab.act("add", name="cloud-a-2", site="cloud-a", capacityType="on-demand")
        self.wait_stage("compress", 150)
        metrics = self.api.get("trainingjobs", f"{STRATEGY}-g1-compress")["status"]["metrics"]
        self.say("4. register: signed, immutable versions")
        self.wait_stage("register", 30)
        versions = {v["metadata"]["name"]: v for v in self.api.get("modelversions")["items"]}
        final = versions[f"{SERVICE}-g1-v2"]
        sizes = {}
        for version in versions.values():
            for file in version["spec"]["files"]:
                sizes[file["name"]] = self.quantity_sum([{"x": file["size"]}], "x")
        self.summary["model"] = {
            "digest": final["spec"]["manifestDigest"], "signature_key": final["spec"]["signatureKeyId"], "signature_verified": False,
            "accuracy_teacher": metrics["accuracy_teacher"], "accuracy_student": metrics["accuracy_student"], "accuracy_int8": metrics["accuracy_int8"],
            "bytes_fp32": sizes["student.onnx"], "bytes_int8": sizes["student.int8.onnx"],
        }
        m = self.summary["model"]
        self.say(f"  teacher {m['accuracy_teacher']:.4f}, student {m['accuracy_student']:.4f}, INT8 {m['accuracy_int8']:.4f}; "
                 f"{m['bytes_fp32']:,} -> {m['bytes_int8']:,} bytes; {m['digest'][:19]}")

    def gateways(self) -> dict:
        return self.lab.endpoints()["gateways"]

    def distribute(self) -> None:
        self.say("5. distribute and serve: canary at factory-01, then everywhere; then INT8 in place of FP32 under load")
        first = f"{SERVICE}-g1-v1"

        def first_serves():
            service = self.api.find("inferenceservices", SERVICE) or {}
            return service.get("status", {}).get("activeVersion") == first

        self.wait("the first version at all active places", first_serves, 90)
        self.say(f"  {first} serves at both factories; live requests start")
        gateways = self.gateways()
        loads = [LiveLoad(gateways[edge], self.images, self.labels) for edge in ("factory-01", "factory-02")]
        for load in loads:
            load.start()
        try:
            self.wait_stage("distribute", 120)
        finally:
            for load in loads:
                load.done.set()
            for load in loads:
                load.join()
        versions: dict[str, int] = {}
        for load in loads:
            for version, count in load.versions.items():
                versions[version] = versions.get(version, 0) + count
        self.swap = {"requests": sum(load.requests for load in loads), "failed": sum(load.failed for load in loads), "versions": versions}
        self.require(self.swap["failed"] == 0, f"{self.swap['failed']} requests failed while versions were switched: {[l.errors[:3] for l in loads]}")
        self.require(len(versions) >= 2, f"both versions should have answered under load, seen {versions}")
        allocations = [a for a in self.api.get("allocations")["items"] if a["spec"]["ownerKind"] == "InferenceService"]
        verified = [a for a in allocations if a["status"].get("digestVerified") == self.summary["model"]["digest"]
                    and a["status"].get("signatureKeyId") == self.summary["model"]["signature_key"]]
        self.summary["model"]["signature_verified"] = len(verified) >= 2
        self.require(self.summary["model"]["signature_verified"], "the edges did not report digest and signature as verified")
        self.say(f"  {self.swap['requests']} requests during the rollout, {self.swap['failed']} failed, answered by {versions}")

    def measure(self, url: str, level: str, count: int) -> tuple[int, int, int, list[float]]:
        client = EdgeClient(url)
        right = failed = 0
        times = []
        for index in range(count):
            pixels = array.array("f", (v / 255.0 for v in self.images[index * IMAGE_BYTES : (index + 1) * IMAGE_BYTES])).tobytes()
            head = json.dumps({"inputs": [{"name": "input", "shape": [1, 1, 28, 28], "datatype": "FP32",
                                           "parameters": {"binary_data_size": len(pixels)}}]}).encode()
            begin = time.perf_counter()
            try:
                status, best, _ = client.send(head, pixels, 1, level)
            except (OSError, http.client.HTTPException):
                failed += 1
                continue
            times.append((time.perf_counter() - begin) * 1000)
            if status != 200:
                failed += 1
            elif best[0] == self.labels[index]:
                right += 1
        client.close()
        return count, failed, right, times

    def use(self) -> None:
        count = self.args.requests
        self.say(f"6. use: {count} test pictures to each edge, marked L2")
        sent = failed = right = 0
        times: list[float] = []
        for edge in ("factory-01", "factory-02"):
            n, f, r, t = self.measure(self.gateways()[edge], "L2", count)
            sent, failed, right, times = sent + n, failed + f, right + r, times + t
        self.require(failed == 0, f"{failed} of {sent} requests failed")
        times.sort()
        self.summary["serve"] = {
            "edges": 2, "requests": sent, "failed": failed, "accuracy": right / sent, "p50_ms": round(statistics.median(times), 3),
            "p99_ms": round(times[int(len(times) * 0.99)], 3), "swap_requests": self.swap["requests"], "swap_failed": self.swap["failed"],
        }
        s = self.summary["serve"]
        self.say(f"  p50 {s['p50_ms']} ms, p99 {s['p99_ms']} ms, accuracy {s['accuracy']:.4f}")
        self.overload()

    def flood(self, level: str, workers: int, each: int, rows: int) -> dict:
        results: dict[str, int] = {}
        lock = threading.Lock()
        url = self.gateways()["factory-01"]
        pixels = array.array("f", (v / 255.0 for v in self.images[: rows * IMAGE_BYTES])).tobytes()
        head = json.dumps({"inputs": [{"name": "input", "shape": [rows, 1, 28, 28], "datatype": "FP32",
                                       "parameters": {"binary_data_size": len(pixels)}}]}).encode()

        def work() -> None:
            client = EdgeClient(url)
            for _ in range(each):
                try:
                    status, _, headers = client.send(head, pixels, rows, level)
                    key = headers.get("x-neap-served-by", "?") if status == 200 else f"status {status}"
                except (OSError, http.client.HTTPException) as error:
                    key = type(error).__name__
                with lock:
                    results[key] = results.get(key, 0) + 1
                if key == "status 503":
                    time.sleep(0.03)  # the gateway said to come back
            client.close()

        threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    @staticmethod
    def by_site(results: dict) -> dict[str, int]:
        sites: dict[str, int] = {}
        for key, count in results.items():
            site = key.split("/")[0] if not key.startswith("status") else key
            for known in ("factory-01", "factory-02", "cloud-a", "hq"):
                if known in key:
                    site = known
                    break
            sites[site] = sites.get(site, 0) + count
        return sites

    def overload(self) -> None:
        self.say("  overload of factory-01: L2 may overflow to hq only, L3 also to cloud-a")
        l2, l3 = self.by_site(self.flood("L2", 24, 12, 512)), self.by_site(self.flood("L3", 24, 12, 512))
        self.say(f"  L2 answered by {l2}; L3 answered by {l3}")
        self.require(l2.get("cloud-a", 0) == 0, "an L2 request reached cloud-a")
        self.require(l2.get("hq", 0) > 0, "no L2 request overflowed to hq")
        self.summary["serve"].update({"overflow_to": "hq", "overflow_requests": l2.get("hq", 0), "overflow_l3": l3, "overflow_l2": l2})

    def offline(self) -> None:
        self.say("  the server is stopped; the edges keep serving")
        before = self.serving_pids()
        self.lab.act("stop", "server")
        n, failed, _, _ = self.measure(self.gateways()["factory-01"], "L2", 500)
        n2, failed2, _, _ = self.measure(self.gateways()["factory-02"], "L2", 500)
        self.say("  factory-02's agent is killed and started again, still without the server")
        self.lab.act("kill", "factory-02")
        self.lab.act("start", "factory-02")
        again = EdgeClient(self.gateways()["factory-02"])

        def serves():
            try:
                status, _, _ = again.infer(self.images, 0, 1, "L2")
                return status == 200
            except (OSError, http.client.HTTPException):
                return False

        self.wait("factory-02 to serve from its own disk", serves, 30)
        n3, failed3, right3, _ = self.measure(self.gateways()["factory-02"], "L2", 500)
        self.summary["serve"].update({"offline_requests": n + n2 + n3, "offline_failed": failed + failed2 + failed3,
                                      "restarted_agent_served_offline": failed3 == 0 and right3 > 0})
        self.require(failed + failed2 + failed3 == 0, "a request failed while the server was away")
        self.say(f"  {n + n2 + n3} requests without the server, none failed; it comes back")
        self.lab.act("start", "server")
        self.wait("all nodes to report again", lambda: self.ready_nodes() >= 5, 60)
        after = self.serving_pids()
        restarted = [name for name, started in before.items() if name in after and after[name] != started]
        self.require(not restarted, f"these allocations were restarted needlessly: {restarted}")
        self.summary["serve"]["needless_restarts"] = len(restarted)
        self.say("  everything converged; nothing was restarted needlessly")

    def serving_pids(self) -> dict:
        return {a["metadata"]["name"]: a["status"].get("startedAt") for a in self.api.get("allocations")["items"]
                if a["spec"]["ownerKind"] == "InferenceService" and a["status"]["phase"] == "Running"}

    def check_console(self) -> None:
        """The console in a real browser shows what the API says."""
        if not self.args.browser:
            return
        url = json.loads(self.cli("console", "-o", "json"))["url"]
        live = HERE.parent.parent / "tests" / "browser" / "live.mjs"
        result = subprocess.run(["node", str(live), self.lab.url, url, str(self.state / "server" / "ca.pem"), str(self.out / "screens")],
                                capture_output=True, text=True, check=False)
        self.require(result.returncode == 0, f"the console differs from the API: {result.stdout[-800:]}{result.stderr[-800:]}")
        self.say("  the console shows the same in a browser")

    def explain_and_bill(self) -> None:
        self.check_nothing_leaked()  # here, since training did not wait for it
        self.say("7. explain and bill")
        first = self.first_decision()
        winner = next(site for site in first["sites"] if site.get("chosen"))
        chosen = winner["site"]
        refused = {}
        for site in first["sites"]:
            if site.get("chosen"):
                continue
            if site.get("refusal"):
                refused[site["site"]] = site["refusal"]["sentence"]
                continue
            score, best = site["score"], winner["score"]
            refused[site["site"]] = (
                f"admitted, scores {score['total']:.1f} against {best['total']:.1f}: {score['costPerHour']} {first['currency']} an hour "
                f"against {best['costPerHour']}, data there in {score['transferSeconds']:.1f} s against {best['transferSeconds']:.1f} s"
            )
        self.summary["explain"] = {"chosen": chosen, "refused": refused}
        time.sleep(6)  # the last usage increments are shipped and billed within five seconds
        cost = json.loads(self.cli("cost", "--project", NAMESPACE, "-o", "json"))
        self.require(sum(line["micros"] for line in cost["lines"]) == cost["total_micros"], "the bill's parts do not sum to its total")
        self.summary["cost"] = {k: cost[k] for k in ("currency", "total_micros", "lines", "all_public_micros", "all_private_micros")}
        (self.out / "focus.csv").write_text(self.cli("cost", "--project", NAMESPACE, "-o", "focus"))
        audit = json.loads(self.cli("audit", "-o", "json"))
        entries = audit["entries"]
        crossings = [e for e in entries if e["type"] == "crossing"]
        refusals = [e for e in entries if e["type"] in ("refusal", "api-refusal")]
        self.summary["audit"] = {"border_crossings": len(crossings), "refusals": len(refusals), "log_verified": audit["log_verified"]}
        self.require(audit["log_verified"], "the audit ledger does not verify")
        self.require(all(e["level"] != "L1" for e in crossings), "an L1 crossing is on record")
        to_cloud = [e for e in crossings if e.get("to") == "cloud-a" and e["level"] != "L3"]
        self.require(not to_cloud, f"data other than L3 went to cloud-a: {to_cloud[:1]}")

    def first_decision(self) -> dict:
        lines = (self.state / "server" / "ledger" / "decisions" / "entries.jsonl").read_text().splitlines()
        for line in lines:
            entry = json.loads(line)
            body = entry.get("body", entry)
            if str(body.get("object", "")).endswith(f"/{STRATEGY}-g1-train"):
                return body["explanation"]
        raise StoryFailed("the decisions ledger holds no decision about the training job")

    def finish(self) -> None:
        self.summary["seconds"] = round(time.monotonic() - self.screen.started, 1)
        (self.out / "summary.json").write_text(json.dumps(self.summary, indent=2) + "\n")
        s = self.summary
        money = lambda micros: f"{micros / 1e6:.6f}"  # noqa: E731
        rows = [
            ("collect", f"{s['collect']['records']:,} records; {s['collect']['identifiers_masked']:,} identifiers masked; {s['collect']['l1_kept_home']:,} L1 stayed home"),
            ("train", f"{s['train']['site']} {s['train']['capacity_type']}, {s['train']['ranks']} ranks, {s['train']['steps']} steps, {s['train']['steps_repeated']} repeated; went on at {s['train']['resumed_on']}"),
            ("model", f"teacher {s['model']['accuracy_teacher']:.4f}, INT8 {s['model']['accuracy_int8']:.4f}, {s['model']['bytes_fp32']:,} -> {s['model']['bytes_int8']:,} bytes, signature verified"),
            ("serve", f"{s['serve']['requests']:,} requests, p50 {s['serve']['p50_ms']} ms, p99 {s['serve']['p99_ms']} ms, accuracy {s['serve']['accuracy']:.4f}, {s['serve']['swap_failed']} failed in the swap"),
            ("overflow", f"{s['serve']['overflow_requests']} L2 requests to hq, none to cloud-a; offline {s['serve']['offline_requests']:,} requests, {s['serve']['offline_failed']} failed"),
            ("why", f"{s['explain']['chosen']}; " + "; ".join(f"not {site}: {why[:72]}" for site, why in list(s["explain"]["refused"].items())[:3])),
            ("cost", f"{money(s['cost']['total_micros'])} {s['cost']['currency']}; all public {money(s['cost']['all_public_micros'])}, all private {money(s['cost']['all_private_micros'])}"),
            ("audit", f"{s['audit']['border_crossings']} border crossings, {s['audit']['refusals']} refusals, log verified"),
        ]
        print("\n  Neap: the main job in", f"{s['seconds']:.0f} s")
        for name, text in rows:
            print(f"  {name:9} {text}")
        print(f"  console   {self.lab.endpoints()['console']}   (KUBECONFIG={self.state / 'admin.kubeconfig'} {self.neap} console)")
        print(f"  summary   {self.out / 'summary.json'}\n", flush=True)

    def run(self) -> int:
        status = 1
        try:
            self.start()
            for step in (self.make_raw_data, self.collect, self.train, self.compress_and_register, self.distribute, self.use, self.offline,
                         self.explain_and_bill, self.check_console, self.finish):
                step()
            status = 0
        except StoryFailed as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            (self.out / "summary.partial.json").write_text(json.dumps(self.summary, indent=2) + "\n")
        finally:
            if hasattr(self, "lab"):
                if self.args.keep and status == 0:
                    print("the lab keeps running; end it with: kill", self.lab.process.pid, flush=True)
                else:
                    self.lab.stop()
        return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neap", default="build/release/neap", help="the program")
    parser.add_argument("--out", default="build/quickstart", help="folder for state, logs and summary.json; emptied first")
    parser.add_argument("--keep", action="store_true", help="leave the lab running")
    parser.add_argument("--browser", action="store_true", help="also compare the console with the API in Chromium")
    parser.add_argument("--requests", type=int, default=5000, help="test pictures to each edge")
    return Story(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())

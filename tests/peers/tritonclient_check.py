#!/usr/bin/env python3
"""Drives a Neap gateway with a client Neap did not write: tritonclient's HTTP client.

Usage: tritonclient_check.py HOST:PORT MODEL [ROUNDS]
Needs the Python package tritonclient[http]. The model's inputs must be FP32; variable dimensions are given
as 2. Exit status 0 when every form of a request gives the same answer and every error is one the client
understands.
"""

import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def make_inputs(metadata, rng, binary):
    inputs = []
    for spec in metadata["inputs"]:
        shape = [2 if d < 0 else d for d in spec["shape"]]
        tensor = triton.InferInput(spec["name"], shape, spec["datatype"])
        tensor.set_data_from_numpy(rng.standard_normal(shape).astype(np.float32), binary_data=binary)
        inputs.append(tensor)
    return inputs


def answers_agree(client, model, metadata, seed):
    seen = []
    for binary_in in (True, False):
        for binary_out in (True, False):
            inputs = make_inputs(metadata, np.random.default_rng(seed), binary_in)
            outputs = [triton.InferRequestedOutput(o["name"], binary_data=binary_out) for o in metadata["outputs"]]
            result = client.infer(model, inputs, outputs=outputs, request_id=str(seed))
            assert result.get_response()["id"] == str(seed), "the id is not echoed"
            seen.append([result.as_numpy(o["name"]) for o in metadata["outputs"]])
    for other in seen[1:]:
        for a, b in zip(seen[0], other):
            np.testing.assert_array_equal(a, b)


def is_refused(call, status):
    try:
        call()
    except InferenceServerException as error:
        assert status in str(error), f"expected {status}, got: {error}"
        return
    raise AssertionError(f"a wrong request was answered; expected {status}")


def main():
    address, model = sys.argv[1], sys.argv[2]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    client = triton.InferenceServerClient(address, concurrency=8)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
    assert not client.is_model_ready("no-such-model")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(model)
    for seed in range(rounds):
        answers_agree(client, model, metadata, seed)
    inputs = make_inputs(metadata, np.random.default_rng(0), True)
    for pending in [client.async_infer(model, inputs) for _ in range(rounds * 5)]:
        pending.get_result()
    wrong = triton.InferInput("no-such-input", [1], "FP32")
    wrong.set_data_from_numpy(np.ones(1, np.float32))
    is_refused(lambda: client.infer("no-such-model", inputs), "404")
    is_refused(lambda: client.infer(model, [wrong]), "400")
    is_refused(lambda: client.infer(model, inputs, model_version="no-such-version"), "404")
    done = client.get_inference_statistics(model)["model_stats"][0]["inference_stats"]["success"]["count"]
    assert done >= rounds * 9, f"only {done} successes are counted"
    print(f"tritonclient agrees with {address} on model {model}: {done} inferences")


if __name__ == "__main__":
    main()

"""Classifies rows of standard input by Triton's client, and prints the outputs, all as JSON."""

from __future__ import annotations

import json
import sys

import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("pets")
metadata = client.get_model_metadata("pets", as_json=True)
assert metadata["inputs"][0]["name"] == "vectors"
rows = np.array(json.load(sys.stdin), np.float32)
vectors = triton.InferInput("vectors", list(rows.shape), "FP32")
vectors.set_data_from_numpy(rows)
names = ("label", "confidence", "neighbor_ids", "distances")
wanted = [triton.InferRequestedOutput(name) for name in names]
version = metadata["versions"][0]
answer = client.infer("pets", [vectors], model_version=version, outputs=wanted, parameters={"k": 9})
arrays = {name: answer.as_numpy(name) for name in names}
json.dump(
    {
        name: np.vectorize(bytes.decode)(each).tolist() if each.dtype == object else each.tolist()
        for name, each in arrays.items()
    },
    sys.stdout,
)

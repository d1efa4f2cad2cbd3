"""Pictures embedded a second, through this service and by Pillow and ONNX Runtime alone.

Real pictures, scaled to a few sizes: small ones, such as thumbnails, cost the call and the network,
large ones the decoding of a JPEG. Each size is sent in messages of 64, and one picture a call.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import onnxruntime
from PIL import Image
from ratios import stub
from served import folder, seconds, served

from visual_memory.v1 import entry_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb
from visual_memory_embedders import BUILT_IN, ImageLimits, build
from visual_memory_embedders.images.images import decode
from visual_memory_embedders.images.preprocess import preprocess
from visual_memory_service.demo.pictures import CALTECH

SIZES = (64, 224, 1000)  # pixels of the longer side
PICTURES, BATCH, CALLERS, THREADS = 192, 64, 16, 2
LEAST, LEAST_ALONE = 0.95, 0.9  # of the bare libraries; of messages of 64, one a call

Embed = Callable[[list[bytes]], object]


def pictures_of(root: Path, side: int) -> list[bytes]:
    """Return JPEGs of pictures below a folder, their longer sides of so many pixels."""
    files = sorted(root.rglob("*.jpg"))
    if not files:
        sys.exit(f"there are no JPEGs in {root}; name a folder that has some with --images FOLDER")
    return [*map(partial(scaled, side), Random(0).sample(files, min(PICTURES, len(files))))]


def scaled(side: int, path: Path) -> bytes:
    data = BytesIO()
    with Image.open(path) as image:
        share = side / max(image.size)
        size = round(image.width * share), round(image.height * share)
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(data, "JPEG", quality=90)
    return data.getvalue()


@contextmanager
def bare(cache: Path) -> Iterator[Embed]:
    """Yield a function that embeds pictures in two threads, by Pillow and ONNX Runtime alone."""
    limits = ImageLimits()
    with ThreadPoolExecutor(THREADS) as workers:
        spec = build(BUILT_IN[0], cache=cache, workers=workers, limits=limits).spec
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        (graph,) = cache.glob("*.onnx")
        session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name

        def one(picture: bytes) -> object:
            tensor = preprocess(decode(picture, limits=limits), spec.preprocessing)
            return session.run(None, {name: tensor[np.newaxis]})

        yield lambda pictures: list(workers.map(one, pictures))


def in_messages(calls: service_pb2_grpc.VisualMemoryStub, pictures: list[bytes]) -> None:
    """Embed pictures in messages of 64, all sent at once."""
    starts = range(0, len(pictures), BATCH)
    requests = [embed_request(pictures[at : at + BATCH]) for at in starts]
    for answer in [calls.Embed.future(request) for request in requests]:
        answer.result()


def one_a_call(
    calls: service_pb2_grpc.VisualMemoryStub, callers: ThreadPoolExecutor, pictures: list[bytes]
) -> None:
    """Embed each picture in a call of its own, of 16 clients."""
    requests = [embed_request([picture]) for picture in pictures]
    for _ in callers.map(calls.Embed, requests):
        pass


def embed_request(pictures: list[bytes]) -> pb.EmbedRequest:
    return pb.EmbedRequest(memory="bench", images=entry_pb2.Images(data=pictures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=CALTECH, help="default: those of the demo")
    parser.add_argument("--rounds", type=int, default=7)
    flags = parser.parse_args()
    ok = True
    print(
        f"{'pictures/s':14}{'in 64s':>10}{'one a call':>12}{'bare':>8}{'64s/bare':>10}{'1/64s':>8}"
    )
    with (
        folder() as work,
        served(work / "data") as server,
        bare(work / "cache") as by_libraries,
        ThreadPoolExecutor(CALLERS) as callers,
    ):
        calls = stub(server)
        calls.CreateMemory(pb.CreateMemoryRequest(name="bench", embedder=BUILT_IN[0]))
        ways: list[Embed] = [
            partial(in_messages, calls),
            partial(one_a_call, calls, callers),
            by_libraries,
        ]
        for side in SIZES:
            pictures = pictures_of(flags.images, side)
            for way in ways:
                way(pictures[:BATCH])
            took = [[seconds(partial(way, pictures)) for way in ways] for _ in range(flags.rounds)]
            rates = [len(pictures) / statistics.median(side) for side in zip(*took, strict=True)]
            share = statistics.median(libraries / ours for ours, _, libraries in took)
            alone = statistics.median(ours / single for ours, single, _ in took)
            met = share >= LEAST and alone >= LEAST_ALONE
            ok &= met
            print(
                f"{f'{side} pixels':14}{rates[0]:10.0f}{rates[1]:12.0f}{rates[2]:8.0f}"
                f"{share:10.2f}{alone:8.2f}  {'ok' if met else 'MISSED'}"
            )
    sys.exit(not ok)


if __name__ == "__main__":
    main()

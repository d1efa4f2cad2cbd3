"""Power loss after a certificate: no disk brings back erased data, not even bytes of them."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Server, to_picture
from tests.durability.power_loss.disk import Disk, Image
from tests.durability.power_loss.recording import SENT, Call, Process, Recorder, calls, need
from tests.durability.power_loss.test_power_loss import digest_of, left
from tests.service.erasure.residue import Residue

import visual_memory
from visual_memory_index import Catalog

DIMENSION, ERASED, STAYING = 64, 20, 10
VARIANTS = 1 + int(os.environ.get("POWER_LOSS_STATES", "100")) // 100  # of each moment
CERTIFIED = b"digest_after"


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure: the secrets that must be gone, the digest, and the server's system calls."""

    residue: Residue
    digest: str
    recorded: Sequence[Call]
    root: Path

    def disks(self, *, syncs: bool = True) -> Iterator[Image]:
        """Yield the different contents the disk may have from the moment of the certificate on."""
        certified = next(
            at
            for at, call in enumerate(self.recorded)
            if call.name == SENT and CERTIFIED in call.data()
        )
        disk, chance = Disk(syncs=syncs), random.Random(random.random())
        process, known = Process(disk, self.root), set[bytes]()
        for at, call in enumerate(self.recorded):
            if (process.do(call) and at > certified) or at == certified:
                variants = (disk.remains(chance) for _ in range(VARIANTS))
                for image in (disk.cached(), disk.kept(), *variants):
                    if (digest := digest_of(image)) not in known:
                        known.add(digest)
                        yield image


def secret(kind: str, number: int) -> str:
    return f"{kind} {random.Random(f'{kind} {number}').getrandbits(96):024x}"


@pytest.fixture(scope="module")
def erasure(tmp_path_factory: pytest.TempPathFactory) -> Erasure:
    need("strace")
    folder = tmp_path_factory.mktemp("erasure")
    recorder = Recorder(folder, sys.executable)
    root = folder / "data"
    root.mkdir()
    log = recorder.begin()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(recorder.python))
        server = Server(root)
    with visual_memory.connect(server.address) as client:
        residue, digest = unlearn(client)
    server.end()
    return Erasure(residue, digest, calls(log.result()), root)


def unlearn(client: visual_memory.Client) -> tuple[Residue, str]:
    """Create a memory and unlearn two thirds of it; return the secrets and the digest."""
    rows = np.random.default_rng(0).standard_normal((ERASED + STAYING, DIMENSION), np.float32)
    ids = [secret("id", number) for number in range(len(rows))]
    labels = [secret("label", number) for number in range(len(rows))]
    pictures = [to_picture(number) for number in range(len(rows))]
    pets = client.create_memory("pets", dimension=DIMENSION, store_images=True)
    pets.insert(vectors=rows, images=pictures, labels=labels, ids=ids)
    pets.update(ids[0], label=secret("other", 0))
    secrets = {
        f"{entry.id} {number}": part
        for entry in pets.entries(include_vectors=True, include_images=True)
        if entry.id in ids[:ERASED]
        for number, part in enumerate(
            [
                entry.id.encode(),
                entry.label.encode(),
                b"" if entry.vector is None else entry.vector.astype("<f4").tobytes(),
                b"" if entry.image is None else entry.image[64:-16],
            ]
        )
    }
    pets.unlearn(ids[:ERASED])
    return Residue(secrets), pets.info().digest


def test_nothing_of_what_was_erased_is_on_any_disk(erasure: Erasure) -> None:
    for image in erasure.disks():
        assert found_in(image, erasure.residue) == []


def test_what_stays_is_on_every_disk(erasure: Erasure) -> None:
    for image in erasure.disks():
        with left(image) as folder, closing(Catalog(folder)) as catalog:
            memory = catalog.open("pets")
            assert memory.info().digest == erasure.digest
            memory.close()


def test_a_disk_that_does_not_sync_is_seen(erasure: Erasure) -> None:
    disks = erasure.disks(syncs=False)

    assert any(found_in(image, erasure.residue) for image in disks)


def found_in(image: Image, residue: Residue) -> list[str]:
    """Return the files that hold anything of the secrets."""
    return [name for name, content in image.items() if residue.in_bytes(content or b"")]

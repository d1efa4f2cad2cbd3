"""Files that are no pictures are counted; texts of other people reach a terminal as text alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.conftest import RemoteMemory, to_picture
from tests.service.conftest import Run

from visual_memory_service.commands.classify import report


def test_a_reranker_does_not_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    report(Counter({"failed with INTERNAL: \x1b[31mred\nline": 2}))

    said = capsys.readouterr().err
    assert said == "2 pictures not re-ranked: failed with INTERNAL: \\x1b[31mred\\nline\n"


@pytest.mark.parametrize("question", ["classify", "search", "evaluate"])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_files_of_a_folder_that_are_no_pictures_are_counted(
    run: Run, album: RemoteMemory, question: str, flags: list[str]
) -> None:
    folder = Path("pictures/noise")
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(to_picture(1))
    for name in ("b.heic", "noext", "c.jpg_large"):
        (folder / name).write_bytes(to_picture(2))

    done = run(question, album.name, "pictures", *flags)

    assert done.returncode == 0
    if question == "evaluate" and flags:
        assert '"others"' in done.stdout
    else:
        assert done.stderr.splitlines() == [
            "Left out, as no pictures: 1 without an end, 1 .heic, 1 .jpg_large.",
            "HEIC is not read: save such pictures as JPEG first, such as with: "
            "magick mogrify -format jpg *.heic",
        ]

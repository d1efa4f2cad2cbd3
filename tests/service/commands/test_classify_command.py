"""Files that are no pictures are counted; texts of other people reach a terminal as text alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.conftest import RemoteMemory, to_picture
from tests.service.conftest import Run, answer, refused, text

from visual_memory import Client
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
            "Left out, as no pictures: 1 without a suffix, 1 .heic, 1 .jpg_large.",
            "HEIC is not read: save such pictures as JPEG first, such as with: "
            "magick mogrify -format jpg *.heic",
        ]


def draw(path: Path, numbers: range) -> None:
    path.mkdir(parents=True)
    for number in numbers:
        (path / f"{number}.png").write_bytes(to_picture(number))


def test_pictures_are_centred_by_the_mean_of_their_domain(
    run: Run, client: Client, album: RemoteMemory
) -> None:
    draw(Path("drawn/noise"), range(5, 9))
    memory, files = client.memory(album.name), sorted(Path("drawn/noise").iterdir())
    mean = memory.embed(files).mean(axis=0)

    told = answer(run("classify", album.name, "drawn", "--domain", "drawn", "--json"))
    measured = answer(run("evaluate", album.name, "drawn", "--domain", "drawn", "--json"))
    shown = text(run("evaluate", album.name, "drawn", "--domain", "drawn"))

    decisions = memory.classify(images=files, domain_mean=mean)
    assert [each["confidence"] for each in told] == [each.confidence for each in decisions]
    assert [[each["distance"] for each in one["neighbors"]] for one in told] == [
        each.neighbors.distances.tolist() for each in decisions
    ]
    assert (measured["domain"], measured["correct"]) == ("drawn", 4)
    assert (
        "(by --k 50 --voting rank --balance 0 --head none, centred by the mean of the pictures in "
        "drawn); macro accuracy 100.0 %.\n"
    ) in shown


def test_the_share_of_a_winner_is_called_a_score_where_a_head_decides(
    run: Run, client: Client, album: RemoteMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(Path("drawn"), range(5, 7))
    memory = client.memory(album.name)

    def named(*flags: str) -> tuple[str, str]:
        with monkeypatch.context() as patched:
            patched.setattr("sys.stderr.isatty", lambda: True)
            done = run("classify", album.name, "drawn", *flags)
        assert done.returncode == 0
        header = done.stdout.splitlines()[0].removeprefix("picture").removesuffix("nearest")
        return header.split("label")[1].strip(), done.stderr.splitlines()[-1]

    votes, by_head = named(), named("--head", "means")
    memory.insert(images=[to_picture(7), to_picture(8)], labels=["other", "other"])
    memory.tune(apply=True)
    default = memory.info().default_rule

    assert votes[0] == "vote share"
    assert "A vote share of 1 means that all neighbours agree" in votes[1]
    assert by_head[0] == "score"
    assert "A score is the winner's part of the scores of all labels" in by_head[1]
    assert default is not None
    assert default.rule.head == "means"
    assert named() == by_head
    assert named("--head", "none") == votes


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("classify {} . --domain . --calibrated", "--domain: not allowed with argument --calibrat"),
        (
            "classify {} . --domain . --coverage 0.9",
            "--domain: not allowed with argument --coverag",
        ),
        (
            "classify {} . --coverage-by all",
            "--coverage-by: not allowed without argument --coverage",
        ),
        (
            "classify {} . --reliability-k 9",
            "--reliability-k: not allowed without argument --reliab",
        ),
        (
            "evaluate {} . --reliability-k 10",
            "--reliability-k: not allowed without argument --reli",
        ),
    ],
)
def test_a_flag_that_another_excludes_or_would_need_is_wrong_usage(
    run: Run, album: RemoteMemory, line: str, sentence: str
) -> None:
    done = run(*line.format(album.name).split())

    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: argument {sentence}" in done.stderr


def test_a_domain_of_one_picture_or_a_bad_one_is_refused(run: Run, album: RemoteMemory) -> None:
    draw(Path("drawn"), range(5, 7))
    draw(Path("alone"), range(1))
    draw(Path("bad"), range(3))
    Path("bad/1.png").write_bytes(b"no picture")
    ask = ("classify", album.name, "drawn", "--domain")

    few = 'The folder "alone" has 1 picture; --domain needs two at least.\n'
    assert refused(run(*ask, "alone")) == few
    assert refused(run(*ask, "alone/0.png")) == "There is no folder alone/0.png.\n"
    assert run(*ask, "bad").stderr.startswith("bad/1.png ")
    assert run(*ask, "bad").returncode == 1
    left = run(*ask, "bad", "--skip-bad")
    assert left.stderr.endswith("1 picture left out.\n")
    assert left.stdout.count("drawn/") == 2

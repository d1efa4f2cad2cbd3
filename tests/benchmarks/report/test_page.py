"""The page shows all that was measured, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.benchmarks.report.made import write_people, write_results

from visual_memory_benchmarks.errors import BadFile, MissingData
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.report.page import compose, write
from visual_memory_benchmarks.report.sections import SECTIONS
from visual_memory_benchmarks.report.seeds import SEEDS, answers
from visual_memory_benchmarks.report.theme import THEMES

pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "benchmarks/results"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "results"
    write_results(folder)
    return folder


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    write_people(folder)
    return folder


@pytest.fixture(scope="module")
def page(results: Path, people: Path) -> str:
    return compose(results, people, results.parent / "docs")[0]


def pictures(page: str) -> list[str]:
    return re.findall(r'src(?:set)?="([^"]+)"', page)


def test_every_section_is_written(page: str) -> None:
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)

    assert headings[-len(SECTIONS) :] == [each.title for each in SECTIONS]
    assert "Not among these results" not in page


def test_every_picture_is_there_in_both_themes(page: str, results: Path, people: Path) -> None:
    written = write(results, people, results.parent / "docs")
    found = pictures(page)

    assert written.read_text() == page
    assert len(found) >= 2 * 14
    assert len(set(found)) == len(found)
    assert all((results.parent / "docs" / each).is_file() for each in found)
    assert all(
        sum(each.endswith(f"-{theme.name}.png") for each in found) == len(found) / len(THEMES)
        for theme in THEMES
    )


def test_every_picture_is_told_in_words(page: str) -> None:
    texts = re.findall(r'<img alt="([^"]*)"', page)

    assert len(texts) == len(pictures(page)) / 2
    assert min(map(len, texts)) > 40


def test_every_link_inside_the_page_leads_somewhere(page: str, results: Path) -> None:
    anchors = {each.anchor for each in SECTIONS}
    links = re.findall(r"\]\(([^)]+)\)", page)

    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    outside = [results.parent / "docs" / link for link in links if link.startswith("..")]
    assert all(path.resolve().exists() for path in outside)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_paper_to_be_implemented_is_answered(seed: int) -> None:
    assert answers(SECTIONS, seed)


def test_every_result_names_its_command_and_its_digest(page: str) -> None:
    parts = page.split("\n## ")[-len(SECTIONS) :]

    for section, part in zip(SECTIONS, parts, strict=True):
        assert f"`{section.command}`" in part
        if section.needs:
            assert "0123456789ab" in part or "digests in the table at the top" in part
            assert "Intervals:" in part


def test_what_was_not_measured_is_named_with_its_command(people: Path, tmp_path: Path) -> None:
    (tmp_path / "results/experiments").mkdir(parents=True)

    page = write(tmp_path / "results", people, tmp_path / "docs").read_text()

    assert "Not among these results; `visual-memory-bench experiment votings` measures it." in page


def test_without_tables_of_people_the_page_is_not_written_but_refused(
    results: Path, people: Path, tmp_path: Path
) -> None:
    shutil.copytree(people / "human", tmp_path / "human")
    shutil.rmtree(tmp_path / "human" / "cue-conflict")

    for folder, lacking in ((tmp_path, "for cue-conflict"), (tmp_path / "none", "for edge, ")):
        with pytest.raises(MissingData, match=rf"no tables in \S+/human {lacking}.* --data DIR"):
            write(results, folder, tmp_path / "docs")

    assert not (tmp_path / "docs").exists()


def test_a_result_of_earlier_code_says_so(people: Path, results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    path = folder / "experiments/votings.json"
    votings = json.loads(path.read_text()) | {"intervals": EXPERIMENTS["votings"].intervals}
    path.write_text(json.dumps(votings))

    page, _ = compose(folder, people, tmp_path)

    parts = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    assert "Of earlier code" not in parts["Votings over k"]
    assert "Of earlier code" not in parts["Edits against perception"]
    assert "Of earlier code" in parts["Adding classes"]


def test_a_result_that_is_no_json_is_refused_by_its_name(people: Path, tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/votings.json").write_text("{")

    with pytest.raises(BadFile, match=r"votings\.json"):
        write(tmp_path, people, tmp_path / "docs")


def test_the_page_of_this_repository_follows_from_its_results(shared: Path) -> None:
    tables = shared / "data/human_responses"
    committed = (ROOT / "docs/results.md").read_text()

    text, _ = compose(RESULTS, tables, ROOT / "docs")

    assert text == committed
    assert all((ROOT / "docs" / each).is_file() for each in pictures(committed))


def test_the_results_of_this_repository_hold_no_path_of_a_machine() -> None:
    for path in RESULTS.rglob("*.json"):
        text = path.read_text()
        json.loads(text)
        assert "/home/" not in text
        assert "/tmp/" not in text

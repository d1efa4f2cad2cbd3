from __future__ import annotations

from pathlib import Path

import pytest

from visual_memory_benchmarks.runs.benchmarks import BENCHMARKS, DISTORTED
from visual_memory_benchmarks.sources.sources import SOURCES


def test_every_benchmark_of_a_set_says_where_it_is_published() -> None:
    own = {"natural", "folder"}
    sets = {name for name in BENCHMARKS if not name.startswith(DISTORTED)} - own

    assert sets <= set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_a_set_is_fetched_over_https_or_comes_with_a_page(name: str) -> None:
    source = SOURCES[name]

    assert source.page.startswith("https://")
    if source.archive:
        assert source.archive.url.startswith("https://")
        assert len(source.archive.md5 or "0" * 32) == 32
    words = "data get" if source.fetched else "Put it, "
    assert words in source.remedy(Path("data"))

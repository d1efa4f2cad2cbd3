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
    assert all(each.url.startswith("https://") for each in source.archives)
    assert all(len(each.md5) == 32 for each in source.archives if each.md5)
    words = "data get" if source.fetched else "Put it, "
    assert words in source.remedy(Path("data"))

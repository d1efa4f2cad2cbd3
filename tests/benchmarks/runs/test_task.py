from __future__ import annotations

from visual_memory_benchmarks.runs.task import picture_id, table_name
from visual_memory_benchmarks.trials.trials import image_id


def test_a_path_is_one_part_of_a_name_and_no_two_are_alike() -> None:
    files = ["a_b/c.jpg", "a-b/c.jpg", "a/b_c.jpg", "a%2Fb/c.jpg", "n0_x.jpg", "ä/ö.jpg"]

    names = [table_name(1, "natural", "all", "grand_piano", picture_id(file)) for file in files]

    assert len({image_id(name) for name in names}) == len(files)
    assert [image_id(name) for name in names] == [picture_id(file) for file in files]
    assert names[0] == "0001_natural_dnn_0_grand_piano_00_a%5Fb%2Fc.jpg"

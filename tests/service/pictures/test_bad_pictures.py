"""A batch is sent without its bad pictures, which are known by the field at fault alone."""

from __future__ import annotations

from argparse import Namespace
from typing import NoReturn

import pytest

from visual_memory.errors import refuse
from visual_memory.terminal.refused import Refused
from visual_memory_service.pictures import bad_pictures

GONE = "no such file: photos/images[2020]/cat.jpg"


def call(batch: list[str]) -> str:
    if "cat.jpg" in batch:
        no_file(batch.index("cat.jpg"))
    return f"sent {batch}"


def no_file(number: int) -> NoReturn:
    refuse(f"images[{number}]", GONE, separator=": ")


def test_a_path_with_a_number_in_brackets_is_no_item() -> None:
    with pytest.raises(Refused) as caught:
        bad_pictures.send(call, ["a.jpg", "cat.jpg"], str, {}, Namespace(skip_bad=False))

    assert str(caught.value) == "cat.jpg cannot be read: no such file."


def test_a_bad_picture_is_left_out_whatever_its_path_looks_like() -> None:
    bad: dict[str, str] = {}

    sent = bad_pictures.send(call, ["a.jpg", "cat.jpg"], str, bad, Namespace(skip_bad=True))

    assert (sent, bad) == ("sent ['a.jpg']", {"cat.jpg": "cannot be read: no such file"})


def test_a_refusal_about_no_item_is_told_as_it_is() -> None:
    def refused(batch: list[str]) -> NoReturn:
        refuse("request_id", "was used for images[7]")

    with pytest.raises(Refused, match=r"request_id was used for images\[7\]\."):
        bad_pictures.send(refused, ["a.jpg"], str, {}, Namespace(skip_bad=True))

"""Completion scripts know every command and option, and the shell runs them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from visual_memory_service.cli import build_parser
from visual_memory_service.completion import bash, commands_of, fish, zsh

PARSER = build_parser()


@pytest.mark.parametrize("script", [bash, zsh, fish])
def test_a_script_names_every_command_and_option(script: object) -> None:
    assert callable(script)
    text = script(PARSER)

    for name, command in commands_of(PARSER).items():
        assert name in text
        for action in command._actions:
            for flag in action.option_strings:
                assert flag in text or f"-l {flag[2:]}" in text or f"-s {flag[1:]}" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ser", ["serve"]),
        ("classify --vot", ["--voting"]),
        ("classify --voting ra", ["rank"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("insert ", []),
    ],
)
@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_commands_options_and_choices(line: str, words: list[str]) -> None:
    typed = ["visual-memory", *line.split(" ")]
    quoted = " ".join(f"'{word}'" for word in typed)
    program = (
        f"{bash(PARSER)}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(typed) - 1}\n"
        f"_visual_memory visual-memory '{typed[-1]}' '{typed[-2]}'\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )

    said = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=10)

    assert said.stderr == ""
    assert said.stdout.split() == words

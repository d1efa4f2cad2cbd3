"""Shell completion scripts, derived from the parser."""

from __future__ import annotations

from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator

from visual_memory.terminal.arguments import Commands, add

BASH = """\
_visual_memory() {{
    local words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}} $3" in
{choices}
            *) case "${{COMP_WORDS[1]}}" in
{options}
            esac ;;
        esac
        [[ "$2" == -* || "$words" != -* ]] || words=""
    fi
    COMPREPLY=($(compgen -W "$words" -- "$2"))
}}
complete -o default -F _visual_memory visual-memory"""

ZSH = """\
#compdef visual-memory
_visual_memory() {{
    local -a commands=({commands})
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{options}
    esac
}}
compdef _visual_memory visual-memory"""


def add_to(commands: Commands, whole: ArgumentParser) -> None:
    parser = add(commands, "completion", "print a completion script for a shell")
    scripts = {"bash": bash, "zsh": zsh, "fish": fish}
    parser.add_argument("shell", choices=tuple(scripts), help="the shell")
    parser.set_defaults(run=lambda options: print(scripts[options.shell](whole)))


def bash(parser: ArgumentParser) -> str:
    """Return the script for bash; it completes commands, options and choices, else file names."""
    commands = commands_of(parser)
    choices, options = [], []
    for name, command in commands.items():
        flags = " ".join(flag for action in flagged(command) for flag in action.option_strings)
        options.append(f'                {name}) words="{flags}" ;;')
        for action in command._actions:
            words = " ".join(map(str, action.choices or ()))
            for before in (action.option_strings or [name]) if words else ():
                choices.append(f'            "{name} {before}") words="{words}" ;;')
    return BASH.format(
        commands=" ".join(commands), choices="\n".join(choices), options="\n".join(options)
    )


def zsh(parser: ArgumentParser) -> str:
    """Return the script for zsh, with the help of each option."""
    helps = helps_of(parser)
    lines = []
    for name, command in commands_of(parser).items():
        words = [quoted(word) for action in flagged(command) for word in zsh_words(action)]
        values = next(
            (a.choices for a in command._actions if a.choices and not a.option_strings), None
        )
        words.append(quoted(f"*: :({' '.join(map(str, values))})" if values else "*: :_files"))
        lines.append(f"        {name}) _arguments {' '.join(words)} ;;")
    commands = " ".join(quoted(f"{name}:{help}") for name, help in helps.items())
    return ZSH.format(commands=commands, options="\n".join(lines))


def zsh_words(action: Action) -> Iterator[str]:
    """Yield an ``_arguments`` spec for each spelling of an option."""
    help = (action.help or "").replace("[", "(").replace("]", ")").replace(":", " ")
    for flag in action.option_strings:
        if action.nargs == 0:
            yield f"{flag}[{help}]"
        else:
            choices = " ".join(map(str, action.choices or ()))
            yield f"{flag}[{help}]: :{f'({choices})' if choices else '_files'}"


def fish(parser: ArgumentParser) -> str:
    """Return the script for fish: a line for each command, option and choice."""
    lines = []
    for name, help in helps_of(parser).items():
        lines.append(
            f"complete -c visual-memory -n __fish_use_subcommand -f -a {name} -d {quoted(help)}"
        )
    for name, command in commands_of(parser).items():
        start = f"complete -c visual-memory -n '__fish_seen_subcommand_from {name}'"
        for action in command._actions:
            choices = quoted(" ".join(map(str, action.choices or ())))
            end = "" if action.nargs == 0 else f" -x -a {choices}" if action.choices else " -r"
            for flag in action.option_strings:
                dash = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                lines.append(f"{start} {dash}{end} -d {quoted(action.help or '')}")
            if action.choices and not action.option_strings:
                lines.append(f"{start} -f -a {choices}")
    return "\n".join(lines)


def commands_of(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    """Return the parser of each command, by name."""
    return dict(subparsers(parser).choices)


def helps_of(parser: ArgumentParser) -> dict[str, str]:
    """Return the help of each command, by name."""
    return {each.dest: each.help or "" for each in subparsers(parser)._choices_actions}


def subparsers(parser: ArgumentParser) -> Commands:
    """Return the argparse action that holds the parsers of the commands."""
    return next(each for each in parser._actions if isinstance(each, _SubParsersAction))


def flagged(parser: ArgumentParser) -> list[Action]:
    """Return the argparse actions of a command's options, without positional arguments."""
    return [action for action in parser._actions if action.option_strings]


def quoted(text: str) -> str:
    """Put text in single quotes, as all three shells read them."""
    return "'" + text.replace("'", "’") + "'"

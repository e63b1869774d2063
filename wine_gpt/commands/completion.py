"""Print the completion of ``wine-gpt`` for bash and zsh: its commands, and the options of each."""

import contextlib
import importlib
import io
import re
from collections.abc import Iterable

SCRIPT = """if [ -n "$ZSH_VERSION" ]; then
    autoload -Uz compinit bashcompinit
    type compdef >/dev/null 2>&1 || compinit
    bashcompinit
fi
_wine_gpt() {{
    local words=
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    [ "$COMP_CWORD" -eq 1 ] && words="{commands}"
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _wine_gpt wine-gpt"""


def completion(commands: Iterable[str]) -> str:
    """Return the lines that a shell evaluates; files are completed where no option fits."""
    cases = [f'        {name}) words="{" ".join(_options(name))}" ;;' for name in commands]
    return SCRIPT.format(cases="\n".join(cases), commands=" ".join(commands))


def _options(command: str) -> list[str]:
    """Return the options in the help of a command, in their order."""
    help_text = io.StringIO()
    with contextlib.redirect_stdout(help_text), contextlib.suppress(SystemExit):
        importlib.import_module(f"wine_gpt.commands.{command.replace('-', '_')}").main(["--help"])
    # the lines of options, up to their descriptions; the lines above are usage and examples
    lines = re.findall(r"^  (-.*?)(?:  |$)", help_text.getvalue(), re.MULTILINE)
    return re.findall(r"--[\w.-]+", " ".join(lines))

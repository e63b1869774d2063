"""What a user types for this command and others: the names of ``wine-gpt``'s commands or of the scripts."""

import os
import shlex
import sys
from pathlib import Path

from wine_gpt.processes import has_launcher


def command_line() -> str:
    """Return the command that started this process, as a user would type it again."""
    return shlex.join(_command_words())


def program_name(command: str) -> str:
    """Return a command's name in its usage: ``wine-gpt pretrain``, or the name of the script that runs."""
    return Path(sys.argv[0]).name if _is_script() else f"wine-gpt {command}"


def sibling_command(command: str, *arguments: str) -> str:
    """Return what to type for another command: a script if this process runs a script, else ``wine-gpt NAME``."""
    path = Path(sys.argv[0])
    if not _is_script():
        program = ["python", "-m", "wine_gpt"] if path.name == "__main__.py" else ["wine-gpt"]
        return shlex.join([*program, command, *arguments])
    script = path.with_name(f"{command.replace('-', '_')}.py")
    shown = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    return shlex.join(["python", str(shown), *arguments])


def launcher_command() -> list[str]:
    """Return the command line of the launcher, of which this process's arguments are the end; empty without one."""
    if not has_launcher():
        return []
    # imported here, because only launched processes need it
    import psutil

    try:
        _, *words = psutil.Process(os.getppid()).cmdline()
    # another user's process, or one that has just ended
    except (psutil.Error, ValueError):
        return []
    if words[-len(sys.argv) :] != sys.argv:
        return []
    return ["python", *words] if words[0] == "-m" else [Path(words[0]).name, *words[1:]]


def resume_command(launcher: list[str]) -> str:
    """Return the command that resumes this process's run, with what :func:`launcher_command` returned at its start."""
    words, flag = [], ""
    for word in launcher or _command_words():
        if word.startswith("--"):
            flag = word.partition("=")[0]
        # with the flag's value
        if flag not in ("--overwrite", "--resume"):
            words.append(word)
    return shlex.join([*words, "--resume"])


def _command_words() -> list[str]:
    program, *arguments = sys.argv
    path = Path(program)
    if path.name == "__main__.py":
        return ["python", "-m", "wine_gpt", *arguments]
    return ["python", program, *arguments] if path.suffix == ".py" else [path.name, *arguments]


def _is_script() -> bool:
    path = Path(sys.argv[0])
    return path.suffix == ".py" and path.name != "__main__.py"

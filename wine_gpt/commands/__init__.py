"""Run the stages from the command line: ``wine-gpt NAME …`` and ``scripts/NAME.py``."""

import sys
from collections.abc import Sequence

from wine_gpt.cli import program_name
from wine_gpt.config_io import USAGE, ConfigT, config_help, parse_config
from wine_gpt.processes import is_launched, joins_as_main_process, shared_errors


def read_config(
    config_class: type[ConfigT],
    arguments: Sequence[str] | None,
    *,
    name: str,
    description: str | None,
    default_file: str | None = None,
    whole_class: type | None = None,
) -> ConfigT:
    """Parse the command line of a command that takes a config; or print its help and exit.

    ``None`` stands for the arguments of this process.

    Raises:
        UserError: as :func:`wine_gpt.config_io.parse_config`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    exit_with_help(config_class, arguments, f"{program_name(name)} {USAGE}", description, default_file)
    if not is_launched():
        return parse_config(config_class, arguments, default_file, whole_class=whole_class)
    joins_as_main_process()
    with shared_errors():
        return parse_config(config_class, arguments, default_file, whole_class=whole_class)


def exit_with_help(
    config_class: type,
    arguments: Sequence[str],
    usage: str,
    description: str | None,
    default_file: str | None = None,
) -> None:
    """Print the help and exit if the command line asks for it."""
    if {"-h", "--help"} & set(arguments):
        print(config_help(config_class, usage, description or "", default_file), end="")
        raise SystemExit

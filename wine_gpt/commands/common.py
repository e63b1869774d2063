"""What several commands share: reading a config, printing the help, reading ahead, printing the result."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from wine_gpt.command_names import program_name, sibling_command
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import USAGE, ConfigT, config_help, parse_config
from wine_gpt.errors import UserError
from wine_gpt.processes import is_launched, join_processes, shared_errors
from wine_gpt.tokenizer.reading_process import ReadingProcess, saves_memory

if TYPE_CHECKING:
    from wine_gpt.data.template import ReviewTemplate
    from wine_gpt.training.pretrain import FinishedRun


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
    with one_error_for_all():
        return parse_config(config_class, arguments, default_file, whole_class=whole_class)


@contextmanager
def one_error_for_all() -> Iterator[None]:
    """Join the processes that a launcher started, so that an error inside, as in a flag, is printed only once."""
    if not is_launched():
        yield
        return
    join_processes()
    with shared_errors():
        yield


def read_first_argument(
    config_class: type, arguments: Sequence[str], *, name: str, argument: str, description: str | None
) -> tuple[str, list[str]]:
    """Return the first argument, such as a model, and the settings after it; or print the help and exit.

    Raises:
        UserError: if the command line does not begin with the argument.
    """
    usage = f"{program_name(name)} {argument.upper()} [--section.setting value ...]"
    exit_with_help(config_class, arguments, usage, description)
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"name a {argument} first: {usage}; see --help")
    first, *settings = arguments
    return first, settings


def reading_ahead(config: PretrainConfig) -> AbstractContextManager[ReadingProcess | None]:
    """Start a child process that reads the data while this process imports torch, which takes seconds.

    It is None if it would not save memory, and for several processes, which wait for each other before they read.
    """
    return ReadingProcess(config, held_out=True) if saves_memory() and not is_launched() else nullcontext()


def print_trained(run: "FinishedRun", prompt: str) -> None:
    """Print the score and the folder of a run, and the command that generates from its model."""
    print(
        f"{run.split}: {run.score.nats_per_word:.3f} nats per word, perplexity {run.score.perplexity:,.1f}, "
        f"{run.score.unknown_rate:.1%} unknown {run.score.unit}\n"
        f"saved: {run.folder}\n"
        f"next:  {sibling_command('generate', str(run.folder), '--prompt', prompt, '--explain')}"
    )


def print_form_note(template: "ReviewTemplate | None", text: str) -> None:
    """Print on stderr which form the model's texts have, if a text can't be the beginning of one."""
    if template and not template.may_begin(text):
        form = template.render({name: name.upper() for name in template.columns})
        print(f'note: the model\'s texts have the form "{form}"', file=sys.stderr)


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

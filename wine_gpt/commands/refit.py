"""Train a tested run's model again on all its reviews, none held out, for publishing.

    wine-gpt refit runs/base                          # writes runs/base-refit
    wine-gpt refit runs/base --output_dir runs/all
    wine-gpt publish runs/base-refit --repo org/wine-gpt

RUN is the folder of a finished run of pretraining. Settings, tokenizer and calibration are its own, and so are the
figures on the card, because no review is left to score the refit on. --resume continues an interrupted refit.
"""

import sys
from collections.abc import Sequence

from wine_gpt.cli import exits_cleanly
from wine_gpt.command_names import sibling_command
from wine_gpt.commands.common import one_error_for_all, read_first_argument
from wine_gpt.config import RefitConfig
from wine_gpt.config_io import parse_config
from wine_gpt.processes import join_processes


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the config, train, and print what was written."""
    config = read_config(sys.argv[1:] if arguments is None else arguments)
    is_main_process = join_processes()
    # imported after the settings are checked, because importing torch takes seconds
    from wine_gpt.training.refit import refit

    run = refit(config)
    if is_main_process:
        print(
            f"trained on all reviews, so nothing was scored; the tested run {config.run} has "
            f"{run.score.nats_per_word:.3f} nats per word\n"
            f"saved: {run.folder}\n"
            f"next:  {sibling_command('publish', str(run.folder), '--help')}"
        )


def read_config(arguments: Sequence[str]) -> RefitConfig:
    """Parse the command line, whose first argument is the tested run."""
    with one_error_for_all():
        run, settings = read_first_argument(RefitConfig, arguments, name="refit", argument="run", description=__doc__)
        return parse_config(RefitConfig, ["--run", run, *settings])

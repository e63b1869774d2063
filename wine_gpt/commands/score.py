"""Score a model on reviews that it never saw: its loss, and the reviews that it generates beside real ones.

    wine-gpt score runs/base                                 # the test split that the run held out
    wine-gpt score runs/base --data.path FILE --texts 200
    wine-gpt score openai-community/gpt2 --data.path FILE
    wine-gpt score runs/words runs/characters runs/bpe       # and compare them, by bits per character

MODEL is the folder of a run or of an adapter, or the id of a causal language model on the Hub. The data settings of a
run are its own; other settings have the defaults below. Results and plots go to MODEL/evaluation, for a model on the
Hub to runs/owner--name/evaluation.
"""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from wine_gpt.cli import exits_cleanly
from wine_gpt.commands.common import read_first_argument
from wine_gpt.config import ScoreConfig
from wine_gpt.config_io import parse_config
from wine_gpt.errors import UserError
from wine_gpt.model_path import local_folder


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the config, evaluate, and print the table of results."""
    chosen = read_configs(sys.argv[1:] if arguments is None else arguments)
    # imported after the settings are checked, because importing torch takes seconds
    from wine_gpt.evaluation.evaluate import evaluate, output_folder, prepare
    from wine_gpt.evaluation.table import compare, to_text

    reports = []
    # all models are loaded first, because an error in the last one would come after minutes
    for subject in [prepare(*each) for each in chosen]:
        reports.append(evaluate(subject))
        print(to_text(reports[-1]))
        print(f"\nsaved: {output_folder(subject.config)}")
    if len(reports) > 1:
        print(f"\n{compare(reports)}")


def read_configs(arguments: Sequence[str]) -> list[tuple[ScoreConfig, Path]]:
    """Return what :func:`read_config` returns for each model at the beginning of the command line."""
    models = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    settings = arguments[len(models) :]
    chosen = [read_config([*model, *settings]) for model in ([[model] for model in models] or [[]])]
    if len(chosen) > 1 and any(config.output_dir for config, _ in chosen):
        raise UserError("--output_dir: name it with one model only; several models have a folder each")
    return chosen


def read_config(arguments: Sequence[str]) -> tuple[ScoreConfig, Path]:
    """Parse the command line, and return the config and the folder of the model's files.

    The run's own data settings are the defaults, so that its test split is scored.
    """
    model, rest = read_first_argument(ScoreConfig, arguments, name="score", argument="model", description=__doc__)
    folder = local_folder(model)
    # imported after these checks, because importing datasets takes seconds
    from wine_gpt.data.template import training_data_settings

    config = parse_config(ScoreConfig, ["--model", model, *rest], defaults=training_data_settings(model, folder))
    if config.data.path == "sample":
        print("data: the bundled synthetic sample; for real reviews: --data.path FILE (or kaggle)", file=sys.stderr)
    return config, folder

"""Judge a model by reviews that it never saw: how well it predicts them, and what it writes beside them.

    python scripts/score.py runs/base                        # the test split that the run held out
    python scripts/score.py runs/base --data.path FILE --texts 200
    python scripts/score.py openai-community/gpt2 --data.path FILE

MODEL is the folder of a run or of an adapter, or a causal model's id on the Hub. ``--help`` lists every setting.
Figures and plots go to MODEL/evaluation.
"""

import sys

from wine_gpt.cli import exits_cleanly
from wine_gpt.config import ScoreConfig
from wine_gpt.config_io import parse_config
from wine_gpt.errors import UserError
from wine_gpt.run_folder import data_settings


@exits_cleanly
def main() -> None:
    """Read the config and evaluate."""
    config = read_config(sys.argv[1:])
    # torch is imported only once the settings are known to be good
    from wine_gpt.evaluation.evaluate import evaluate_model, output_folder
    from wine_gpt.evaluation.table import to_text

    print(to_text(evaluate_model(config)))
    print(f"\nsaved: {output_folder(config)}")


def read_config(arguments: list[str]) -> ScoreConfig:
    """Parse, with the settings of the run's own data as defaults, so that its test split is the one it held out."""
    if {"-h", "--help"} & set(arguments):
        parse_config(ScoreConfig, ["--help"])
    if not arguments or arguments[0].startswith("-"):
        raise UserError("name a model first: scripts/score.py MODEL [--data.path FILE] …; see --help")
    model, *rest = arguments
    own = data_settings(model)
    config = parse_config(ScoreConfig, ["--model", model, *rest], defaults=own)
    if not own:
        print(f"{model} doesn't say what it was trained on: it may have seen these reviews", file=sys.stderr)
    if config.data.path == "sample":
        print("data: the bundled synthetic sample; for real reviews: --data.path FILE (or kaggle)", file=sys.stderr)
    return config


if __name__ == "__main__":
    main()

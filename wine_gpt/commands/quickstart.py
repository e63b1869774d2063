"""Train on the bundled synthetic sample, unless runs/sample has a model, and generate reviews with transformers.

wine-gpt quickstart
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from wine_gpt.cli import Parser, exits_cleanly
from wine_gpt.command_names import sibling_command
from wine_gpt.commands.common import reading_ahead
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config
from wine_gpt.run_folder import METRICS

PROMPTS = ("wine review : italy", "wine review : us : california", "wine review : germany : mosel : riesling :")


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Train, generate, and print the next commands."""
    Parser("quickstart", __doc__).parse_args(arguments)
    config = parse_config(PretrainConfig, ["--resume"], default_file="sample.yaml")
    folder = Path(config.output_dir)
    if not (folder / METRICS).exists():
        print("training on the bundled synthetic sample: reviews of no real wine, written by the project")
        with reading_ahead(config) as reading:
            from wine_gpt.training.pretrain import pretrain

            pretrain(config, reading=reading)
    from transformers import pipeline, set_seed

    from wine_gpt.modeling.pretrained import quiet_transformers
    from wine_gpt.training.record import RunMetrics

    print(f'\npipeline("text-generation", model="{folder}"):\n')
    with quiet_transformers():
        write = pipeline("text-generation", model=str(folder))
    set_seed(config.training.seed)
    for prompt in PROMPTS:
        print(f"  {write(prompt)[0]['generated_text']}\n")
    test = RunMetrics.load(folder).test
    loss = f"; test loss {test.nats_per_word:.3f} nats per word" if test else ""
    print(
        f"model: {folder}, trained on synthetic reviews{loss}\n"
        f"next:  {_sibling('generate', str(folder), '--explain')}\n"
        f"       {_sibling('explore', str(folder))}\n"
        f"       {_sibling('pretrain', 'configs/base.yaml', '--data.path', 'FILE', '--output_dir', 'runs/base')}"
    )


def _sibling(name: str, *arguments: str) -> str:
    """Return what to type for another command, with the path of .venv, which ``make quickstart`` does not activate."""
    command = sibling_command(name, *arguments)
    in_checkout = sys.argv[0].endswith("quickstart.py") and Path(".venv/bin/python").exists()
    return f".venv/bin/{command}" if in_checkout else command

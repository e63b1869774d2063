"""Fine-tune a pretrained model: on the reviews of one subset, such as a grape variety, or to find a review's label.

    wine-gpt finetune --base runs/base --variety "Pinot Noir"
    wine-gpt finetune finetune/full.yaml --base runs/base --variety all --min_reviews 100
    wine-gpt finetune --base runs/base --field country --value Italy
    wine-gpt finetune --task classify --base runs/base --label variety
    wine-gpt finetune --task embed --base runs/base

FILE.yaml is a file or a config of the package. If none is named, finetune/lora.yaml is read, finetune/full.yaml for
--method full, and finetune/classify.yaml and finetune/embed.yaml for those tasks. Settings that are not in the file
have the defaults below. Each subset gets a folder in --output_dir, where subsets.md compares all subsets with
the base; a classifier or a model for embeddings is written to --output_dir itself. The reviews are those that the base
was trained on; --data.path names their file if it was moved. --resume skips what is finished.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from wine_gpt.cli import exits_cleanly
from wine_gpt.command_names import sibling_command
from wine_gpt.commands.common import read_config
from wine_gpt.config import FinetuneConfig, finetune_file
from wine_gpt.config_io import flag_texts
from wine_gpt.processes import join_processes

# a description for the printed example commands
EXAMPLE_TEXT = "Ripe black cherry and soft tannins."


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the config, fine-tune, and print the table of results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config = read_config(
        FinetuneConfig, arguments, name="finetune", description=__doc__, default_file=default_file(arguments)
    )
    is_main_process = join_processes()
    {"generate": _generate, "classify": _classify, "embed": _embed}[config.task](config, is_main_process)


def default_file(arguments: Sequence[str]) -> str:
    """Return the config that is read if the command line names none: that of the task and the method."""
    # the last value counts
    given = dict(flag_texts(arguments))
    return finetune_file(given.get("--task", "generate"), given.get("--method"))


# each imports after the settings are checked, because importing torch takes seconds
def _generate(config: FinetuneConfig, is_main_process: bool) -> None:
    from wine_gpt.finetuning.finetune import finetune
    from wine_gpt.finetuning.table import TABLE, read_subsets, to_markdown

    finetune(config)
    if is_main_process:
        folder = Path(config.output_dir)
        table = to_markdown(read_subsets(folder))
        print(f"\n{table}\nsaved: {folder}, the table as {folder / TABLE}.md, .csv and .png")


def _classify(config: FinetuneConfig, is_main_process: bool) -> None:
    from wine_gpt.tasks.classification.classify import classify
    from wine_gpt.tasks.classification.table import to_markdown

    metrics = classify(config)
    if is_main_process:
        folder = Path(config.output_dir)
        print(f"\n{to_markdown(metrics)}\n\nsaved: {folder}")
        print(f"next:  {shlex.join(['python', '-c', _example(folder)])}")


def _embed(config: FinetuneConfig, is_main_process: bool) -> None:
    from wine_gpt.tasks.embedding import finetune_embeddings

    metrics = finetune_embeddings(config)
    if is_main_process:
        print(f"\ntest: {metrics.test}\nsaved: {config.output_dir}")
        print(f"next:  {sibling_command('similar', config.output_dir, '--text', EXAMPLE_TEXT)}")


def _example(folder: Path) -> str:
    # in JSON a text has double quotes, which a shell's single quotes may hold
    name, text = (json.dumps(shown, ensure_ascii=False) for shown in (str(folder), EXAMPLE_TEXT))
    return f'from transformers import pipeline; print(pipeline("text-classification", model={name})({text}))'

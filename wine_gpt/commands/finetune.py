"""Fine-tune a pretrained model on the reviews of one subset: a grape variety, or a value of any other column.

    wine-gpt finetune --base runs/base --variety "Pinot Noir"
    wine-gpt finetune finetune/full.yaml --base runs/base --variety all --min_reviews 100
    wine-gpt finetune --base runs/base --field country --value Italy

FILE.yaml is a file or a config of the package: finetune/full.yaml, or finetune/lora.yaml, which is read if none is
named. Settings that are not in the file have the defaults below. Each subset gets a folder in --output_dir, where
subsets.md compares all subsets with the base. The reviews are those that the base was trained on; --data.path names
their file if it was moved. --resume skips finished subsets.
"""

from collections.abc import Sequence
from pathlib import Path

from wine_gpt.cli import exits_cleanly
from wine_gpt.commands import read_config
from wine_gpt.config import FinetuneConfig
from wine_gpt.processes import joins_as_main_process


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the config, fine-tune, and print the table of results."""
    config = read_config(
        FinetuneConfig, arguments, name="finetune", description=__doc__, default_file="finetune/lora.yaml"
    )
    is_main_process = joins_as_main_process()
    # imported after the settings are checked, because importing torch takes seconds
    from wine_gpt.finetuning.finetune import finetune
    from wine_gpt.finetuning.table import TABLE, read_subsets, to_markdown

    finetune(config)
    if is_main_process:
        folder = Path(config.output_dir)
        table = to_markdown(read_subsets(folder))
        print(f"\n{table}\nsaved: {folder}, the table as {folder / TABLE}.md, .csv and .png")

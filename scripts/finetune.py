"""Fine-tune a pretrained model on the reviews of one value: a grape variety, or any other column's.

    python scripts/finetune.py configs/finetune/lora.yaml --base runs/base --variety "Pinot Noir"
    python scripts/finetune.py configs/finetune/full.yaml --base runs/base --variety all --min_reviews 100
    python scripts/finetune.py configs/finetune/lora.yaml --base runs/base --field country --value Italy

Each value gets a folder in ``--output_dir``, where ``varieties.md`` compares them with the base. The reviews are the
base's own; ``--data.path`` says where they are now. ``--resume`` skips what is finished and goes on with the rest;
``--help`` lists every setting. ``accelerate launch`` instead of ``python`` does the same on several processes.
"""

import os
import sys
from pathlib import Path

from wine_gpt.cli import exits_cleanly
from wine_gpt.config import FinetuneConfig
from wine_gpt.config_io import parse_config


@exits_cleanly
def main() -> None:
    """Read the config, fine-tune and tell how it went."""
    config = parse_config(FinetuneConfig, sys.argv[1:])
    # torch is imported only once the settings are known to be good
    from wine_gpt.finetuning.comparison import TABLE, read_rows, to_markdown
    from wine_gpt.finetuning.finetune import finetune

    finetune(config)
    # of several launched processes, one speaks
    if os.environ.get("RANK", "0") == "0":
        folder = Path(config.output_dir)
        print(f"\n{to_markdown(read_rows(folder))}\nsaved: {folder}, the table as {folder / TABLE}.md, .csv and .png")


if __name__ == "__main__":
    main()

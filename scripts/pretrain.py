"""Pretrain a small GPT-2 from scratch on reviews.

    accelerate launch scripts/pretrain.py                                              # the bundled synthetic sample
    accelerate launch scripts/pretrain.py configs/base.yaml --data.path FILE --output_dir runs/base
    accelerate launch scripts/pretrain.py configs/class.yaml --data.path kaggle --training.epochs 2
    accelerate launch --config_file configs/accelerate/cpu_processes.yaml scripts/pretrain.py configs/base.yaml

``python scripts/pretrain.py`` does the same on one process. ``--help`` lists every setting; ``--resume`` goes on with
a run that was stopped.
"""

import os
import sys
from pathlib import Path

from wine_gpt.cli import exits_cleanly
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config

SAMPLE_CONFIG = Path(__file__).parents[1] / "configs" / "sample.yaml"


@exits_cleanly
def main() -> None:
    """Read the config and train."""
    config = parse_config(PretrainConfig, sys.argv[1:], default_file=SAMPLE_CONFIG)
    # of several launched processes, one speaks
    main_process = os.environ.get("RANK", "0") == "0"
    if config.data.path == "sample" and main_process:
        print("data: the bundled synthetic sample; for real reviews: configs/base.yaml --data.path FILE (or kaggle)")
    # torch is imported only once the settings are known to be good
    from wine_gpt.training.pretrain import pretrain

    run = pretrain(config)
    if not main_process:
        return
    print(
        f"test: {run.score.nats_per_word:.3f} nats per word, perplexity {run.score.perplexity:.1f}, "
        f"{run.score.unknown_rate:.1%} unknown words\n"
        f"saved: {run.folder}\n"
        f'next:  python scripts/generate.py {run.folder} --prompt "{config.data.prefix}" --explain'
    )


if __name__ == "__main__":
    main()

"""Pretrain a small GPT-2 from scratch on reviews.

    wine-gpt pretrain                                                   # the bundled synthetic sample
    wine-gpt pretrain base.yaml --data.path FILE --output_dir runs/base
    wine-gpt pretrain class.yaml --data.path kaggle --training.epochs 2
    accelerate launch -m wine_gpt pretrain base.yaml --data.path FILE   # several processes or GPUs

FILE.yaml is a file or a config of the package: sample.yaml, which is read if none is named, small.yaml, base.yaml,
class.yaml, characters.yaml or bpe.yaml. Settings that are not in the file have the defaults below. --resume continues
a run that was interrupted.
"""

from collections.abc import Sequence

from wine_gpt.cli import exits_cleanly
from wine_gpt.commands.common import print_trained, read_config, reading_ahead
from wine_gpt.config import PretrainConfig
from wine_gpt.processes import join_processes


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the config, train, and print the result."""
    config = read_config(PretrainConfig, arguments, name="pretrain", description=__doc__, default_file="sample.yaml")
    with reading_ahead(config) as reading:
        is_main_process = join_processes()
        if config.data.path == "sample" and is_main_process:
            print(
                "data: the bundled synthetic sample; for real reviews: configs/base.yaml --data.path FILE (or kaggle)"
            )
        # imported after the settings are checked, because importing torch takes seconds
        from wine_gpt.training.pretrain import pretrain

        run = pretrain(config, reading=reading)
        if is_main_process:
            print_trained(run, config.data.prefix)

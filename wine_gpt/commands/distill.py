"""Distill an ensemble of pretrained models into one model of the same size, for the lowest loss.

    wine-gpt distill best.yaml --data.path FILE
    wine-gpt distill best.yaml --data.path FILE --resume

FILE.yaml is a file or a config of the package: best.yaml, which is read if none is named, or one of pretraining, such
as base.yaml. The members are trained first, each in its folder in output_dir/members; then they write synthetic
reviews and predict each word; then the distilled model is trained. --resume continues a run that was interrupted. A
finished member is not trained again, nor by --overwrite, which replaces the distilled model.
"""

from collections.abc import Sequence

from wine_gpt.cli import exits_cleanly
from wine_gpt.commands.common import print_trained, read_config
from wine_gpt.config import DistillConfig
from wine_gpt.processes import join_processes


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the config, train members and student, and print the result."""
    config = read_config(DistillConfig, arguments, name="distill", description=__doc__, default_file="best.yaml")
    is_main_process = join_processes()
    # imported after the settings are checked, because importing torch takes seconds
    from wine_gpt.distillation import distill

    run = distill(config)
    if is_main_process:
        print_trained(run, config.data.prefix)

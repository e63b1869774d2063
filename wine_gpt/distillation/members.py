"""Train the members of the ensemble: pretraining runs that differ in their seeds only."""

import dataclasses
from pathlib import Path

from accelerate import Accelerator
from accelerate.logging import get_logger

from wine_gpt.config import DistillConfig, PretrainConfig
from wine_gpt.errors import UserError
from wine_gpt.run_folder import MEMBERS, METRICS
from wine_gpt.training.pretrain import pretrain

logger = get_logger(__name__)


def train_members(config: DistillConfig, accelerator: Accelerator) -> list[Path]:
    """Pretrain each member that is not finished, from its newest checkpoint if it has one; return their folders.

    Raises:
        UserError: as :func:`pretrain`, with the member's folder, and if a member was trained with other settings.
        RunInterrupted: after a checkpoint, on SIGTERM or Ctrl-C.
    """
    members = [member_config(config, number) for number in range(config.distillation.members)]
    for number, member in enumerate(members, start=1):
        logger.info(f"member {number} of {len(members)}: {member.output_dir}")
        try:
            pretrain(member, followed_by=_trainings_after(config, members[number:]), accelerator=accelerator)
        except UserError as error:
            # changed in place, because all processes may raise it
            error.args = (f"member {number} of {len(members)}, {member.output_dir}: {error}",)
            raise
        accelerator.free_memory()
    return [Path(member.output_dir) for member in members]


def member_config(config: DistillConfig, number: int) -> PretrainConfig:
    """Return the settings of a member, counted from 0: the student's with other epochs, seed and folder."""
    seed = config.training.seed + number
    return dataclasses.replace(
        config.student,
        training=dataclasses.replace(
            config.training, seed=seed, epochs=config.distillation.member_epochs, keep_epochs=False
        ),
        output_dir=str(Path(config.output_dir) / MEMBERS / f"seed_{seed}"),
        # the newest checkpoint, if there is one: a finished member is not trained again
        resume="latest",
        overwrite=False,
    )


def _trainings_after(config: DistillConfig, members: list[PretrainConfig]) -> float:
    """Return how long the trainings of other members and the student take, in trainings of one member."""
    distillation = config.distillation
    unfinished = sum(not (Path(member.output_dir) / METRICS).exists() for member in members)
    student = config.training.epochs * (1 + distillation.synthetic_ratio) / distillation.member_epochs
    return unfinished + student

"""Train the members of the ensemble: pretraining runs that differ in their seeds only."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from accelerate import Accelerator
from accelerate.logging import get_logger

from wine_gpt.config import DistillConfig, PretrainConfig
from wine_gpt.config_io import parse_config
from wine_gpt.errors import UserError
from wine_gpt.processes import on_main_process
from wine_gpt.run_folder import CHECKPOINTS, CONFIG, LATEST, MEMBERS, METRICS
from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.resume import EXTENDABLE_SETTING, find_checkpoint

logger = get_logger(__name__)


def train_members(config: DistillConfig, accelerator: Accelerator) -> list[Path]:
    """Pretrain each member that is not finished, from its newest checkpoint if it has one; return their folders.

    Raises:
        UserError: as :func:`pretrain`, with the member's folder, and if a member was trained with other settings.
        RunInterrupted: after a checkpoint, on SIGTERM or Ctrl-C.
    """
    members = [member_config(config, number) for number in range(config.distillation.members)]
    names = [f"member {number} of {len(members)}, {one.output_dir}" for number, one in enumerate(members, start=1)]

    def check() -> None:
        for name, member in zip(names, members, strict=True):
            with _named_errors(name):
                _require_same_epochs(member)

    # all of them, before the first one is trained for hours
    on_main_process(check)
    distillation = Path(config.output_dir).resolve().name
    for number, (name, member) in enumerate(zip(names, members, strict=True), start=1):
        logger.info(name)
        with _named_errors(name):
            pretrain(
                member,
                followed_by=_trainings_after(config, members[number:]),
                accelerator=accelerator,
                # the members of all distillations have folders of the same names
                tracker_name=f"{distillation}-{Path(member.output_dir).name}",
            )
        accelerator.free_memory()
    return [Path(member.output_dir) for member in members]


@contextlib.contextmanager
def _named_errors(name: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        # changed in place, because all processes may raise it
        error.args = (f"{name}: {error}",)
        raise


def _require_same_epochs(member: PretrainConfig) -> None:
    """Check that a member that is finished, or was begun, has the epochs of its settings.

    With more epochs, resuming would continue with the learning rates of a longer schedule, which differs from training
    that many epochs from the start.
    """
    folder, epochs = Path(member.output_dir), member.training.epochs
    if (folder / METRICS).exists():
        state, then = "finished", parse_config(PretrainConfig, [str(folder / CONFIG)]).training.epochs
    else:
        found, _ = find_checkpoint(folder / CHECKPOINTS, LATEST)
        if found is None:
            return
        state, then = "begun", found.state["resume_key"].get(EXTENDABLE_SETTING, epochs)
    if then != epochs:
        raise UserError(
            f"{state} with distillation.member_epochs {then}, now {epochs}: "
            "remove the folder to train the member again, or name another --output_dir"
        )


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
        resume=LATEST,
        overwrite=False,
    )


def _trainings_after(config: DistillConfig, members: list[PretrainConfig]) -> float:
    """Return how long the trainings of other members and the student take, in trainings of one member."""
    distillation = config.distillation
    unfinished = sum(not (Path(member.output_dir) / METRICS).exists() for member in members)
    student = config.training.epochs * (1 + distillation.synthetic_ratio) / distillation.member_epochs
    return unfinished + student

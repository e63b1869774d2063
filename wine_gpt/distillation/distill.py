"""Train an ensemble, label reviews with its mean prediction, and train one model on them."""

from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import Dataset

from wine_gpt import run_folder
from wine_gpt.config import DistillConfig
from wine_gpt.distillation.ensemble import load_ensemble
from wine_gpt.distillation.members import train_members
from wine_gpt.distillation.targets import Labeling, Request, TargetStore, load_or_make
from wine_gpt.files import JsonObject, read_json, sha256, write_json, writing
from wine_gpt.modeling.scoring import score
from wine_gpt.processes import main_process_first, on_main_process, shared_errors
from wine_gpt.tokenizer.files import fingerprint
from wine_gpt.tokenizer.prepared import PreparedReviews
from wine_gpt.training.accelerator import accelerator_session, require_equal_settings
from wine_gpt.training.pretrain import FinishedRun, pretrain
from wine_gpt.training.record import Distillation, MemberLoss, RunMetrics, teacher_settings

logger = get_logger(__name__)

# the ensemble's losses, in the folder of the targets, which is replaced if a member changes
ENSEMBLE = "ensemble.json"


def distill(config: DistillConfig) -> FinishedRun:
    """Train the members that are not finished, then the student, and write its run folder.

    If the student is finished, its members and their predictions are not needed.

    Raises:
        UserError: for anything that the user can fix.
        RunInterrupted: if SIGTERM or Ctrl-C stopped a training, after a checkpoint was saved.
    """
    # one session for all trainings, because a launcher's processes hang if they are joined twice
    with accelerator_session(config.training, Path(config.output_dir)) as accelerator:
        require_equal_settings(config, accelerator)
        return pretrain(config.student, teaching=EnsembleTeaching(config), accelerator=accelerator)


@dataclass(frozen=True)
class EnsembleTeaching:
    """Teaches a student by the mean prediction of an ensemble; a :class:`wine_gpt.training.pretrain.Teaching`.

    Attributes:
        config: the settings of ensemble and student.
    """

    config: DistillConfig

    @property
    def settings(self) -> JsonObject:
        """The settings of the distillation."""
        return teacher_settings(self.config.distillation)

    def train(self, data: PreparedReviews, accelerator: Accelerator) -> "TrainedEnsemble":
        """Train the members that are not finished."""
        members = train_members(self.config, accelerator)
        logger.info(f"distilled model: {self.config.output_dir}")
        settings = self.config.distillation
        sources = {
            "data": data.fingerprint,
            "tokenizer": fingerprint(data.tokenizer),
            "members": [sha256(member / run_folder.WEIGHTS) for member in members],
        }
        real = len(data.splits["train"])
        # at least one review, because a small ratio of few reviews would leave nothing to learn
        in_set = max(round(settings.synthetic_ratio * real), 1) if settings.synthetic_ratio else 0
        request = Request(
            sources,
            synthetic_reviews=settings.synthetic_sets * in_set,
            seed=self.config.training.seed,
            label_real=settings.teacher_weight > 0,
        )
        return TrainedEnsemble(self.config, data, accelerator, members, request)


@dataclass(frozen=True)
class TrainedEnsemble:
    """An ensemble whose members are finished; a :class:`wine_gpt.training.pretrain.TrainedTeacher`.

    Attributes:
        config: the settings of ensemble and student.
        data: the tokenized reviews and the tokenizer.
        accelerator: that of all trainings.
        members: the run folders of the members.
        request: which targets to make.
    """

    config: DistillConfig
    data: PreparedReviews
    accelerator: Accelerator
    members: list[Path]
    request: Request

    @property
    def resume_key(self) -> JsonObject:
        """What must be equal to resume the student."""
        settings = self.config.distillation
        of_student = {f"distillation.{name}": getattr(settings, name) for name in ("teacher_weight", "synthetic_sets")}
        return {"targets": self.request.fingerprint, **of_student}

    def predict(self) -> tuple[TargetStore, Distillation]:
        """Return the real and synthetic reviews with the targets that the members predict, and their record."""
        settings, data, accelerator = self.config.distillation, self.data, self.accelerator
        real = data.splits["train"]
        # this process has imported datasets, so it has read the reviews itself
        assert isinstance(real, Dataset)
        with shared_errors():
            ensemble = load_ensemble(self.members, data.tokenizer).to(accelerator.device)
        folder = Path(self.config.output_dir) / run_folder.TARGETS
        labeling = Labeling(ensemble, data.tokenizer, real, accelerator)
        main_process_first(lambda: load_or_make(folder, labeling, self.request))
        block_size = self.config.model.block_size
        store = TargetStore(folder, real, block_size, settings.teacher_weight, settings.synthetic_sets)
        losses = _score_once(folder / ENSEMBLE, labeling, data)
        found = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        logger.info(f"ensemble of {len(self.members)} members: {found} nats per word; the student approximates it")
        distillation = Distillation(
            members=[MemberLoss.of(member.name, RunMetrics.load(member)) for member in self.members],
            ensemble=MemberLoss("ensemble", losses.get("validation"), losses.get("test")),
            synthetic_reviews=self.request.synthetic_reviews,
            settings=settings,
        )
        return store, distillation


def _score_once(file: Path, labeling: Labeling, data: PreparedReviews) -> dict[str, float]:
    """Return the ensemble's loss on each held-out split, from the file that an earlier start wrote if it is there."""
    saved = on_main_process(lambda: read_json(file) if file.exists() else None)
    if saved is not None:
        return saved
    losses = {
        name: score(labeling.ensemble, data.splits[name], labeling.tokenizer, labeling.accelerator).nats_per_word
        for name in ("validation", "test")
        if len(data.splits[name])
    }

    def save() -> None:
        with writing(file.parent):
            write_json(file, losses)

    on_main_process(save)
    return losses

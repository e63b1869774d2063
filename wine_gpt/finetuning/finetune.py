"""Fine-tune a base model on one or all subsets of its reviews, such as those of a grape variety.

Reviews, splits and tokenizer are the base's, so the base has not seen a subset's test reviews either.
"""

from pathlib import Path

from accelerate import Accelerator
from accelerate.logging import get_logger

from wine_gpt.config import FinetuneConfig
from wine_gpt.data.reviews import Reviews
from wine_gpt.data.subsets import choose_subsets, find_subsets
from wine_gpt.errors import UserError
from wine_gpt.files import writing
from wine_gpt.finetuning.base import Base
from wine_gpt.finetuning.results import SubsetMetrics
from wine_gpt.finetuning.subset_reviews import SubsetReviews
from wine_gpt.finetuning.subset_run import SubsetRun
from wine_gpt.finetuning.table import read_subsets, save_table
from wine_gpt.finetuning.task_run import base_session
from wine_gpt.installation import require_package
from wine_gpt.processes import main_process_first, on_main_process, shared_errors
from wine_gpt.run_folder import CONFIG
from wine_gpt.tokenizer import tokenize_splits

logger = get_logger(__name__)


def finetune(config: FinetuneConfig) -> list[SubsetMetrics]:
    """Fine-tune a model on each requested subset that is not finished yet, and return the metrics of all.

    Each subset gets a folder in ``output_dir``, and the table of all finished subsets there is updated.

    Raises:
        UserError: for anything that the user can put right.
        RunInterrupted: after a checkpoint, on SIGTERM or Ctrl-C.
    """
    with shared_errors():
        if config.method == "lora":
            require_package("peft", "adapters", "method lora", ", or use --method full")
    with base_session(config) as (base, reviews, accelerator):
        return _finetune_subsets(base, reviews, config, accelerator)


def _finetune_subsets(
    base: Base, reviews: Reviews, config: FinetuneConfig, accelerator: Accelerator
) -> list[SubsetMetrics]:
    folder = Path(config.output_dir)
    with shared_errors():
        subsets, left_out = choose_subsets(
            find_subsets(reviews.splits, config.field), config.field, str(config.requested), config.min_reviews
        )
    for value, problem in left_out.items():
        logger.info(f"left out: {config.field} {value}: {problem}")
    tokenized = main_process_first(lambda: tokenize_splits(reviews.splits, base.tokenizer))
    runs = [
        SubsetRun(SubsetReviews.select(base, subset, reviews.splits, tokenized), config, accelerator, subsets[number:])
        for number, subset in enumerate(subsets, start=1)
    ]
    on_main_process(lambda: _require_ready(runs, base, folder))

    def update_table() -> None:
        with writing(folder):
            save_table(folder)

    metrics = []
    for number, run in enumerate(runs, start=1):
        count = f"{run.subset.reviews:,} reviews"
        logger.info(f"{config.field} {run.subset.value} ({number} of {len(runs)}): {count}")
        metrics.append(run.finish())
        on_main_process(update_table)
    return metrics


def _require_ready(runs: list[SubsetRun], base: Base, folder: Path) -> None:
    """Check, before anything is written, that no run would be lost and that the table has models of one base only."""
    for path in (folder, *folder.glob("*")):
        if (path / CONFIG).is_file():
            raise UserError(f"output_dir: {path} is a pretraining run: name a folder for adapters only")
    replaced = {run.folder.name for run in runs if run.config.overwrite}
    for name, metrics in read_subsets(folder).items():
        if metrics.base.weights_sha256 != base.sha256 and name not in replaced:
            raise UserError(
                f"output_dir: {folder / name} was fine-tuned from other weights, of {metrics.base.path}: "
                "name another --output_dir"
            )
    for run in runs:
        run.require_ready()

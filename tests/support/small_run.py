"""A pretraining that takes seconds: its reviews and command line, for tests that run the script."""

import json
from pathlib import Path

from tools.sample_grammar.grammar import generate_records

ROOT = Path(__file__).parents[2]
SMALL = {
    "model.n_layer": 1,
    "model.n_head": 2,
    "model.n_embd": 16,
    "model.n_inner": 16,
    "model.block_size": 96,
    "training.batch_tokens": 1024,
    "training.epochs": 2,
    "training.checkpoint_steps": 3,
    "training.mixed_precision": "no",
}


def write_reviews(file: Path, count: int = 150) -> Path:
    """Write generated reviews, of which few are enough for a run of some steps; return the file."""
    file.write_text(json.dumps([*generate_records(count, seed=1)]), encoding="utf-8")
    return file


def flags(settings: dict[str, object]) -> list[str]:
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def command(work: Path, output: str, *more: str, **settings: object) -> list[str]:
    """Return a small run's command line without the interpreter.

    Args:
        work: the folder of ``reviews.json`` and of the run.
        output: the name of the run's folder.
        more: further arguments.
        settings: in place of the small ones, with ``__`` for the dot of a setting's name.
    """
    named = {key.replace("__", "."): value for key, value in settings.items()}
    given = {"data.path": work / "reviews.json", "output_dir": work / output, **SMALL, **named}
    return [str(ROOT / "scripts" / "pretrain.py"), str(ROOT / "configs" / "sample.yaml"), *flags(given), *more]

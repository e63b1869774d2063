"""Call the API as a notebook does, in one process."""

import contextlib
import dataclasses
import io
import os
import random
import sys
import threading
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from wine_gpt import (
    build_model,
    evaluate_model,
    explain,
    finetune,
    generate,
    load_reviews,
    pretrain,
    publish,
    train_tokenizer,
)

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_inner": 16, "block_size": 96}


def call_notebook(folder: Path) -> dict[str, Any]:
    """Call every function of the API in a folder with reviews.json; return what a test asserts."""
    os.chdir(folder)
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    torch.set_num_threads(1)
    environment, state, arguments = dict(os.environ), random_state(), list(sys.argv)
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        found = call_all("reviews.json")
    found["stdout"] = stdout.getvalue()
    found["random state kept"] = state == random_state()
    found["arguments kept"] = arguments == sys.argv
    # scikit-learn sets the variables KMP_ when it is imported
    found["environment"] = sorted(name for name in {*os.environ} ^ {*environment} if not name.startswith("KMP_"))
    return found


def call_all(reviews: str) -> dict[str, Any]:
    """Return what a test asserts of each function's result."""
    found: dict[str, Any] = {}
    loaded = load_reviews(reviews, test_fraction=0.2)
    found["splits"] = {name: len(split) for name, split in loaded.splits.items()}
    tokenizer = train_tokenizer("tokenizer", data=reviews, tokenizer={"vocab_size": 50})
    found["words"] = len(tokenizer)
    untrained = build_model(tokenizer, seed=1, **TINY)
    found["untrained"] = generate((untrained, tokenizer), "", seed=0, max_new_tokens=3)
    settings: dict[str, Any] = {"data": reviews, "model": TINY, "tokenizer": "tokenizer"}
    first = pretrain(output_dir="first", training={"epochs": 1, "mixed_precision": "no"}, **settings)
    other = {"epochs": 2, "mixed_precision": "bf16", "seed": 7}
    second = in_thread(lambda: pretrain(output_dir=Path("second"), training=other, **settings))
    found["losses"] = [run.score.nats_per_word for run in (first, second)]
    found["prompts"] = generate(first.folder, ["wine review", "wine review : us"], seed=3, temperature=0.5)
    found["same seed"] = generate(first.folder, "wine review", seed=3) == generate(first.folder, "wine review", seed=3)
    explanation = explain(first.folder, "wine review : us", seed=3, max_new_tokens=4)
    found["explained"] = len(explanation.steps)
    small = {"min_reviews": 2, "training": {"epochs": 1}}
    tuned = finetune(first.folder, field="country", value="US", output_dir="tuned", **small)
    found["tuned"] = len(tuned)
    report = evaluate_model(first.folder, texts=4, batch_size=4, min_reviews=2)
    found["evaluated"] = dataclasses.is_dataclass(report) or sorted(report)
    publish(first.folder, "org/wine", adapters="tuned", space="org/demo", license="mit", dry_run=True)
    found["staged"] = sorted(path.as_posix() for path in Path("first/publish").glob("*/org/*"))
    return found


def in_thread(call: Any) -> Any:  # noqa: ANN401 - whatever the call returns
    """Call in a thread that is not the main one, and return the result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    return results[0]


def random_state() -> str:
    """Return the states of the global random generators."""
    return str((random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()))  # noqa: NPY002

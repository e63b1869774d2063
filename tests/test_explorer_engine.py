"""The explorer's engine computes what transformers computes, in node and in a browser."""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from support.explorer_models import CASES, write_case
from support.explorer_texts import TOKENIZERS, write_texts
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

TESTS = Path(__file__).parent / "javascript" / "explorer"
EXPLORER = Path(__file__).parents[1] / "space" / "explorer"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no node")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model for each case, in ``org/NAME``."""
    folder = tmp_path_factory.mktemp("explorer")
    for name, case in CASES.items():
        write_case(case, folder / "org" / name)
    return folder


def run_node(file: str, **environment: str) -> None:
    """Run a file of node's tests."""
    command = [str(NODE), "--test", str(TESTS / file)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr


@needs_node
def test_all_inner_values_and_50_greedy_texts_equal_transformers_in_node(models: Path) -> None:
    run_node("parity.test.js", MODELS=str(models))


@needs_node
def test_words_and_texts_equal_those_of_wine_gpts_tokenizer(tmp_path: Path) -> None:
    for name in TOKENIZERS:
        write_texts(tmp_path / name, name)
    run_node("tokenizer.test.js", TOKENIZERS=str(tmp_path))


@needs_node
def test_damaged_and_hostile_files_are_one_line_each(models: Path) -> None:
    run_node("hostile.test.js", MODEL=str(models / "org" / "tiny"))


@needs_node
def test_distributions_are_those_that_transformers_samples_from(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    choices = itertools.product((0.3, 1.0, 2.5), (0, 1, 7), (1.0, 0.9, 0.05), ([], [0, 3]))
    reference = [distribution(generator, *settings) for settings in choices]
    (tmp_path / "reference.json").write_text(json.dumps(reference))
    run_node("sampling.test.js", REFERENCE=str(tmp_path / "reference.json"))


def distribution(
    generator: torch.Generator, temperature: float, top_k: int, top_p: float, suppress: list[int]
) -> dict[str, Any]:
    """Return random logits, the settings, and the probabilities that ``generate`` samples from."""
    logits = 3 * torch.randn(1, 60, generator=generator)
    scores = logits.clone()
    scores[:, suppress] = -torch.inf
    warpers = [
        TemperatureLogitsWarper(temperature),
        *([TopKLogitsWarper(top_k)] if top_k else []),
        TopPLogitsWarper(top_p),
    ]
    for warper in warpers:
        scores = warper(None, scores)
    return {
        "logits": logits[0].tolist(),
        "settings": {"temperature": temperature, "topK": top_k, "topP": top_p, "suppress": suppress},
        "probabilities": scores.softmax(-1)[0].tolist(),
    }

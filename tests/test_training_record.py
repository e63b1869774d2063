"""The files of a run folder: what is written is read back."""

import importlib.metadata
import json
from pathlib import Path

import pytest
import torch

from wine_gpt.errors import UserError
from wine_gpt.installation import install_command
from wine_gpt.modeling.scoring import Score
from wine_gpt.publishing.source import source_url
from wine_gpt.training.record import (
    Environment,
    EpochLoss,
    EpochResult,
    PeakMemory,
    RunMetrics,
    TrainingState,
    save_samples,
)
from wine_gpt.version import __version__

METRICS = """{
  "validation": {"nats_per_word": 1.5, "perplexity": 4.4816890703380645, "unknown_rate": 0.01, "words": 800,
                 "reviews": 20, "end_of_text_nats": 0.25},
  "test": {"nats_per_word": 1.25, "perplexity": 3.4903429574618414, "unknown_rate": 0.02, "words": 1200,
           "reviews": 30, "end_of_text_nats": 0.125},
  "data_fingerprint": "0123abcd",
  "training": {
    "steps": 40, "epochs": [{"epoch": 1, "step": 20, "nats_per_word": 2.0},
                            {"epoch": 2, "step": 40, "nats_per_word": 1.5}],
    "best_epoch": 2, "tokens": 5600, "seconds": 90.4, "tokens_per_second": 62, "energy_kwh": 0.00123,
    "padding_fraction": 0.013, "reviews_cut": 1, "words_cut": 0.001,
    "processes": 2, "mixed_precision": "bf16", "logit_scale": 0.98
  },
  "parameters": 24000,
  "peak_memory_bytes": {"resident": 512000000},
  "environment": {"python": "3.11.0", "packages": {"torch": "2.13.0"}, "device": "cpu (x86_64)", "threads": 2},
  "vocabulary_sha256": "4567", "settings": {"training.epochs": 2}
}"""
SAMPLES = '{"epoch": 1, "step": 20, "text": "wine review : Österreich"}\n{"epoch": 2, "step": 40, "text": "wine"}\n'
STATE = """{
  "step": 20, "curve": [[10, 3.5], [20, 3.25]],
  "epochs": [{"epoch": 1, "step": 20, "nats_per_word": 1.5, "perplexity": 4.4816890703380645, "unknown_rate": 0.01,
              "words": 800, "reviews": 20, "end_of_text_nats": 0.25, "samples": ["wine review"]}],
  "nats": 12.5, "units": 4, "total_tokens": 900, "seconds": 1.5, "energy_kwh": null,
  "tracker_run": ""
}"""
SCORE = Score(nats_per_word=1.5, unknown_rate=0.01, words=800, reviews=20, end_of_text_nats=0.25)


def test_metrics_are_read_and_written_again(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(METRICS)
    metrics = RunMetrics.load(tmp_path)
    assert metrics.validation == SCORE
    assert metrics.test is not None
    assert metrics.test.perplexity == pytest.approx(3.4903429574618414)
    assert metrics.training.epochs == [EpochLoss(1, 20, 2.0), EpochLoss(2, 40, 1.5)]
    assert metrics.training.padding_fraction == 0.013
    assert metrics.peak_memory_bytes == PeakMemory(resident=512_000_000)
    metrics.save(tmp_path)
    assert RunMetrics.load(tmp_path) == metrics
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(METRICS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "metrics.json is not JSON: "),
        ("[]", "metrics.json must hold an object, not list"),
        (METRICS.replace('"steps": 40, ', ""), "metrics.json has no steps"),
        (METRICS.replace('"parameters": 24000,', ""), "metrics.json has no parameters"),
        (METRICS.replace('{"resident": 512000000}', "null"), "metrics.json holds an unexpected value: "),
        (None, "metrics.json is missing"),
    ],
)
def test_a_damaged_metrics_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=message):
        RunMetrics.load(tmp_path)


def test_samples_are_a_line_each(tmp_path: Path) -> None:
    epochs = [EpochResult(1, 20, SCORE, ["wine review : Österreich"]), EpochResult(2, 40, SCORE, ["wine"])]
    save_samples(tmp_path, TrainingState(epochs=epochs))
    assert (tmp_path / "samples.jsonl").read_text(encoding="utf-8") == SAMPLES


def test_the_state_of_a_checkpoint_is_read_and_written_again() -> None:
    state = TrainingState.from_dict(json.loads(STATE))
    assert state.best == EpochResult(1, 20, SCORE, ["wine review"])
    assert state.curve == [(10, 3.5), (20, 3.25)]
    assert json.loads(json.dumps(state.to_dict())) == json.loads(STATE)


def test_a_checkout_that_is_not_installed_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python finds no metadata of wine_gpt if only PYTHONPATH names the package."""
    found = importlib.metadata.Distribution.from_name

    def from_name(name: str) -> importlib.metadata.Distribution:
        if name.replace("-", "_") == "wine_gpt":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", from_name)
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("wine_gpt")
    environment = Environment.of(torch.device("cpu"))
    assert environment.packages["wine_gpt"] == __version__
    assert all(environment.packages.values())
    assert install_command("kaggle").startswith("pip install -e ")
    # pyproject.toml names no address yet
    assert source_url() is None

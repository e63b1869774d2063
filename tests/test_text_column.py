"""A corpus with a column called "text", as the running text or as a field, through all scripts."""

import itertools
import json
import runpy
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.evaluation.ngram_index import load_index
from wine_gpt.tokenizer import class_words

SCRIPTS = Path(__file__).parents[1] / "scripts"
# headers of many words, so that a figure of the composed text differs from one of the running text
TOPICS = ["at home with the cat and the dog", "at work with the boss and the mail"]
SHAPE = ["--model.n_layer", "1", "--model.n_head", "2", "--model.n_embd", "32", "--model.n_inner", "64"]
TRAINING = ["--training.epochs", "4", "--training.learning_rate", "0.01", "--training.mixed_precision", "no"]


@dataclass(frozen=True)
class Corpus:
    """The files that all scripts wrote for one role of the column "text"."""

    folder: Path
    field: str
    text_field: str
    # stdout of generate.py without a prompt
    generated: str

    def read(self, file: str) -> dict[str, Any]:
        """Return a JSON file's content."""
        content: dict[str, Any] = json.loads((self.folder / file).read_text(encoding="utf-8"))
        return content

    def words(self, split: str, topic: str | None = None) -> list[list[str]]:
        """Return the words of a split's running texts, or of those of one topic."""
        config = parse_config(PretrainConfig, [str(self.folder / "run" / "config.yaml")])
        reviews = load_reviews(config.data).splits[split]
        return [class_words(row[self.text_field]) for row in reviews if topic in (None, row[self.field])]


def run_script(name: str, *arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPTS / f"{name}.py"), *map(str, arguments)])
        runpy.run_path(sys.argv[0], run_name="__main__")


@pytest.fixture(scope="module", params=[("topic", "text"), ("text", "note")], ids=["text_field", "prompt_field"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    """Write 200 notes and run pretrain, generate, score, finetune and publish on them."""
    field, text_field = request.param
    folder = tmp_path_factory.mktemp("notes")
    random = np.random.default_rng(0)
    notes = [
        {field: TOPICS[number % 2], text_field: " ".join(f"w{word}" for word in random.integers(0, 40, 16))}
        for number in range(200)
    ]
    (folder / "notes.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    columns = ["--data.prefix", "note", "--data.prompt_fields", field, "--data.text_field", text_field]
    splits = ["--data.validation_fraction", "0.2", "--data.test_fraction", "0.2"]
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as output:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        run = folder / "run"
        path = ["--data.path", folder / "notes.jsonl"]
        run_script("pretrain", *path, *columns, *splits, *SHAPE, *TRAINING, "--output_dir", run)
        run_script("score", run, "--texts", 100)
        tuned = ["--field", field, "--value", TOPICS[0], "--output_dir", folder / "tuned"]
        run_script("finetune", "--base", run, *tuned, *TRAINING)
        run_script(
            "publish", run, "--repo", "org/notes", "--license", "mit", "--dry_run", "--adapters", folder / "tuned"
        )
        with (folder / "generated").open("w") as stdout:
            output.setattr(sys, "stdout", stdout)
            run_script("generate", run, "--seed", 1)
        yield Corpus(folder, field, text_field, (folder / "generated").read_text())


def mean_longest_span(texts: list[list[str]], train: list[list[str]]) -> float:
    """Return the mean longest span, in words, in common with a training text, by brute force."""
    known = {span for words in train for span in spans(words)}
    return float(np.mean([max(len(span) for span in spans(words) if span in known) for words in texts]))


def spans(words: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield every span of consecutive words, the empty one included."""
    yield ()
    for start, end in itertools.combinations(range(len(words) + 1), 2):
        yield tuple(words[start:end])


def test_copied_spans_are_those_of_the_running_text(corpus: Corpus) -> None:
    copying = corpus.read("run/evaluation/metrics.json")["copying"]["real"]
    expected = mean_longest_span(corpus.words("test"), corpus.words("train"))
    assert copying["mean_longest"] == pytest.approx(expected)
    assert copying["longest"] < len(class_words(TOPICS[0]))


def test_fine_tuning_finishes_and_compares_running_texts(corpus: Corpus) -> None:
    (file,) = (corpus.folder / "tuned").glob("*/metrics.json")
    metrics = json.loads(file.read_text(encoding="utf-8"))
    train, *unseen = (corpus.words(split, TOPICS[0]) for split in ("train", "test", "validation"))
    expected = mean_longest_span(list(itertools.chain(*unseen)), train)
    assert metrics["copying"]["real"] == pytest.approx(expected)


def test_the_published_index_is_of_the_running_texts(corpus: Corpus) -> None:
    published = corpus.folder / "run" / "publish" / "models" / "org" / "notes"
    index = load_index(published / "training_ngrams.safetensors")
    texts = corpus.words("train")
    assert index.reviews == len(texts)
    assert all(index.longest_span(words) == len(words) for words in texts)
    assert index.longest_span(class_words(TOPICS[0])) == 0


def test_the_template_goes_with_the_model(corpus: Corpus) -> None:
    expected = {"prefix": "note", "fields": [corpus.field], "text_field": corpus.text_field}
    assert corpus.read("run/review_template.json") == expected
    assert corpus.read("run/publish/models/org/notes/review_template.json") == expected
    card = (corpus.folder / "run/publish/models/org/notes/README.md").read_text(encoding="utf-8")
    assert f"`note : {corpus.field} : {corpus.text_field}`" in card


def test_generation_begins_with_the_runs_own_prefix(corpus: Corpus) -> None:
    assert corpus.generated.startswith("note")

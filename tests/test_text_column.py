"""Columns, values, prefixes and texts that look like the package's own are plain data in all scripts."""

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
from wine_gpt.evaluation.ngram_filter import NgramFilter
from wine_gpt.tokenizer import class_words

SCRIPTS = Path(__file__).parents[1] / "scripts"
# headers of many words, so that a figure of the composed text differs from one of the running text
TOPICS = ["at home with the cat and the dog", "at work with the boss and the mail"]
SHAPE = ["--model.n_layer", "1", "--model.n_head", "2", "--model.n_embd", "32", "--model.n_inner", "64"]
TRAINING = ["--training.epochs", "1", "--training.learning_rate", "0.01", "--training.mixed_precision", "no"]


# values and words that have a meaning in our file names, tables, templates, tokenizer or plots
ODD_VALUES = ["../../x | $a_1$", "con"]
ODD_WORDS = [
    "nan",
    "None",
    "{{",
    "{%",
    "[EOS]",
    "[UNK]",
    "..",
    "<b>&amp;",
    "|",
    "$x^$",
    "[BOS]",
    "#",
    "null",
    "``",
    "](",
]


@dataclass(frozen=True)
class Case:
    """The names of one corpus: prefix, prompt field, its two values, text column, and words of the texts."""

    prefix: str
    field: str
    text_field: str
    values: list[str]
    words: list[str]


CASES = {
    "prompt_field": Case("note", "text", "note", TOPICS, []),
    "columns of the tokenizer": Case("nan {{ label }} [EOS]", "length", "input_ids", ODD_VALUES, ODD_WORDS),
    "paths and plots": Case("", "../../x", "$source$", ["nan", "[UNK]"], ODD_WORDS),
}


@dataclass(frozen=True)
class Corpus:
    """The files that all scripts wrote for one case."""

    folder: Path
    case: Case
    # stdout of generate.py without a prompt
    generated: str

    def read(self, file: str) -> dict[str, Any]:
        """Return a JSON file's content."""
        content: dict[str, Any] = json.loads((self.folder / file).read_text(encoding="utf-8"))
        return content

    @property
    def field(self) -> str:
        """The prompt field."""
        return self.case.field

    @property
    def text_field(self) -> str:
        """The column of the running text."""
        return self.case.text_field

    def words(self, split: str, topic: str | None = None) -> list[list[str]]:
        """Return the words of a split's running texts, or of those of one topic."""
        config = parse_config(PretrainConfig, [str(self.folder / "run" / "config.yaml")])
        reviews = load_reviews(config.data).splits[split]
        return [class_words(row[self.text_field]) for row in reviews if topic in (None, row[self.field])]


def run_script(name: str, *arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPTS / f"{name}.py"), *map(str, arguments)])
        runpy.run_path(sys.argv[0], run_name="__main__")


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    """Write 200 notes and run train_tokenizer, pretrain, generate, score, finetune and publish on them."""
    case: Case = request.param
    field, text_field = case.field, case.text_field
    vocabulary = [*case.words, *(f"w{number}" for number in range(40 - len(case.words)))]
    folder = tmp_path_factory.mktemp("notes")
    random = np.random.default_rng(0)
    notes = [
        {field: case.values[number % 2], text_field: " ".join(vocabulary[word] for word in random.integers(0, 40, 16))}
        for number in range(200)
    ]
    (folder / "notes.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    columns = [f"--data.prefix={case.prefix}", "--data.prompt_fields", field, "--data.text_field", text_field]
    splits = ["--data.validation_fraction", "0.2", "--data.test_fraction", "0.2"]
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as output:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        run = folder / "run"
        path = ["--data.path", folder / "notes.jsonl"]
        run_script("train_tokenizer", *path, *columns, *splits, "--output_dir", folder / "tokenizer")
        run_script("pretrain", *path, *columns, *splits, *SHAPE, *TRAINING, "--output_dir", run)
        run_script("score", run, "--texts", 100)
        tuned = ["--field", field, "--value", case.values[0], "--output_dir", folder / "tuned"]
        # the short header of such a corpus is not what its adapter should learn first
        objective = ["--objective.header_weight", "1", "--objective.text_weight", "1"]
        run_script("finetune", "--base", run, *tuned, *TRAINING, *objective)
        run_script(
            "publish",
            run,
            "--repo",
            "org/notes",
            "--license",
            "mit",
            "--index",
            "--dry_run",
            "--adapters",
            folder / "tuned",
        )
        with (folder / "generated").open("w") as stdout:
            output.setattr(sys, "stdout", stdout)
            run_script("generate", run, "--seed", 1)
        yield Corpus(folder, case, (folder / "generated").read_text())


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
    if corpus.case.values is TOPICS:
        assert copying["longest"] < len(class_words(TOPICS[0]))


def test_fine_tuning_finishes_and_compares_running_texts(corpus: Corpus) -> None:
    (file,) = (corpus.folder / "tuned").glob("*/metrics.json")
    metrics = json.loads(file.read_text(encoding="utf-8"))
    train, *unseen = (corpus.words(split, corpus.case.values[0]) for split in ("train", "test", "validation"))
    expected = mean_longest_span(list(itertools.chain(*unseen)), train)
    assert metrics["copying"]["real"] == pytest.approx(expected)


def test_the_published_index_is_of_the_running_texts(corpus: Corpus) -> None:
    published = corpus.folder / "run" / "publish" / "models" / "org" / "notes"
    index = NgramFilter.load(published / "training_ngrams.safetensors")
    texts = corpus.words("train")
    assert index.reviews == len(texts)
    # each text has 16 words or more; a span is moved where it would overlap another
    assert np.mean([len(index.longest_span(words)) >= 12 for words in texts]) > 0.9
    if corpus.case.values is TOPICS:
        assert not index.longest_span(class_words(TOPICS[0]))


def test_the_template_goes_with_the_model(corpus: Corpus) -> None:
    expected = {"prefix": corpus.case.prefix, "fields": [corpus.field], "text_field": corpus.text_field}
    assert corpus.read("run/review_template.json") == expected
    assert corpus.read("run/publish/models/org/notes/review_template.json") == expected
    card = (corpus.folder / "run/publish/models/org/notes/README.md").read_text(encoding="utf-8")
    shown = " : ".join(filter(None, [corpus.case.prefix, corpus.field, corpus.text_field]))
    assert shown in card


def test_nothing_is_written_outside_the_folders_of_the_runs(corpus: Corpus) -> None:
    written = {"tokenizer", "run", "tuned", "generated"}
    assert {path.name for path in corpus.folder.iterdir()} == {"notes.jsonl", "cache", *written}
    (subset,) = (path for path in (corpus.folder / "tuned").iterdir() if path.is_dir())
    assert subset.name == "con" or all(character.isalnum() or character == "-" for character in subset.name)
    plots = {path.name for path in (corpus.folder / "run" / "evaluation").iterdir()}
    assert {"metrics.json", "reliability.png", "loss_by_position.png", "loss_by_field.png"} == plots
    table = (corpus.folder / "tuned" / "subsets.md").read_text(encoding="utf-8").splitlines()
    assert len(table) == 3


def test_a_published_adapter_names_no_local_path(corpus: Corpus) -> None:
    models = corpus.folder / "run" / "publish" / "models" / "org"
    for file in models.glob("notes-*/*.json"):
        assert str(corpus.folder) not in file.read_text(encoding="utf-8"), file


def test_generation_begins_with_the_runs_own_prefix(corpus: Corpus) -> None:
    prefix = corpus.case.prefix.lower()
    assert "".join(corpus.generated.lower().split()).startswith("".join(prefix.split()))


def test_the_tokenizer_trained_alone_is_the_runs(corpus: Corpus) -> None:
    files = ((corpus.folder / folder / "tokenizer.json").read_bytes() for folder in ("tokenizer", "run"))
    alone, of_run = files
    assert alone == of_run


def test_the_demo_writes_and_shows_the_corpus(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="the demo's packages are not installed")
    from backend import Backend
    from page import build

    models = corpus.folder / "run" / "publish" / "models" / "org"
    (adapter,) = models.glob("notes-*")
    monkeypatch.setenv("WINE_GPT_MODEL", str(models / "notes"))
    monkeypatch.setenv("WINE_GPT_ADAPTERS", str(adapter))
    demo = Backend()
    assert [str(problem) for problem in demo.problems] == []
    assert demo.engine is not None
    assert demo.template.fields == (corpus.field,)
    (name,) = demo.engine.adapters
    assert next(demo.generate(seed=1)).startswith(corpus.case.prefix.lower())
    header = " : ".join(filter(None, [corpus.case.prefix, corpus.case.values[1]]))
    *_, written = demo.write(f"{header} : {' '.join(corpus.case.words)} w1", name, 0.8, 1.0, 5, 1)
    assert demo.template.split(written.request.prompt.text)[0] == f"{header} :"
    check = demo.check_copies(written)
    assert check is not None
    # [EOS] adds nothing to the text
    assert check.words == len([index for index in written.ids if index != demo.engine.tokenizer.eos_token_id])
    # the prompt's field begins with what every text begins with
    parts = {part["props"].get("elem_id"): part["props"] for part in build(demo).get_config_file()["components"]}
    assert parts["prompt"]["value"] == corpus.case.prefix.lower()

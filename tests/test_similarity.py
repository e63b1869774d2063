"""Test the search for similar reviews: its index, the model of sentence-transformers, and the errors."""

import json
import math
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset, DatasetDict
from support.finished_runs import finish
from support.halt import interrupt_steps
from support.refused import refused
from support.toy_model import toy_texts
from torch.nn.functional import normalize
from transformers import GPT2Model, PreTrainedModel, PreTrainedTokenizerFast

import wine_gpt
from wine_gpt.__main__ import main
from wine_gpt.base_model import data_settings
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import build_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.errors import RunInterrupted, UserError
from wine_gpt.publishing.publication import Publication
from wine_gpt.publishing.staging import stage
from wine_gpt.tasks.contrastive import TEMPERATURE, VALIDATION_BATCH, Contrastive, ContrastiveLoss, halves_of
from wine_gpt.tasks.similarity import load_index, whitening

DESCRIPTION = "It's a full-bodied, bright wine with plum and oak, worth $15. Drink now."


@pytest.fixture(scope="module")
def run(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of the toy model, whose reviews are in a file."""
    return run_on([text.split(" : ", 4)[1:] for text in toy_texts()], toy_run, tmp_path_factory.mktemp("similarity"))


def run_on(reviews: Iterable[Sequence[str]], toy_run: Path, folder: Path, **data: Any) -> Path:  # noqa: ANN401
    """Return a run of the toy model whose reviews are these; ``data`` are more data settings."""
    names = ("country", "province", "variety", "description")
    (folder / "reviews.json").write_text(json.dumps([dict(zip(names, review, strict=True)) for review in reviews]))
    run = finish(toy_run, folder / "run", str(folder / "reviews.json"), deduplicate="record", **data)
    config = build_config(PretrainConfig, data_settings(run))
    metrics = {
        **json.loads((run / "metrics.json").read_text()),
        "data_fingerprint": load_reviews(config.data).fingerprint,
    }
    (run / "metrics.json").write_text(json.dumps(metrics))
    return run


def test_the_most_similar_reviews_have_the_same_description(run: Path) -> None:
    found = wine_gpt.similar(run, DESCRIPTION, k=5)
    assert all(review.text.endswith(DESCRIPTION) for review in found[:4])
    assert found[0].similarity == pytest.approx(1, abs=1e-5)
    assert [review.similarity for review in found] == sorted((review.similarity for review in found), reverse=True)


@pytest.mark.parametrize(
    "header",
    [
        "Wine review : Italy : Tuscany : Riesling : ",
        "wine review: italy: tuscany: riesling: ",
        "Wine review : Italy: a:b:",
    ],
)
def test_the_header_of_a_review_is_left_out(run: Path, header: str) -> None:
    index = load_index(run)
    assert index.search(header + DESCRIPTION, 3) == index.search(DESCRIPTION, 3)


def test_the_colons_of_a_description_are_kept(run: Path) -> None:
    index = load_index(run)
    text = "Bright: dry: crisp: wine: with plum"
    assert index.search(text, 3)[0].similarity != index.search("with plum", 3)[0].similarity


@pytest.mark.parametrize("count", [1, 20])
def test_equal_descriptions_are_not_whitened(toy_run: Path, tmp_path: Path, count: int) -> None:
    reviews = [("Italy", f"Region {number}", "Riesling", DESCRIPTION) for number in range(count)]
    run = run_on(reviews, toy_run, tmp_path, validation_fraction=0.0, test_fraction=0.0)
    assert [review.similarity for review in wine_gpt.similar(run, DESCRIPTION, count)] == pytest.approx([1] * count)
    (other,) = wine_gpt.similar(run, "a crisp wine with quince", 1)
    assert 0 < other.similarity < 1


def test_sentence_transformers_loads_the_model_alone(run: Path, tmp_path: Path) -> None:
    index = load_index(run)
    shutil.copytree(run / "similarity", tmp_path / "model")
    (tmp_path / "model" / "training_embeddings.npy").unlink()
    embedded = encode(tmp_path / "model", [*index.reviews["description"]])
    assert np.allclose(embedded, index.embeddings, atol=1e-4)


def test_an_embedding_is_the_mean_of_the_last_states_whitened(
    run: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    index = load_index(run)
    raw = []
    for text in index.reviews["description"]:
        states = model.transformer(**tokenizer(text, return_tensors="pt")).last_hidden_state
        raw.append(states[0].mean(0).detach().numpy())
    weight, bias = whitening(np.array(raw))
    whitened = np.array(raw) @ weight.T + bias
    assert np.allclose(whitened / np.linalg.norm(whitened, axis=1, keepdims=True), index.embeddings, atol=1e-3)


def test_the_index_is_made_again_for_other_weights_only(run: Path) -> None:
    load_index(run)
    file = run / "similarity" / "index.json"
    made = file.stat().st_mtime_ns
    load_index(run)
    assert file.stat().st_mtime_ns == made
    file.write_text(json.dumps({**json.loads(file.read_text()), "weights_sha256": "0"}))
    load_index(run)
    assert json.loads(file.read_text())["weights_sha256"] != "0"


@pytest.mark.parametrize(
    ("name", "content"),
    [("training_embeddings.npy", None), ("model.safetensors", b"{}"), ("modules.json", None), ("index.json", b"[")],
)
def test_a_damaged_index_is_made_again(run: Path, name: str, content: bytes | None) -> None:
    before = load_index(run)
    file = run / "similarity" / name
    file.unlink() if content is None else file.write_bytes(content)
    index = load_index(run)
    assert np.array_equal(index.embeddings, before.embeddings)
    assert np.allclose(encode(run / "similarity", DESCRIPTION), index.model.encode(DESCRIPTION), atol=1e-3)


@pytest.mark.parametrize(
    ("text", "k", "message"),
    [
        (" \n", 5, "text: it is empty"),
        ("wine review : Italy : Tuscany :", 5, "text: it has no description"),
        ("wine review: Italy: Tuscany:", 5, "text: it has no description"),
        ("Zyxw zyxw", 5, "text: it has no word that the model knows"),
        ("[BOS] [PAD]", 5, "text: it has no word that the model knows"),
        ("crisp \udcff", 5, "text: character 7 is '\\udcff', a lone surrogate"),
        (DESCRIPTION, 0, "k: 0 is no number from 1 to"),
        (DESCRIPTION, 10_000, "k: 10,000 is no number from 1 to"),
    ],
)
def test_a_wrong_text_or_number_is_one_line(run: Path, text: str, k: int, message: str) -> None:
    assert refused(wine_gpt.similar, run, text, k).startswith(message)


def test_a_run_without_its_data_is_one_line(run: Path, toy_run: Path, tmp_path: Path) -> None:
    moved = finish(toy_run, tmp_path / "run", str(tmp_path / "reviews.json"))
    other = shutil.copytree(run, tmp_path / "other")
    (other / "metrics.json").write_text('{"data_fingerprint": "0"}')
    for folder, message in [
        (tmp_path / "nowhere", "run: no such folder"),
        (toy_run, f"run: {toy_run} has no config.yaml: name a finished run"),
        (moved, f"data.path: no such file: {tmp_path / 'reviews.json'}"),
        (other, f"data: {run.parent / 'reviews.json'} is not what {other} was trained on: "),
    ]:
        assert refused(wine_gpt.similar, folder, DESCRIPTION).startswith(message)


def test_a_model_fine_tuned_from_a_run_searches_the_runs_reviews_only(run: Path, tmp_path: Path) -> None:
    tuned = shutil.copytree(run, tmp_path / "tuned", ignore=shutil.ignore_patterns("similarity", "config.yaml"))
    fingerprint = json.loads((run / "metrics.json").read_text())["data_fingerprint"]
    metrics = {"method": "full", "base": {"path": str(run)}, "settings": {"data": fingerprint}}
    (tuned / "metrics.json").write_text(json.dumps(metrics))
    (found,) = wine_gpt.similar(tuned, DESCRIPTION, 1)
    assert found.text.endswith(DESCRIPTION)
    (tmp_path / "other.json").write_text(json.dumps(json.loads((run.parent / "reviews.json").read_text())[1:]))
    with pytest.raises(UserError, match=r"other\.json is not what .*tuned was trained on"):
        wine_gpt.similar(tuned, DESCRIPTION, data=tmp_path / "other.json")


def test_reviews_that_were_moved_are_found_by_their_path(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = run_on([text.split(" : ", 4)[1:] for text in toy_texts()], toy_run, tmp_path)
    new = (tmp_path / "reviews.json").rename(tmp_path / "new.json")
    (found,) = wine_gpt.similar(moved, DESCRIPTION, 1, data=new)
    assert found.text.endswith(DESCRIPTION)
    (again,) = wine_gpt.similar(moved, DESCRIPTION, 1, data={"path": new, "encoding": "utf-8"})
    assert again.text == found.text
    command = ["wine-gpt", "similar", str(moved), "--text", DESCRIPTION, "--data.path", str(new)]
    monkeypatch.setattr(sys, "argv", command)
    main()
    assert capsys.readouterr().out.startswith(f"1.00  {found.text}\n")
    new.write_text(json.dumps(json.loads(new.read_text())[1:]))
    with pytest.raises(UserError, match=r"new\.json is not what .*run was trained on: .* the run's data with data"):
        wine_gpt.similar(moved, DESCRIPTION, data=new)
    with pytest.raises(UserError, match=r"^config: keyword arguments: unknown key encodin; did you mean encoding\?"):
        wine_gpt.similar(moved, DESCRIPTION, data={"encodin": "utf-8"})


def test_an_index_that_cannot_be_written_is_one_line(run: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("similarity"))
    (copied / "similarity" / "training_embeddings.npy").mkdir(parents=True)
    with pytest.raises(UserError, match=r"^can't write .*similarity: .* Is a directory.*bytes free$"):
        wine_gpt.similar(copied, DESCRIPTION)


def test_without_sentence_transformers_each_command_says_how_to_install_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # an import of None raises ModuleNotFoundError, as for a package that is not installed
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    message = r"^an embedding needs sentence_transformers: pip install .*\[similarity\]"
    with pytest.raises(UserError, match=message):
        wine_gpt.similar(run, DESCRIPTION)
    with pytest.raises(UserError, match=message):
        wine_gpt.finetune_embeddings(run, output_dir=tmp_path / "embed")


def test_the_command_prints_a_review_in_each_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["wine-gpt", "similar", str(run), "--text", DESCRIPTION, "-k", "2"])
    main()
    stdout, stderr = capsys.readouterr()
    assert [line[:18] for line in stdout.splitlines()] == ["1.00  wine review "] * 2
    assert stderr == ""


def test_fine_tuned_embeddings_find_the_other_half_and_are_searched(run: Path, tmp_path: Path) -> None:
    training = {"epochs": 2, "batch_tokens": 512, "mixed_precision": "no"}
    metrics = wine_gpt.finetune_embeddings(run, output_dir=tmp_path / "embed", training=training)
    assert metrics.training.epochs[-1].nats_per_review == metrics.validation.nats_per_review
    assert 0 < metrics.test.loss < 5
    found = wine_gpt.similar(tmp_path / "embed", DESCRIPTION, k=4)
    assert all(review.text.endswith(DESCRIPTION) for review in found)
    assert np.allclose(
        load_index(tmp_path / "embed").embeddings[found[0].index],
        encode(tmp_path / "embed" / "similarity", DESCRIPTION),
        atol=1e-3,
    )
    with pytest.raises(UserError, match="is a model for embeddings, which writes no text: use similar"):
        wine_gpt.generate(tmp_path / "embed")
    with pytest.raises(UserError, match=r"was finished with other settings: .*task: then embed, now classify"):
        wine_gpt.classify(run, "variety", output_dir=tmp_path / "embed", min_reviews=1)
    for folder in (tmp_path / "embed", tmp_path / "embed" / "similarity"):
        with pytest.raises(UserError, match=r'is a model for embeddings, .* SentenceTransformer\(".*"\)\.push_to_hub'):
            stage(Publication(folder, "org/name"), tmp_path / "staged")
    with pytest.raises(UserError, match="fine-tuned on a subset of its base"):
        stage(Publication(run, "org/name", tmp_path / "embed", license="mit"), tmp_path / "staged")
    # a finished one is not trained again
    assert wine_gpt.finetune_embeddings(run, output_dir=tmp_path / "embed", training=training, resume=True) == metrics


def test_a_run_that_overwrites_a_model_for_embeddings_writes_texts(run: Path, tmp_path: Path) -> None:
    training, folder = {"epochs": 1, "batch_tokens": 512, "mixed_precision": "no"}, tmp_path / "run"
    wine_gpt.finetune_embeddings(run, output_dir=folder, training=training)
    of_embeddings = {path.name for path in folder.iterdir()}
    wine_gpt.pretrain(run / "config.yaml", output_dir=folder, overwrite=True, training=training)
    assert wine_gpt.generate(folder, seed=0, max_new_tokens=1)
    kept = of_embeddings & {path.name for path in folder.iterdir()}
    assert kept == {"config.json", "model.safetensors", "metrics.json", "tokenizer.json", "tokenizer_config.json"}


def encode(folder: Path, texts: str | list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the embeddings of sentence-transformers, whose import takes seconds."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder)).encode(texts)


def test_the_loss_is_that_of_choosing_the_other_half(toy_run: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    module = ContrastiveLoss(GPT2Model.from_pretrained(toy_run)).eval()
    texts = (["a full-bodied, bright", "a light-bodied"], ["wine with plum", "crisp wine with quince and oak"])
    first, second = (tokenizer(half, return_tensors="pt", padding=True) for half in texts)
    with torch.inference_mode():
        loss = module(first["input_ids"], first["attention_mask"], second["input_ids"], second["attention_mask"])
        alone = [
            torch.stack(
                [normalize(module.model(**tokenizer(text, return_tensors="pt"))[0][0].mean(0), dim=0) for text in half]
            )
            for half in texts
        ]
    cosines = alone[0] @ alone[1].T / TEMPERATURE
    expected = sum(-logits.log_softmax(-1).diagonal().sum() for logits in (cosines, cosines.T)) / 2
    assert float(loss) == pytest.approx(float(expected), abs=1e-3)


@pytest.mark.parametrize("reviews", [40, 65])
def test_each_half_is_told_from_as_many_others(
    toy_run: Path, tokenizer: PreTrainedTokenizerFast, reviews: int
) -> None:
    """A model without weights gives each of the halves the same probability."""
    model = GPT2Model.from_pretrained(toy_run)
    for parameter in model.parameters():
        parameter.data.zero_()
    split = Dataset.from_dict({"input_ids": [[tokenizer.bos_token_id, 5, 6, tokenizer.eos_token_id]] * reviews})
    objective = Contrastive(model, tokenizer, DatasetDict(train=split, validation=split))
    found = objective.score(split, Accelerator(cpu=True))
    assert found.reviews == reviews
    assert found.nats_per_review == pytest.approx(math.log(min(reviews, VALIDATION_BATCH)))


@pytest.mark.parametrize(("words", "sizes"), [(2, (1, 1)), (3, (2, 1)), (40, (20, 20))])
@pytest.mark.parametrize("ends", [True, False])
def test_a_description_is_cut_in_the_middle(words: int, sizes: tuple[int, int], ends: bool) -> None:
    """A text that was cut at the model's last position has no [EOS]; its last word is kept."""
    bos, eos = 400, 401
    ids = torch.tensor([bos, *range(words), *([eos] if ends else [])])
    first, second = halves_of(ids, eos)
    assert (first[0], second[0]) == (bos, bos)
    assert [*first[1:], *second[1:]] == [*range(words)]
    assert (len(first) - 1, len(second) - 1) == sizes


def test_a_description_of_one_token_is_left_out(run: Path, toy_run: Path, tmp_path: Path) -> None:
    short = ["Crisp", "Drink now", "Crisp wine with quince"]
    reviews = [("Italy", f"Region {number}", "Riesling", short[number % 3]) for number in range(120)]
    metrics = wine_gpt.finetune_embeddings(
        run_on(reviews, toy_run, tmp_path, validation_fraction=0.2, test_fraction=0.2),
        output_dir=tmp_path / "embed",
        training={"epochs": 1, "batch_tokens": 256, "mixed_precision": "no"},
    )
    splits = load_reviews(build_config(PretrainConfig, data_settings(tmp_path / "run")).data).splits
    assert metrics.test.reviews == sum(text != "Crisp" for text in splits["test"]["description"])
    assert 0 < metrics.test.reviews < len(splits["test"])


def test_a_base_without_a_test_split_is_refused(toy_run: Path, tmp_path: Path) -> None:
    reviews = [text.split(" : ", 4)[1:] for text in toy_texts()]
    base = run_on(reviews, toy_run, tmp_path, test_fraction=0.0)
    with pytest.raises(UserError, match="no review of the test split has a description of two tokens: use more data"):
        wine_gpt.finetune_embeddings(base, output_dir=tmp_path / "embed")
    assert not (tmp_path / "embed").exists()


def test_other_micro_batches_are_refused_on_resume(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss depends on them, because the other halves of a micro-batch are the ones to choose from."""
    output, training = tmp_path / "embed", {"epochs": 1, "batch_tokens": 512, "mixed_precision": "no"}
    with monkeypatch.context() as patch:
        interrupt_steps(patch, signal.SIGTERM)
        with pytest.raises(RunInterrupted):
            wine_gpt.finetune_embeddings(run, output_dir=output, training=training)
    with pytest.raises(UserError, match=r"can't resume from step 1: training.micro_batches: checkpoint 1, now 2$"):
        wine_gpt.finetune_embeddings(run, output_dir=output, training={**training, "micro_batches": 2}, resume=True)
    with monkeypatch.context() as patch:
        # a version that cuts the descriptions elsewhere
        patch.setattr("wine_gpt.tasks.embedding.HALVES_VERSION", 3)
        with pytest.raises(UserError, match=r"can't resume from step 1: halves_version: checkpoint 2, now 3$"):
            wine_gpt.finetune_embeddings(run, output_dir=output, training=training, resume=True)
    done = wine_gpt.finetune_embeddings(run, output_dir=output, training=training, resume=True)
    # what is finished stays so
    other = {**training, "micro_batches": 2}
    assert wine_gpt.finetune_embeddings(run, output_dir=output, training=other) == done


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "variety"}, "label"),
        ({"variety": "Riesling"}, "--task embed trains on all reviews"),
        ({"method": "lora"}, "--task embed trains all weights"),
        ({"bands": 7}, "bands is 7: is for --task classify only"),
        ({"min_reviews": 5}, "min_reviews is 5: --task embed trains on all reviews"),
        ({"lora": {"rank": 8}}, "lora.rank is 8: --method full trains all weights"),
        ({"objective": {"text_weight": 0.5}}, "objective.text_weight is 0.5: --task embed has an objective"),
        ({"task": "generate", "variety": "Riesling"}, "task is 'generate': call wine_gpt.finetune for it"),
        ({"field": "country"}, "field is 'country': --task embed trains on all reviews"),
    ],
)
def test_wrong_settings_of_embeddings_are_one_line(run: Path, settings: dict[str, Any], message: str) -> None:
    assert message.replace("--", "") in refused(wine_gpt.finetune_embeddings, run, **settings)


def test_the_demo_searches_the_reviews_of_a_run(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio", reason="the demo's packages are not installed")
    from backend import Backend
    from i18n import UserFacingError

    monkeypatch.setenv("WINE_GPT_MODEL", str(run))
    monkeypatch.setenv("WINE_GPT_REVIEWS", str(run))
    demo = Backend()
    found = demo.similar(f"Wine review : Italy : Tuscany : Riesling : {DESCRIPTION}")
    expected = wine_gpt.similar(run, DESCRIPTION, k=5)
    assert found == [(f"{review.similarity:.2f}", review.text) for review in expected]
    with pytest.raises(UserFacingError, match="text: the model knows none of its words, or it has only a header"):
        demo.similar("xyzzy")
    monkeypatch.setenv("WINE_GPT_REVIEWS", str(run / "nowhere"))
    without = Backend()
    assert [problem.key for problem in without.problems] == ["problem_reviews"]
    assert "WINE_GPT_REVIEWS: run: no such folder" in capsys.readouterr().err
    assert (without.reviews, without.similar("wine")) == (None, [])

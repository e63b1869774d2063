"""Tokenizers of characters and of byte-pair encoding: files, round trips, and figures per word of whole runs."""

import dataclasses
import json
import unicodedata
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toy_model import toy_texts
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import wine_gpt
from wine_gpt.config import DataConfig, FinetuneConfig, LoraConfig, ModelConfig, PretrainConfig, TokenizerConfig
from wine_gpt.config import TrainingConfig as Training
from wine_gpt.data.reviews import load_reviews, texts
from wine_gpt.data.template import COMPOSED
from wine_gpt.errors import UserError
from wine_gpt.evaluation.predictions import predict
from wine_gpt.finetuning.finetune import finetune
from wine_gpt.generation.explain import explain, to_terminal
from wine_gpt.generation.generate import encode_prompts, generate_ids, generate_texts
from wine_gpt.generation.prompts import printed_prompt
from wine_gpt.modeling.pretrained import load_model_and_tokenizer
from wine_gpt.publishing.corpus import OwnCorpus
from wine_gpt.publishing.model_card import model_card
from wine_gpt.publishing.run_record import SubsetModel, read_run
from wine_gpt.publishing.subset_card import subset_card
from wine_gpt.tokenizer import class_words, encode_reviews, load_tokenizer, save_tokenizer, train_tokenizer
from wine_gpt.tokenizer.encoding import TOKENIZED, count_training_words, describe_poor_fit, require_known_words
from wine_gpt.tokenizer.schemes import scheme_of
from wine_gpt.tokenizer.word_starts import word_starts
from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.record import RunMetrics

KINDS = ("characters", "bpe")
OTHER_SCRIPTS = (
    "这款酒有红果香气，口感柔和。",
    "ไวน์แดงหอมผลไม้ เข้มข้น",
    "赤ワインの香り、しっかりとした味わい。",
    "Ünïcödé — «don't»\\stop 🍷 e\u0301",
    "((1,000.5)) a-b",
)
POEM = "Roses are red,\nviolets are blue.\r\n\n  Wine is\tfine"
ANY_TEXT = st.text(st.one_of(st.characters(exclude_categories=["Cs", "Cn"]), st.sampled_from(" \n\r\tAé.,'\\[]")))


def trained(kind: str, *, line_breaks: bool = False) -> PreTrainedTokenizerFast:
    return train_tokenizer([*toy_texts(), *OTHER_SCRIPTS, POEM], 400, line_breaks=line_breaks, kind=kind)


@pytest.fixture(scope="module", params=KINDS)
def known(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return trained(request.param)


def ids_of(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    encoded: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return encoded


def test_held_out_texts_of_one_word_have_nothing_to_score(known: PreTrainedTokenizerFast) -> None:
    special = (known.bos_token_id, known.eos_token_id)
    for text, has_words in (("garganega", False), ("garganega wine", True)):
        ids = [special[0], *ids_of(known, text), special[1]]
        split = Dataset.from_dict({"input_ids": [ids], "length": [len(ids)]}, features=TOKENIZED)
        splits = DatasetDict({"validation": split, "test": split})
        with (
            nullcontext() if has_words else pytest.raises(UserError, match="the validation split has nothing to score")
        ):
            require_known_words(splits, known)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_have_the_ids_that_the_words_have(kind: str) -> None:
    tokenizer = trained(kind)
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 1)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (len(tokenizer) - 2, len(tokenizer) - 1)
    assert tokenizer("wine").input_ids == [tokenizer.bos_token_id, *ids_of(tokenizer, "wine")]
    assert encode_reviews(tokenizer, ["wine"]) == [[*tokenizer("wine").input_ids, tokenizer.eos_token_id]]
    assert 0 not in ids_of(tokenizer, "[PAD]")
    assert tokenizer.bos_token_id not in encode_reviews(tokenizer, ["[BOS]"])[0][1:]


@pytest.mark.parametrize("text", [*OTHER_SCRIPTS, toy_texts()[0]])
def test_a_text_comes_back_as_it_was(known: PreTrainedTokenizerFast, text: str) -> None:
    composed = text.replace("e\u0301", "é")
    expected = composed if scheme_of(known).kind == "bpe" else composed.lower()  # type: ignore[union-attr]
    assert known.decode(ids_of(known, text)) == expected


@settings(max_examples=50)
@given(text=ANY_TEXT)
def test_bytes_know_every_text(text: str) -> None:
    tokenizer = trained_once("bpe")
    ids = ids_of(tokenizer, text)
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids).split() == unicodedata.normalize("NFC", text).split()


@settings(max_examples=50)
@given(text=ANY_TEXT, data=st.data())
def test_a_text_and_its_continuation_are_decoded_as_the_whole(text: str, data: st.DataObject) -> None:
    tokenizer = trained_once(data.draw(st.sampled_from(KINDS)))
    ids = ids_of(tokenizer, text)
    cut = data.draw(st.integers(0, len(ids)))
    beginning, rest, whole = (tokenizer.decode(part) for part in (ids[:cut], ids[cut:], ids))
    # between the bytes of a character there is nothing to decode
    if not beginning.endswith("\ufffd"):
        assert beginning + rest == whole


TRAINED: dict[str, PreTrainedTokenizerFast] = {}


def trained_once(kind: str) -> PreTrainedTokenizerFast:
    if kind not in TRAINED:
        TRAINED[kind] = trained(kind)
    return TRAINED[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_line_breaks_are_kept_or_read_as_spaces(kind: str) -> None:
    kept, joined = trained(kind, line_breaks=True), trained_once(kind)
    text = POEM if kind == "bpe" else POEM.lower()
    assert kept.decode(ids_of(kept, POEM)) == text.replace("\r\n", "\n")
    assert joined.decode(ids_of(joined, POEM)) == " ".join(text.split())
    assert printed_prompt(kept, " red,\r\n ") == "red,\n"
    assert printed_prompt(joined, " red,\r\n ") == "red,"


def test_transformers_alone_loads_it(known: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    save_tokenizer(known, tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    plain, ours = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    assert scheme_of(ours) == scheme_of(known)
    for text in (*OTHER_SCRIPTS, POEM, ""):
        assert plain(text)["input_ids"] == ours(text)["input_ids"] == known(text)["input_ids"]
        assert plain.decode(plain(text)["input_ids"], skip_special_tokens=True) == known.decode(ids_of(known, text))


@pytest.mark.parametrize("line_breaks", [False, True])
@pytest.mark.parametrize("kind", ["words", *KINDS])
def test_words_are_counted_in_the_ids(kind: str, line_breaks: bool) -> None:
    tokenizer = trained(kind, line_breaks=line_breaks)
    starts = word_starts(tokenizer)
    for text in (*toy_texts()[:5], *OTHER_SCRIPTS, POEM, "x"):
        ids = np.array(encode_reviews(tokenizer, [text])[0])
        assert starts.count(ids[1:], ids[:-1]).sum() == len(class_words(text, line_breaks)), text


# whole runs


def test_one_token_may_be_unknown_and_both_ends_as_in_gpt_2() -> None:
    ours = trained("bpe")
    ends = dict.fromkeys(("unk_token", "bos_token", "eos_token"), "[EOS]")
    gpt_2 = PreTrainedTokenizerFast(tokenizer_object=ours.backend_tokenizer, pad_token="[PAD]", **ends)
    short = [text[:20] for text in toy_texts()]
    ids = encode_reviews(gpt_2, short)
    split = Dataset.from_dict({"input_ids": ids, "length": [*map(len, ids)]}, features=TOKENIZED)
    assert count_training_words(split, gpt_2) == sum(len(class_words(text)) for text in short)
    assert describe_poor_fit(Dataset.from_dict({COMPOSED: short}), split, gpt_2) == ""


def settings_of(kind: str, folder: Path) -> PretrainConfig:
    data = folder / "reviews.json"
    names = ("country", "province", "variety", "description")
    rows = [dict(zip(names, text.split(" : ", 4)[1:], strict=True)) for text in toy_texts()]
    for number, row in enumerate(rows):
        row["description"] += f" Bottle {number}."
    data.write_text(json.dumps(rows))
    return PretrainConfig(
        data=DataConfig(path=str(data)),
        tokenizer=TokenizerConfig(kind=kind, vocab_size=400),
        model=ModelConfig(n_layer=1, n_head=2, n_embd=16, n_inner=16, block_size=160),
        training=Training(epochs=1, batch_tokens=4096, mixed_precision="no", checkpoint_steps=2, keep_checkpoints=9),
        output_dir=str(folder / "run"),
    )


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, PretrainConfig]:
    config = settings_of(request.param, tmp_path_factory.mktemp(request.param))
    pretrain(config)
    return request.param, config


def test_losses_are_per_word_of_the_same_words(run: tuple[str, PretrainConfig]) -> None:
    kind, config = run
    model, tokenizer = load_model_and_tokenizer(config.output_dir)
    held_out = list(texts(load_reviews(config.data).splits["test"]))
    predictions = predict(model, tokenizer, held_out)
    nats = sum(prediction.nats.sum() for prediction in predictions)
    tokens = sum(len(prediction.nats) for prediction in predictions)
    test = RunMetrics.load(Path(config.output_dir)).test
    assert test is not None
    assert test.words == sum(len(class_words(text)) - 1 for text in held_out)
    assert test.words == sum(prediction.words for prediction in predictions)
    assert test.tokens == tokens > test.words
    assert test.nats_per_word == pytest.approx(nats / test.words, rel=1e-4)
    assert test.nats_per_token == pytest.approx(nats / tokens, rel=1e-4)
    assert kind in KINDS


def test_a_run_generates_explains_and_has_a_card_in_its_own_units(run: tuple[str, PretrainConfig]) -> None:
    kind, config = run
    model, tokenizer = load_model_and_tokenizer(config.output_dir)
    (text,) = generate_texts(model, tokenizer, ["Wine review : Italy "], seed=0, max_new_tokens=8)
    assert text.startswith("Wine review : Italy")
    with pytest.raises(UserError, match=r"^generation: guidance_scale needs a tokenizer of words: \[UNK\] replaces"):
        wine_gpt.generate(config.output_dir, "Wine review : Italy", guidance_scale=2.0)
    inputs = encode_prompts(model, tokenizer, ["Wine review :"])
    ids = generate_ids(model, inputs, seed=0, max_new_tokens=4)[0].tolist()
    unit = {"characters": "character", "bpe": "token"}[kind]
    shown = to_terminal(explain(model, tokenizer, ids, inputs["input_ids"].shape[1]), color=True)
    assert shown.startswith(f"For each {unit}: ")
    published = read_run(Path(config.output_dir), OwnCorpus(license="mit", language="en", dataset_name="Toy reviews"))
    card = str(model_card(published, "org/m"))
    assert f"{len(tokenizer):,} {unit}s" in card
    assert {"characters": "character-level", "bpe": "bpe"}[kind] in card
    assert "word-level" not in card
    assert ("in upper or lower case" in card) == (kind == "characters")


def test_a_run_resumes_and_is_finetuned(run: tuple[str, PretrainConfig], tmp_path: Path) -> None:
    kind, config = run
    folder = Path(config.output_dir)
    weights = (folder / "model.safetensors").read_bytes()
    checkpoint = min(folder.glob("checkpoints/step-*"))
    pretrain(dataclasses.replace(config, resume=str(checkpoint)))
    assert (folder / "model.safetensors").read_bytes() == weights
    tuned = FinetuneConfig(
        base=config.output_dir,
        value="Riesling",
        training=Training(epochs=1, mixed_precision="no"),
        lora=LoraConfig(rank=2, alpha=2),
        output_dir=str(tmp_path / "lora"),
    )
    (metrics,) = finetune(tuned)
    assert metrics.comparison.whole.base.tokens > metrics.comparison.whole.base.words
    # the base has not learned the [UNK] that would hide the value
    assert metrics.comparison.value_hidden is None
    # the prompt of the card and of its samples is the header as the model learned it
    published = read_run(folder, OwnCorpus(license="mit", dataset_name="Toy reviews"))
    card = str(subset_card(published, SubsetModel(tmp_path / "lora" / "riesling", "org/r", metrics), "org/m", "main"))
    header = " : ".join(["wine review", *metrics.header.values()])
    assert header.endswith(" : Riesling")
    assert f'write("{header if kind == "bpe" else header.lower()} :"' in card

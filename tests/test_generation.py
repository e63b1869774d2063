"""Generation from a saved model: by transformers' pipeline, by the package, and streamed."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.refused import refused
from support.space_model import write_adapter
from support.toy_model import TOY_POSITIONS
from support.training_processes import start_script
from support.without_wine_gpt import block
from tokenizers import Tokenizer, models
from transformers import GenerationConfig, GPT2LMHeadModel, PreTrainedTokenizerFast

from wine_gpt.data.template import ReviewTemplate
from wine_gpt.errors import UserError
from wine_gpt.generation.generate import (
    ReviewStreamer,
    encode_prompts,
    generate_ids,
    generate_texts,
)
from wine_gpt.generation.prompts import join, printed_prompt
from wine_gpt.modeling.pretrained import load_model, load_model_and_tokenizer
from wine_gpt.tokenizer import load_tokenizer, save_tokenizer

USE_PIPELINE = Path(__file__).parent / "support" / "use_pipeline.py"


@pytest.fixture(scope="module")
def user(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what transformers' pipeline generates where this package can't be imported."""
    folder = tmp_path_factory.mktemp("elsewhere")
    process = start_script([str(USE_PIPELINE), str(toy_run)], folder, folder / "log", prepare=block)
    process.join()
    *noise, found = (folder / "log").read_text(encoding="utf-8").splitlines()
    assert process.exitcode == 0, [*noise, found]
    return {**json.loads(found), "noise": [line for line in noise if line.strip() and "Loading weights" not in line]}


def test_the_pipeline_returns_the_prompt_and_naturally_spaced_text(user: dict[str, Any]) -> None:
    assert not user["wine_gpt"]
    assert user["sampled"].startswith("wine review : italy : ")
    assert user["sampled"].endswith(" drink now.")
    assert " it's a " in user["sampled"]
    assert " worth $" in user["sampled"]
    assert not {" ,", " .", " '", "$ ", "  "} & {user["sampled"][at : at + 2] for at in range(len(user["sampled"]))}


def test_the_pipeline_takes_any_case_and_keeps_the_prompt_as_typed(user: dict[str, Any]) -> None:
    assert user["capital"].startswith("WINE Review: Italy : ")
    assert user["capital"].removeprefix("WINE Review: Italy") == user["lower"].removeprefix("wine review : italy")


def test_an_empty_prompt_gives_a_whole_review(user: dict[str, Any]) -> None:
    assert user["empty"].lstrip().startswith("wine review : ")
    assert user["empty"].endswith(" drink now.")


def test_nothing_but_words_is_ever_generated(user: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> None:
    """The temperature is so high that every id of this small vocabulary would occur."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    continuations = [index for ids in user["wild"] for index in ids[3 : ids.index(eos) if eos in ids else None]]
    assert len(set(continuations)) > len(tokenizer) * 0.9
    assert not {tokenizer.pad_token_id, tokenizer.unk_token_id, bos} & set(continuations)


def test_a_review_ends_at_its_end_or_at_the_last_position(
    user: dict[str, Any], tokenizer: PreTrainedTokenizerFast
) -> None:
    assert user["ended"][-1] == tokenizer.eos_token_id
    assert len(user["ended"]) < TOY_POSITIONS
    assert set(user["endless"]) == {TOY_POSITIONS}


def test_prompts_of_different_lengths_give_in_a_batch_what_each_gives_alone(user: dict[str, Any]) -> None:
    assert user["batched"] == user["alone"]


def test_a_plain_padded_batch_has_the_losses_of_its_texts(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """GPT-2 gives positions by column, so this needs padding on the right."""
    texts = ["wine review : italy : tuscany : riesling : it's a light-bodied, crisp wine", "wine review : spain"]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        together = model(**batch).logits.log_softmax(-1)
        for text, ids, logs in zip(texts, batch["input_ids"], together, strict=True):
            alone = tokenizer(text, return_tensors="pt")
            expected = model(**alone).logits[0].log_softmax(-1)
            assert torch.allclose(logs[ids != tokenizer.pad_token_id], expected, atol=1e-5)


@pytest.mark.parametrize("special", ["[EOS]", "[PAD]", "[BOS]", "[UNK]"])
def test_a_prompt_that_spells_a_special_token_has_plain_words(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, special: str
) -> None:
    encoded = encode_prompts(model, tokenizer, [f"wine {special} review"])
    assert encoded["input_ids"].shape == (1, 6)
    ids = encoded["input_ids"][0, 1:].tolist()
    assert not {tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id} & set(ids)


def test_the_pipeline_warns_of_nothing(user: dict[str, Any]) -> None:
    assert user["noise"] == []


def test_generated_texts_are_the_pipelines(
    user: dict[str, Any], model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [
        "wine review : italy",
        "",
        "wine review : germany : mosel : riesling : it's a light-",
        "Wine review: Spain",
    ]
    texts = generate_texts(model, tokenizer, prompts, seed=0, do_sample=False)
    assert texts == [text.lstrip() for text in user["alone"]]


def test_a_prompt_can_be_truncated_to_the_models_length(user: dict[str, Any]) -> None:
    """The tokenizer's model_max_length leaves one position for a word."""
    assert user["truncated"] == [TOY_POSITIONS] * 2


def test_a_word_ends_the_text_as_a_further_end_of_text(user: dict[str, Any]) -> None:
    assert user["sentence"].endswith((" oak, worth $15.", " oak, worth $30."))


def test_a_text_depends_on_the_seed(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    first, again, other = (generate_texts(model, tokenizer, [""] * 3, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_limit_counts_new_words_and_never_passes_the_positions(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    inputs = encode_prompts(model, tokenizer, ["wine review"])
    endless = {"suppress_tokens": [*model.generation_config.suppress_tokens, tokenizer.eos_token_id]}
    lengths = [generate_ids(model, inputs, seed=0, max_new_tokens=n, **endless).shape[1] for n in (1, 5, 1000)]
    assert lengths == [4, 8, TOY_POSITIONS]
    lengths = [generate_ids(model, inputs, seed=0, max_length=n, **endless).shape[1] for n in (4, 8, 1000)]
    assert lengths == [4, 8, TOY_POSITIONS]
    assert generate_ids(model, inputs, seed=0, max_length=8, max_new_tokens=2, **endless).shape[1] == 5


def test_a_setting_that_transformers_refuses_is_a_user_error(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(UserError, match=r"^generation: `temperature` \(=0\.0\) has to be a strictly positive float"):
        generate_texts(model, tokenizer, ["wine review"], seed=0, temperature=0.0)


def test_the_longest_prompt_leaves_one_position(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    longest = "plum " * (TOY_POSITIONS - 2)
    (text,) = generate_texts(model, tokenizer, [longest], seed=0, do_sample=False)
    assert text.startswith(longest.strip())
    with pytest.raises(
        UserError, match=r"^prompt 'oak plum plum .*…': 63 words, but the model has 64 positions: at most 62 words"
    ) as error:
        # the prompt stands in a later batch
        generate_texts(model, tokenizer, ["wine review", f"oak {longest}"], seed=0, batch_size=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{}, {"repetition_penalty": 1.0001}, {"max_length": 62}])
def test_a_long_prompt_does_not_shorten_the_other_texts(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, settings: dict[str, float]
) -> None:
    """Both by the package's loop and by ``model.generate``."""
    endless = {"suppress_tokens": [*model.generation_config.suppress_tokens, tokenizer.eos_token_id]}
    prompts = ["wine review", "plum " * 60, "wine review : italy"]
    settings = {"do_sample": False, **endless, **settings}
    alone = [generate_texts(model, tokenizer, [prompt], seed=0, **settings)[0] for prompt in prompts]
    assert [len(tokenizer(text)["input_ids"]) for text in alone] == [settings.get("max_length", TOY_POSITIONS)] * 3
    assert generate_texts(model, tokenizer, prompts, seed=0, **settings) == alone


def test_prompts_are_continued_in_batches(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = []

    class Recorder(GPT2LMHeadModel):
        """Is left to ``generate``."""

        def generate(self, **settings: Any) -> torch.Tensor:  # noqa: ANN401 - of transformers
            rows.append(len(settings["input_ids"]))
            return super().generate(**settings)

    recorder = Recorder(model.config)
    recorder.load_state_dict(model.state_dict())
    recorder.generation_config = model.generation_config
    prompts = [f"wine review : {name}" for name in ("italy", "spain", "germany", "italy", "spain")]
    texts = generate_texts(recorder, tokenizer, prompts, seed=0, batch_size=2, do_sample=False)
    assert rows == [2, 2, 1]
    assert texts == generate_texts(model, tokenizer, prompts, seed=0, do_sample=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_return_sequences": 3}, "num_return_sequences is not supported: each prompt gets one text"),
        ({"return_dict_in_generate": True}, "return_dict_in_generate is not supported: only texts are returned"),
        ({"output_scores": True}, "output_scores is not supported: only texts are returned"),
        ({"generation_config": GenerationConfig(temperature=0.1)}, "generation_config is not supported: name its"),
        ({"stop_strings": [" oak"]}, "stop_strings is not supported: cut the text"),
        ({"num_beams": 0}, "integer"),
        ({"batch_size": 0}, "batch_size is 0: must be a whole number of at least 1"),
    ],
)
def test_a_setting_that_would_change_nothing_or_fail_is_refused(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, settings: dict[str, Any], message: str
) -> None:
    refusal = refused(generate_texts, model, tokenizer, ["wine review"], seed=0, **settings)
    assert refusal.startswith(f"generation: {message}")


def test_a_model_with_max_new_tokens_stops_at_its_last_position(
    toy_run: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = load_model(toy_run)
    model.generation_config.max_length, model.generation_config.max_new_tokens = None, 500
    (text,) = generate_texts(model, tokenizer, ["plum " * 50], seed=0)
    assert len(tokenizer(text)["input_ids"]) <= TOY_POSITIONS


@pytest.mark.parametrize(
    ("prompt", "continuation", "expected"),
    [
        ("wine", " review", "wine review"),
        ("wine ", " review", "wine review"),
        ("", " wine", "wine"),
        ("it's", ".", "it's."),
        ("wine \n", " review", "wine review"),
    ],
)
def test_prompt_and_continuation_are_joined_without_spare_spaces(
    tokenizer: PreTrainedTokenizerFast, prompt: str, continuation: str, expected: str
) -> None:
    assert join(printed_prompt(tokenizer, prompt), continuation) == expected


def test_what_streams_is_what_is_decoded_in_the_end(
    tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words are random, so that no spacing may depend on a later word."""
    random_words = random.Random(0)
    header = tokenizer("wine review : italy : tuscany : riesling :")["input_ids"][1:]
    for prompt in ("", "wine review : Italy ", "$"):
        for _ in range(60):
            words = [random_words.randrange(2, tokenizer.bos_token_id) for _ in range(30)]
            ids = [*header, *words, tokenizer.eos_token_id]
            streamer = ReviewStreamer(tokenizer, prompt)
            streamer.put(torch.tensor([[tokenizer.bos_token_id]]))
            for index in ids:
                streamer.put(torch.tensor([index]))
            streamer.end()
            decoded = join(printed_prompt(tokenizer, prompt), tokenizer.decode(ids, skip_special_tokens=True))
            assert capsys.readouterr().out == decoded + "\n"


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "list": lambda content: b"[1, 2]",
    "object": lambda content: b'{"name": "a"}',
    "null": lambda content: b"null",
    "no text": lambda content: b"\xff\xfe\x00",
}
FILES = [
    *("config.json", "generation_config.json", "model.safetensors", "review_template.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("adapter_config.json", "adapter_model.safetensors"),
]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(toy_run: Path, tmp_path: Path, name: str, damage: str) -> None:
    folder = shutil.copytree(toy_run, tmp_path / "model")
    if name.startswith("adapter"):
        write_adapter(toy_run, folder, seed=0)
    file = folder / name
    file.write_bytes(DAMAGE[damage](file.read_bytes() if file.exists() else b'{"[PAD]": 0}'))
    required_of_all = ("pad", "unk", "bos", "eos")
    for required in (required_of_all, ("eos",)) if "token" in name else (required_of_all,):
        if name in ("special_tokens_map.json", "added_tokens.json") and damage == "object":
            # any object is valid
            continue
        line = refused(open_model, folder, required)
        assert name in line or (name == "tokenizer_config.json" and "do not fit" in line)


def open_model(folder: Path, required: tuple[str, ...]) -> None:
    """Read all files that generation reads."""
    ReviewTemplate.load(folder)
    load_model_and_tokenizer(folder, required)


def test_a_tokenizer_of_another_model_is_refused(toy_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(toy_run, tmp_path / "model")
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens(["another"])
    save_tokenizer(tokenizer, folder)
    with pytest.raises(UserError, match=r"the tokenizer has \d+ words, the model \d+: they do not fit together"):
        load_model_and_tokenizer(folder)


def test_an_adapter_is_loaded_without_warnings(
    toy_run: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    write_adapter(toy_run, tmp_path, seed=0)
    recwarn.clear()
    load_model(tmp_path)
    assert not [str(one.message) for one in recwarn]


def test_each_prompt_begins_with_bos_although_the_tokenizer_adds_none(model: GPT2LMHeadModel) -> None:
    """As a byte-level BPE tokenizer that is given by ``tokenizer.path``."""
    core = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "[PAD]": 2, "[BOS]": 3, "[EOS]": 4}, merges=[]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", bos_token="[BOS]", eos_token="[EOS]")
    inputs = encode_prompts(model, tokenizer, ["ab", "", "a"])
    assert inputs["input_ids"].tolist() == [[3, 0, 1], [2, 2, 3], [2, 3, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1], [0, 1, 1]]

"""Test the Python API: the calls of a notebook, and what they leave behind."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.notebook import call_notebook
from support.refused import refused
from support.small_run import write_reviews
from support.system_faults import run_in_subprocess
from tokenizers import Tokenizer, models
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import wine_gpt
from wine_gpt.api import FLAG, SWITCHES, _keyword
from wine_gpt.commands.publish import read_arguments
from wine_gpt.config import PretrainConfig, ScoreConfig
from wine_gpt.config_io import config_from_settings, parse_config
from wine_gpt.errors import UserError
from wine_gpt.generation.inference import load_on_device
from wine_gpt.lazy import exports_lazily
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.training.accelerator import restored_state


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the results of the notebook's calls, made in a process and an empty folder of their own."""
    folder = tmp_path_factory.mktemp("notebook")
    write_reviews(folder / "reviews.json")
    return {**run_in_subprocess(call_notebook, folder), "folder": folder}


def test_every_function_works_from_a_notebook(notebook: dict[str, Any]) -> None:
    assert notebook["words"] == 52
    assert notebook["splits"]["test"] > 10
    assert len(notebook["prompts"]) == 2
    assert all(text.startswith("wine review") for text in notebook["prompts"])
    assert 1 <= notebook["explained"] <= 4
    assert notebook["tuned"] == 1
    assert notebook["evaluated"]
    assert notebook["staged"][-2:] == ["first/publish/spaces/org/demo", "first/publish/static_spaces/org/demo"]
    assert (notebook["folder"] / "tokenizer" / "tokenizer.json").is_file()


def test_two_runs_in_one_process_and_a_thread_keep_their_own_settings(notebook: dict[str, Any]) -> None:
    metrics = [json.loads((notebook["folder"] / name / "metrics.json").read_text()) for name in ("first", "second")]
    assert [entry["training"]["mixed_precision"] for entry in metrics] == ["no", "bf16"]
    assert [len(entry["training"]["epochs"]) for entry in metrics] == [1, 2]
    assert notebook["losses"][0] != notebook["losses"][1]


def test_equal_seeds_generate_equal_texts(notebook: dict[str, Any]) -> None:
    assert notebook["same seed"]


def test_nothing_is_printed_and_no_global_state_is_left(notebook: dict[str, Any]) -> None:
    assert notebook["stdout"] == ""
    assert notebook["random state kept"]
    assert notebook["arguments kept"]
    assert notebook["environment"] == []


def test_importing_the_package_loads_neither_torch_nor_datasets_nor_changes_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    code = """
import os, sys, wine_gpt, wine_gpt.config
print(wine_gpt.__all__)
print([name for name in ("torch", "datasets") if name in sys.modules])
before = {*os.environ}
from wine_gpt import generate, pretrain
# scikit-learn sets the variables KMP_ when it is imported
print([name for name in {*os.environ} ^ before if not name.startswith("KMP_")])
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == [str(wine_gpt.__all__), "[]", "[]"]


def test_training_a_tokenizer_keeps_that_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="holds a run, whose model needs its own tokenizer: name another output_dir"):
        wine_gpt.train_tokenizer(tmp_path)
    assert not (tmp_path / "tokenizer.json").exists()


def test_an_import_at_first_use_limits_the_spin_of_openmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lazy_package").mkdir()
    (tmp_path / "lazy_package" / "part.py").write_text("import os\nspin = os.environ.get('GOMP_SPINCOUNT')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert exports_lazily("lazy_package", {"spin": "part"})("spin") == "1000"
    assert "GOMP_SPINCOUNT" not in os.environ


def test_completion_offers_the_functions() -> None:
    assert set(wine_gpt.__all__) <= set(dir(wine_gpt))
    with pytest.raises(AttributeError, match="has no attribute 'pretrian'"):
        wine_gpt.pretrian  # noqa: B018


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({"data": "reviews.csv", "training": {"epochs": 2}}, ["--data.path", "reviews.csv", "--training.epochs", "2"]),
        (
            {"data": {"prompt_fields": ("a", "b"), "text_field": "c"}},
            ["--data.prompt_fields=a,b", "--data.text_field=c"],
        ),
        ({"tokenizer": Path("runs/t"), "output_dir": Path("x")}, ["--tokenizer.path", "runs/t", "--output_dir", "x"]),
        ({"resume": "latest"}, ["--resume"]),
        ({"resume": True}, ["--resume"]),
        ({"resume": False}, []),
    ],
)
def test_keyword_arguments_are_the_flags(settings: dict[str, object], flags: list[str]) -> None:
    expected = parse_config(PretrainConfig, flags, default_file="sample.yaml")
    assert config_from_settings(PretrainConfig, settings, "sample.yaml") == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": {"epoch": 2}}, "unknown key training.epoch; did you mean training.epochs?"),
        ({"traning": {"epochs": 2}}, "unknown key traning.epochs; did you mean training.epochs?"),
        ({"outputdir": "x"}, "unknown key outputdir; did you mean output_dir?"),
        ({"training": {"epochs": "two"}}, "Couldn't parse 'two' into an int"),
        ({"training": {"epochs": True}}, "training.epochs is True: must be int"),
        ({"model": 3}, "model is 3: must be a dict"),
        ({"model": {"n_embd": 130}}, "must be a multiple of model.n_head"),
        ({"data": {"prompt_fields": "country"}}, "data.prompt_fields is 'country': must be a list"),
        ({"data": {"prefix": "vin\udce9"}}, "config: data.prefix: character 4 is '\\udce9', a lone surrogate"),
    ],
)
def test_a_wrong_keyword_gets_the_error_of_the_command_line(settings: dict[str, object], message: str) -> None:
    assert message in refused(config_from_settings, PretrainConfig, settings)


def test_errors_name_keyword_arguments_instead_of_flags(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(
        "country,province,variety,description\nItalia,Toscana,x,a\xf1ejo\n".encode("latin-1")
    )
    with pytest.raises(UserError, match=r"name the file's encoding, e\.g\. data\.encoding cp1252"):
        wine_gpt.load_reviews(tmp_path / "latin.csv")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text("{}")
    advice = r"name another output_dir, overwrite=True to start over, or resume=True with more training\.epochs"
    with pytest.raises(UserError, match=advice):
        wine_gpt.pretrain(output_dir=tmp_path / "run")


def test_errors_keep_the_flags_of_other_programs() -> None:
    with pytest.raises(UserError, match=r"download it first: hf download org/nosuch --local-dir FOLDER$"):
        wine_gpt.finetune("org/nosuch", variety="x")


def test_a_data_frame_with_its_own_columns_is_read() -> None:
    methods = [f"Cook {dish} for {minutes} minutes." for dish in ("rice", "beans", "soup") for minutes in range(10)]
    recipes = pd.DataFrame({"cuisine": "Italian", "method": methods})
    settings = {"prefix": "recipe", "prompt_fields": ["cuisine"], "text_field": "method", "validation_fraction": 0.2}
    reviews = wine_gpt.load_reviews(recipes, **settings)
    assert reviews.report.kept == 30
    assert reviews.splits["train"]["<review>"][0].startswith("recipe : Italian : Cook ")


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(UserError, match="model"):
        config_from_settings(ScoreConfig, {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": 1e-40}, "generation: temperature is 1e-40: must be at least 0.01"),
        ({"temprature": 0.5}, "temprature"),
        ({"max_new_tokens": "a"}, "generation: max_new_tokens is 'a': must be a whole number of at least 1"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0: must be a whole number of at least 1"),
        ({"max_new_tokens": -1}, "max_new_tokens is -1"),
        ({"max_length": 3}, "max_length is 3: must be a whole number, because the prompt is counted, of at least 4"),
    ],
)
def test_a_setting_that_generate_refuses_is_a_user_error(
    toy_run: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        wine_gpt.generate(toy_run, "wine review", seed=1, **settings)
    assert "\n" not in str(error.value)
    # the setting is the call's
    assert "generation_config.json" not in str(error.value)


@pytest.mark.parametrize("setting", [{"temperature": 0.0}, {"top_k": -1}])
def test_greedy_decoding_ignores_the_settings_of_sampling(toy_run: Path, setting: dict[str, Any]) -> None:
    greedy = wine_gpt.generate(toy_run, "wine review", do_sample=False)
    assert wine_gpt.generate(toy_run, "wine review", do_sample=False, **setting) == greedy


def test_a_temperature_samples_from_a_model_whose_config_is_greedy(toy_run: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_run, tmp_path / "model")
    file = tmp_path / "model" / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_sample": False}))
    greedy = {wine_gpt.explain(tmp_path / "model", seed=seed).words for seed in range(2)}
    assert len(greedy) == 1
    assert len({wine_gpt.explain(tmp_path / "model", seed=seed, temperature=5.0).words for seed in range(2)}) == 2
    assert len({wine_gpt.generate(tmp_path / "model", seed=seed, temperature=5.0) for seed in range(2)}) == 2
    forced = {wine_gpt.generate(tmp_path / "model", seed=seed, temperature=5.0, do_sample=False) for seed in range(2)}
    assert forced == {wine_gpt.generate(tmp_path / "model", seed=0)}


@pytest.mark.parametrize("continues", [wine_gpt.generate, wine_gpt.explain])
def test_a_prompt_with_half_a_character_is_a_user_error(toy_run: Path, continues: Callable[..., object]) -> None:
    with pytest.raises(UserError, match=r"^prompt: character 6 is '\\ud83c', a lone surrogate, which UTF-8 lacks"):
        continues(toy_run, "wine \ud83c", seed=1)


@pytest.mark.parametrize(
    ("function", "arguments", "settings", "message"),
    [
        ("ask", ("run", None, "food"), {}, "review is None: must be a text"),
        ("ask", ("run", "a wine", 5), {}, "question is 5: must be a text"),
        ("ask", ("run", "a wine", "on the", "a,b"), {}, "choices is 'a,b': must be a list of texts or None"),
        ("ask", ("run", "a wine", "on the", ["a", 2]), {}, "choices: number 2 of the list is 2: must be a text"),
        ("ask", ((1, 2), "a wine", "food"), {}, "model is (1, 2): must be a text, a path or (model, tokenizer)"),
        ("similar", ("run", []), {}, "text is []: must be a text"),
        ("similar", ("run", "plum"), {"k": "3"}, "k is '3': must be a whole number"),
        ("similar", ("run", "plum"), {"k": True}, "k is True: must be a whole number"),
        ("generate", ("run", b"wine"), {}, "prompts is b'wine': must be a text, a list of texts or None"),
        ("generate", ("run", ["wine", None]), {}, "prompts: number 2 of the list is None: must be a text"),
        ("explain", ("run", float("nan")), {}, "prompt is nan: must be a text or None"),
        ("classify", ("run", None), {}, "label is None: must be a text"),
        ("load_reviews", ([{"a": 1}],), {}, "data is [{'a': 1}]: must be a text, a path, a Dataset, a"),
        ("publish", ("run", "org/name"), {"dry_run": "no"}, "dry_run is 'no': must be True or False"),
        ("classify", ("run", "x"), {"task": "embed"}, "config: task is 'embed': call wine_gpt.finetune_embeddings"),
        ("finetune", ("run", "finetune/classify.yaml"), {"label": "x"}, "config: task is 'classify': call"),
        ("finetune", ("run",), {"variety": "x", "task": "classify"}, "config: task is 'classify': call"),
    ],
)
def test_a_wrong_argument_is_a_user_error(
    function: str, arguments: Sequence[object], settings: dict[str, Any], message: str
) -> None:
    assert refused(getattr(wine_gpt, function), *arguments, **settings).startswith(message)


def test_texts_and_numbers_of_other_libraries_are_taken(toy_run: Path) -> None:
    prompts: Any = pd.Series(["wine review", "wine"])
    settings: dict[str, Any] = {"seed": np.int64(3), "max_new_tokens": 2}
    assert wine_gpt.generate(toy_run, prompts, **settings) == wine_gpt.generate(toy_run, [*prompts], **settings)


def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer without [PAD], as GPT-2's, whose end of text is in the toy model's vocabulary."""
    core = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "<|endoftext|>": 2}, merges=[]))
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def test_a_tokenizer_without_padding_continues_prompts_of_different_lengths(model: PreTrainedModel) -> None:
    tokenizer = gpt2_tokenizer()
    texts = wine_gpt.generate((model, tokenizer), ["abab", "a"], seed=1, max_new_tokens=2, do_sample=False)
    alone = [wine_gpt.generate((model, tokenizer), text, max_new_tokens=2, do_sample=False) for text in ("abab", "a")]
    assert texts == alone
    assert tokenizer.pad_token is None


@pytest.mark.parametrize("call", [wine_gpt.generate, wine_gpt.explain])
def test_a_model_and_its_tokenizer_in_the_wrong_order_are_a_user_error(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, call: Callable[..., object]
) -> None:
    swapped: Any = (tokenizer, model)
    assert refused(call, swapped, "wine review").endswith(" is no Module: name (model, tokenizer) in this order")


@pytest.mark.parametrize("is_training", [True, False])
def test_a_model_keeps_its_mode(toy_run: Path, tokenizer: PreTrainedTokenizerFast, is_training: bool) -> None:
    model = load_model(toy_run).train(is_training)
    wine_gpt.generate((model, tokenizer), "wine review", max_new_tokens=1)
    wine_gpt.explain((model, tokenizer), "wine review", max_new_tokens=1)
    wine_gpt.ask((model, tokenizer), "wine review :", "wine with", ["plum", "oak"])
    assert model.training is is_training


def test_a_models_prefix_stands_in_place_of_the_review(toy_run: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    asked = ("wine review : italy : tuscany : riesling :", "wine with", ["plum", "oak"])
    of_folder, loaded = wine_gpt.ask(toy_run, *asked), (load_model(toy_run), tokenizer)
    assert wine_gpt.ask(loaded, *asked, prefix="wine review") == of_folder
    assert wine_gpt.ask(loaded, *asked) == wine_gpt.ask(toy_run, *asked, prefix="")
    assert wine_gpt.ask(loaded, *asked) != of_folder


def test_a_model_of_a_folder_is_on_the_device_of_accelerate(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    with restored_state():
        assert load_on_device(toy_run)[0].device.type == "meta"


def test_no_prompts_give_no_texts(toy_run: Path) -> None:
    assert wine_gpt.generate(toy_run, []) == []


def test_the_switches_are_those_of_the_command_publish() -> None:
    options = vars(read_arguments(["run", "--repo", "org/x"]))
    switches = {name for name, value in options.items() if value is False} | {"onnx", "index", "epochs"}
    assert switches | {"resume", "overwrite"} == SWITCHES.keys()
    assert FLAG.sub(_keyword, "publish without --epochs, or with --no-index") == (
        "publish without epochs=True, or with index=False"
    )

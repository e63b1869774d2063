"""A damaged or changed folder of a model or an adapter gets one line that names the file."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.refused import refused
from support.space_model import write_adapter
from transformers import BloomConfig, BloomForCausalLM, PreTrainedTokenizerFast

from wine_gpt.config import FinetuneConfig, LoraConfig, ModelConfig, PretrainConfig, TokenizerConfig
from wine_gpt.config_io import to_yaml
from wine_gpt.finetuning.base import load_base
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.pretrained import load_model, load_model_and_tokenizer
from wine_gpt.tokenizer.files import vocabulary_sha256

Tensors = dict[str, torch.Tensor]
Change = Callable[[Tensors], Tensors]
LAYER = "transformer.h.1.ln_1.bias"
TOY_SHAPE = ModelConfig(n_layer=2, n_head=2, n_embd=32, n_inner=64, block_size=64)
ADAPTER = LoraConfig(rank=2, alpha=8, targets=("c_attn",))


@pytest.fixture
def folder(toy_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the toy model, without a record of its run; each test changes a file."""
    return Path(shutil.copytree(toy_run, tmp_path / "model"))


@pytest.fixture
def recorded(folder: Path) -> Path:
    """Return the model with the config of the run that trained it."""
    (folder / "config.yaml").write_text(to_yaml(PretrainConfig(model=TOY_SHAPE)), encoding="utf-8")
    return folder


@pytest.fixture
def adapter(toy_run: Path, tmp_path: Path) -> Path:
    """Return an adapter of the toy model."""
    write_adapter(toy_run, tmp_path / "adapter", seed=0)
    return tmp_path / "adapter"


def change_json(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def change_tensors(file: Path, change: Change) -> None:
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_layer", "1", "Field 'n_layer' expected int, got str (value: '1')"),
        ("n_layer", 0, "n_layer is 0: must be at least 1"),
        ("n_layer", 10**9, "describes a gpt2 of 1,000,000,000 parameters"),
        ("n_head", 0, "n_head is 0: must be at least 1"),
        ("n_head", 3, "must be divisible by num_heads"),
        ("layer_norm_epsilon", float("nan"), "layer_norm_epsilon is nan: must be from 1e-12 to 0.1"),
        ("layer_norm_epsilon", -1.0, "layer_norm_epsilon is -1.0"),
        ("activation_function", "gleu", "unknown value 'gleu'"),
        ("model_type", "llama", "describes a llama of"),
        ("model_type", "gtp2", "model type `gtp2`"),
        ("n_embd", 10**10, "overflowed"),
        ("n_positions", 10**9, "they do not belong together"),
        ("pad_token_id", -5, "pad_token_id is -5: must be ids of tokens, 0 to"),
        ("eos_token_id", 10**6, "eos_token_id is 1000000"),
        ("dtype", "int8", "not a floating-point dtype"),
        ("quantization_config", {"quant_method": "bitsandbytes"}, "quantized weights are not supported"),
    ],
)
def test_a_config_that_no_model_can_have_names_its_field(
    folder: Path, field: str, value: object, message: str
) -> None:
    change_json(folder / "config.json", **{field: value})
    error = refused(load_model, folder)
    assert error.startswith(f"model: {folder / 'config.json'}")
    assert message in error


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_head", 4), ("activation_function", "relu"), ("scale_attn_weights", False), ("layer_norm_epsilon", 1e-3)],
)
def test_a_config_that_changes_what_the_weights_compute_is_compared_with_the_runs(
    recorded: Path, field: str, value: object
) -> None:
    load_model(recorded)
    before = json.loads((recorded / "config.json").read_text(encoding="utf-8"))[field]
    change_json(recorded / "config.json", **{field: value})
    error = refused(load_model, recorded)
    assert f"config.json: {field} is {value!r}, but by config.yaml the weights were trained with {before!r}" in error


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", "hot", "temperature is 'hot': must be a number from 1e-06 to 1e+06"),
        ("temperature", -1, "temperature is -1"),
        ("temperature", 1e-320, "temperature is 1e-320"),
        ("temperature", True, "temperature is True"),
        ("top_p", float("nan"), "top_p is nan"),
        ("top_k", 1.5, "top_k is 1.5: must be an integer at least 0"),
        ("num_beams", "4", "num_beams is '4': must be an integer from 1 to 1000"),
        ("num_beams", 10**9, "num_beams is 1000000000: must be an integer from 1 to 1000"),
        ("max_length", 0, "max_length is 0"),
        ("do_sample", "yes", "do_sample is 'yes': must be true or false"),
        ("suppress_tokens", [10**6], "suppress_tokens is [1000000]: must be ids of tokens"),
        ("eos_token_id", "end", "eos_token_id is 'end'"),
        ("cache_implementation", "x", "cache_implementation"),
    ],
)
def test_a_wrong_sampling_default_names_its_field(folder: Path, field: str, value: object, message: str) -> None:
    change_json(folder / "generation_config.json", **{field: value})
    error = refused(load_model, folder)
    assert error.startswith(f"model: {folder / 'generation_config.json'}: ")
    assert message in error


def renamed(tensors: Tensors) -> Tensors:
    return {name.replace("ln_1.bias", "ln_x.bias").replace("lora_A", "lora_X"): t for name, t in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, f"missing transformer.h.0.ln_1.bias, {LAYER}"),
        (lambda tensors: {**tensors, "x": torch.zeros(1)}, "unexpected x"),
        (lambda tensors: {**tensors, LAYER: torch.zeros(2)}, f"mismatched {LAYER}"),
        (lambda tensors: {**tensors, LAYER: tensors[LAYER].to(torch.int8)}, f"{LAYER} is of type I8, not a float"),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder: Path, change: Change, message: str) -> None:
    change_tensors(folder / "model.safetensors", change)
    assert message in refused(load_model, folder)


def test_a_head_that_differs_from_tied_embeddings_is_refused(folder: Path) -> None:
    embeddings = load_file(folder / "model.safetensors")["transformer.wte.weight"]
    change_tensors(folder / "model.safetensors", lambda tensors: {**tensors, "lm_head.weight": embeddings.clone()})
    load_model(folder)
    change_tensors(folder / "model.safetensors", lambda tensors: {**tensors, "lm_head.weight": -embeddings})
    assert "tie_word_embeddings of config.json is true, but the weights have another lm_head.weight than " in refused(
        load_model, folder
    )
    change_json(folder / "config.json", tie_word_embeddings=False)
    load_model(folder)


def test_a_lowered_number_of_layers_is_refused(folder: Path) -> None:
    change_json(folder / "config.json", n_layer=1)
    assert "unexpected transformer.h.1.attn.c_attn.weight, " in refused(load_model, folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_in_other_floats_load(folder: Path, dtype: torch.dtype) -> None:
    change_tensors(folder / "model.safetensors", lambda tensors: {name: t.to(dtype) for name, t in tensors.items()})
    load_model(folder)


def test_gpt2s_masks_in_old_files_are_ignored(folder: Path) -> None:
    mask = torch.ones(1, 1, 64, 64, dtype=torch.uint8)
    change_tensors(folder / "model.safetensors", lambda tensors: {**tensors, "transformer.h.0.attn.bias": mask})
    load_model(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "https://huggingface.co/org/wine-gpt",
            "no such folder: https://huggingface.co/org/wine-gpt; the model's id on",
        ),
        ("x/" * 200, "no such folder: "),
        ("", "no such folder: "),
    ],
)
def test_what_is_no_folder_gets_one_line(name: str, message: str) -> None:
    for load in (load_model, load_base):
        assert message in refused(load, name)


def test_the_folder_around_a_model_names_it(folder: Path) -> None:
    assert f"it has no config.json; its folder model holds one: name {folder}" in refused(load_model, folder.parent)


def test_special_tokens_that_differ_are_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    swapped = {"bos_token_id": config["eos_token_id"], "eos_token_id": config["bos_token_id"]}
    change_json(folder / "config.json", **swapped)
    assert f"bos_token_id is {config['bos_token_id']} in the tokenizer, {config['eos_token_id']} in config.json" in (
        refused(load_model_and_tokenizer, folder)
    )


def swap_words(file: Path) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary["plum"], vocabulary["cherry"] = vocabulary["cherry"], vocabulary["plum"]
    file.write_text(json.dumps(content), encoding="utf-8")


def test_swapped_ids_of_two_words_are_found(
    folder: Path, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = {"vocabulary_sha256": vocabulary_sha256(tokenizer), "data_fingerprint": "x"}
    (folder / "metrics.json").write_text(json.dumps(recorded))
    load_model_and_tokenizer(folder)
    assert caplog.messages == []
    swap_words(folder / "tokenizer.json")
    load_model_and_tokenizer(folder)
    (message,) = caplog.messages
    assert message.startswith(f"tokenizer: the words of {folder / 'tokenizer.json'} or their ids are not those that")
    # training on them would waste hours
    (folder / "config.yaml").write_text(to_yaml(PretrainConfig(model=TOY_SHAPE)), encoding="utf-8")
    assert "restore the file" in refused(load_base, str(folder))


def test_another_pre_tokenizer_than_the_runs_is_found(
    recorded: Path, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = {"vocabulary_sha256": vocabulary_sha256(tokenizer), "data_fingerprint": "x", "training": {}}
    (recorded / "metrics.json").write_text(json.dumps(metrics))
    load_model_and_tokenizer(recorded)
    assert caplog.messages == []
    # punctuation would be part of its word
    change_json(recorded / "tokenizer.json", pre_tokenizer={"type": "WhitespaceSplit"})
    load_model_and_tokenizer(recorded)
    (message,) = caplog.messages
    assert message.startswith(f"tokenizer: the pre_tokenizer of {recorded / 'tokenizer.json'} is not that of the")
    assert "gets other words than in training" in refused(load_base, str(recorded))
    # a tokenizer of another package may divide texts by any rule
    other = PretrainConfig(model=TOY_SHAPE, tokenizer=TokenizerConfig(path="other"))
    (recorded / "config.yaml").write_text(to_yaml(other), encoding="utf-8")
    caplog.clear()
    load_model_and_tokenizer(recorded)
    assert caplog.messages == []


def test_a_tokenizers_length_that_is_no_number_is_named(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", model_max_length="many")
    assert "model_max_length of tokenizer_config.json is 'many'" in refused(load_model_and_tokenizer, folder)


@pytest.mark.parametrize(
    ("stage", "value", "message"),
    [
        ("pre_tokenizer", None, "has no pre_tokenizer, which separates words: restore the file"),
        ("normalizer", None, "has no normalizer that lower-cases, as its words are: restore the file"),
        ("normalizer", {"type": "NFC"}, "has no normalizer that lower-cases"),
        ("normalizer", {"type": "Sequence", "normalizers": []}, "has no normalizer that lower-cases"),
        ("decoder", None, "has no decoder, which joins words: restore the file"),
    ],
)
def test_a_tokenizer_that_lost_a_stage_is_refused(folder: Path, stage: str, value: object, message: str) -> None:
    change_json(folder / "tokenizer.json", **{stage: value})
    assert message in refused(load_model_and_tokenizer, folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("unk_token", "[OTHER]", "has no word '[OTHER]', its unk_token: restore the file"),
        ("plum", 5, "has two words with one id: restore the file"),
        ("plum", 10**6, "the tokenizer has a word with the id 1,000,000, the model"),
    ],
)
def test_a_vocabulary_that_no_text_can_be_read_with_is_refused(
    folder: Path, key: str, value: object, message: str
) -> None:
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    changed = {**model, key: value} if key in model else {**model, "vocab": {**model["vocab"], key: value}}
    change_json(folder / "tokenizer.json", model=changed)
    assert message in refused(load_model_and_tokenizer, folder)


def test_a_model_without_a_number_of_positions_is_refused(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    shape = BloomConfig(vocab_size=len(tokenizer), hidden_size=8, n_layer=1, n_head=1, **special)
    BloomForCausalLM(shape).save_pretrained(folder)
    line = f"model: {folder}: its config has no number of positions (max_position_embeddings)"
    assert refused(load_model_and_tokenizer, folder) == line


def test_a_folder_in_place_of_a_tokenizers_file_is_named(folder: Path) -> None:
    (folder / "special_tokens_map.json").mkdir()
    line = f"can't read {folder / 'special_tokens_map.json'}: Is a directory"
    assert line in refused(load_model_and_tokenizer, folder)


def test_metrics_without_results_are_named(recorded: Path) -> None:
    (recorded / "metrics.json").write_text("{}")
    assert f"{recorded / 'metrics.json'} has no training: restore it" in refused(load_model, recorded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, "missing base_model.model.transformer.h.0.attn.c_attn.lora_A.weight, "),
        (lambda tensors: dict(list(tensors.items())[1:]), "missing base_model.model.transformer.h.0"),
        (lambda tensors: {**tensors, "x": torch.zeros(1)}, "unexpected x"),
        (lambda tensors: {name: t.to(torch.int8) for name, t in tensors.items()}, "is of type I8, not a float"),
    ],
)
def test_an_adapters_tensors_that_do_not_fit_are_named(adapter: Path, change: Change, message: str) -> None:
    change_tensors(adapter / "adapter_model.safetensors", change)
    assert message in refused(load_model, adapter)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("peft_type", "IA3", "missing base_model.model.transformer.h.0.attn.c_attn.ia3_l"),
        ("peft_type", "LORRA", "unknown value 'LORRA'"),
        ("lora_alpha", "x", "adapter_config.json: lora_alpha is 'x': must be a number"),
        ("lora_alpha", float("nan"), "adapter_config.json: lora_alpha is nan"),
        ("r", 0, "adapter_config.json: r is 0: must be an integer at least 1"),
        ("layers_to_transform", [0], "unexpected base_model.model.transformer.h.1"),
        ("use_dora", True, "missing base_model.model.transformer.h.0.attn.c_attn.lora_magnitude_vector"),
    ],
)
def test_an_adapters_config_that_does_not_fit_is_named(adapter: Path, field: str, value: object, message: str) -> None:
    change_json(adapter / "adapter_config.json", **{field: value})
    assert message in refused(load_model, adapter)


@pytest.mark.parametrize(
    ("field", "value"), [("lora_alpha", 800), ("use_rslora", True), ("alpha_pattern", {"c_attn": 400})]
)
def test_an_adapter_is_compared_with_its_runs_config(adapter: Path, field: str, value: Any) -> None:  # noqa: ANN401
    own = to_yaml(FinetuneConfig(value="riesling", lora=ADAPTER))
    (adapter / "finetune.yaml").write_text(own, encoding="utf-8")
    load_model(adapter)
    change_json(adapter / "adapter_config.json", **{field: value})
    assert f"{field} is {value!r}, but by finetune.yaml the weights were trained with" in refused(load_model, adapter)


def test_a_model_larger_than_memory_is_refused_before_it_is_built(tokenizer: PreTrainedTokenizerFast) -> None:
    huge = ModelConfig(n_layer=100, n_embd=2**16, n_inner=2**18)
    assert "parameters take 20,6" in refused(build_model, huge, tokenizer, seed=0)


def test_an_adapter_of_an_adapter_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    for first, second in ((adapter, adapter), (adapter, other)):
        change_json(first / "adapter_config.json", base_model_name_or_path=os.fspath(second))
        assert f"its base {second} is itself an adapter" in refused(load_model, adapter)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Path]:
    """Return a function that puts a folder into the Hub's cache under a name, where it is found offline."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", tmp_path / "hub")

    def put(folder: Path, name: str) -> Path:
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        return Path(shutil.copytree(folder, repository / "snapshots" / ("0" * 40)))

    return put


def test_a_model_of_the_hub_gets_the_same_checks(folder: Path, hub_cache: Callable[[Path, str], Path]) -> None:
    snapshot = hub_cache(folder, "org/wine-gpt")
    load_model_and_tokenizer("org/wine-gpt")
    change_tensors(snapshot / "model.safetensors", lambda tensors: {**tensors, LAYER: tensors[LAYER].to(torch.int8)})
    assert f"{LAYER} is of type I8, not a float" in refused(load_model, "org/wine-gpt")
    change_json(snapshot / "config.json", n_layer=10**9)
    assert "describes a gpt2 of 1,000,000,000 parameters" in refused(load_model, "org/wine-gpt")
    (snapshot / "model.safetensors").unlink()
    assert "has no model.safetensors" in refused(load_model, "org/wine-gpt")


def test_an_adapter_of_the_hub_is_merged_into_its_base(
    folder: Path, adapter: Path, hub_cache: Callable[[Path, str], Path]
) -> None:
    expected = load_model(adapter)
    hub_cache(folder, "org/wine-gpt")
    snapshot = hub_cache(adapter, "org/wine-gpt-riesling")
    change_json(snapshot / "adapter_config.json", base_model_name_or_path="org/wine-gpt")
    loaded = load_model("org/wine-gpt-riesling")
    torch.testing.assert_close(loaded.state_dict(), expected.state_dict())
    change_tensors(snapshot / "adapter_model.safetensors", renamed)
    assert "missing base_model.model.transformer.h.0" in refused(load_model, "org/wine-gpt-riesling")
    change_json(snapshot / "adapter_config.json", base_model_name_or_path="org/wine-gpt-riesling")
    assert "is itself an adapter" in refused(load_model, "org/wine-gpt-riesling")


def test_a_model_that_is_nowhere_gets_one_line(hub_cache: Callable[[Path, str], Path]) -> None:
    assert refused(load_model, "org/x").startswith(
        "model: no such folder: org/x; nor can it be downloaded from the Hub: "
    )

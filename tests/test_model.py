"""The model agrees with its tokenizer, and nothing unsafe, damaged or mismatched is loaded."""

import json
import pickle
import re
import resource
import shutil
import signal
import struct
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from support.refused import refused as refused_call
from support.system_faults import run_in_subprocess
from tokenizers import Tokenizer, models
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from wine_gpt.config import GenerationDefaults, ModelConfig
from wine_gpt.data.batching import IGNORED, Batch
from wine_gpt.errors import UserError
from wine_gpt.files import writing
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.pretrained import load_model, save_model

SMALL = ModelConfig(n_layer=2, n_head=2, n_embd=16, n_inner=32, block_size=24, dropout=0.1)


def save_beyond_a_limit(folder: Path) -> str:
    """Save a model where no file may have more than 1,000 bytes; return the error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    model = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=8, n_embd=8, n_layer=1, n_head=1))
    with pytest.raises(UserError) as error, writing(folder):
        save_model(folder, model, PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel())))
    return str(error.value)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_model_that_does_not_fit_on_the_disk_is_one_line(tmp_path: Path) -> None:
    message = run_in_subprocess(save_beyond_a_limit, tmp_path)
    assert re.fullmatch(rf"can't write {tmp_path}: .*File too large.*; [\d,]+ bytes free", message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shown", [True, False])
def test_loading_leaves_the_callers_progress_bars_as_they_were(toy_run: Path, shown: bool) -> None:
    (enable_progress_bar if shown else disable_progress_bar)()
    try:
        load_model(toy_run)
        assert is_progress_bar_enabled() == shown
    finally:
        enable_progress_bar()


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    words = ["[PAD]", "[UNK]", "wine", "review", ":", "plum", "[BOS]", "[EOS]"]
    vocabulary = {word: index for index, word in enumerate(words)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
    )


@pytest.fixture
def folder(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    build_model(SMALL, tokenizer, seed=1).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_special_tokens_agree_everywhere(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_model(SMALL, tokenizer, seed=1)
    for config in (model.config, model.generation_config):
        assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (6, 7, 0)
    assert model.config.vocab_size == len(tokenizer) == 8
    assert set(model.generation_config.suppress_tokens) == {0, 1, 6}


def test_words_are_sampled_from_the_whole_vocabulary(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Without top_k in the generation config, transformers samples from the 50 likeliest words only."""
    tokenizer.add_tokens([f"word{number}" for number in range(192)])
    # an untrained model gives each word about the same probability
    build_model(SMALL, tokenizer, seed=1).save_pretrained(folder)
    torch.manual_seed(0)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    drawn = loaded.generate(torch.full((2000, 1), 6), max_length=2)[:, 1].tolist()
    assert len(set(drawn)) > 150


def test_the_sampling_defaults_are_the_configs(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    build_model(SMALL, tokenizer, 1, GenerationDefaults(temperature=0.7, top_p=0.8, top_k=3)).save_pretrained(tmp_path)
    config = AutoModelForCausalLM.from_pretrained(tmp_path).generation_config
    assert (config.do_sample, config.temperature, config.top_p, config.top_k) == (True, 0.7, 0.8, 3)


def test_the_shape_is_the_configs(tokenizer: PreTrainedTokenizerFast) -> None:
    config = build_model(SMALL, tokenizer, seed=1).config
    assert (config.n_layer, config.n_head, config.n_embd, config.n_inner) == (2, 2, 16, 32)
    assert config.n_positions == 24
    assert {config.attn_pdrop, config.embd_pdrop, config.resid_pdrop} == {0.1}


def test_weights_depend_on_the_seed_only(tokenizer: PreTrainedTokenizerFast) -> None:
    first, again, other = (build_model(SMALL, tokenizer, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["transformer.wte.weight"], other["transformer.wte.weight"])


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_and_its_gradients_equal_transformers_own(tokenizer: PreTrainedTokenizerFast, tied: bool) -> None:
    model = build_model(SMALL, tokenizer, seed=1).eval()
    if not tied:
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    ids = torch.tensor([[6, 2, 3, 4, 5, 7], [6, 2, 5, 7, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    theirs = model(ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, IGNORED)).loss
    theirs.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    labels = ids[:, 1:].masked_fill(mask[:, 1:] == 0, IGNORED)
    module = LanguageModelLoss(model)
    ours = module(ids[:, :-1], labels) / 8
    ours.backward()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6, msg=name)
    losses = module.token_losses(Batch(ids[:, :-1], labels))
    assert losses.sum().item() / 8 == pytest.approx(theirs.item(), rel=1e-5)
    assert losses[1, 3:].tolist() == [0, 0]


@pytest.mark.parametrize("training", [True, False])
def test_no_review_changes_the_loss_of_another(tokenizer: PreTrainedTokenizerFast, training: bool) -> None:
    module = LanguageModelLoss(build_model(SMALL, tokenizer, seed=1))
    module.train(training)
    ids = torch.tensor([[6, 2, 3, 4, 5], [6, 2, 5, 5, 7], [6, 5, 4, 3, 2]])
    labels = torch.tensor([[2, 3, 4, 5, 7], [2, 5, 5, 7, IGNORED], [5, 4, 3, 2, 7]])
    changed = ids.clone()
    changed[1] = torch.tensor([6, 4, 4, 3, 3])

    def losses(input_ids: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return module.token_losses(Batch(input_ids, labels))

    before, after = losses(ids), losses(changed)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_a_saved_model_loads(folder: Path) -> None:
    assert isinstance(load_model(folder), GPT2LMHeadModel)
    assert type(AutoModelForCausalLM.from_pretrained(folder)).__name__ == "GPT2LMHeadModel"


def refused(folder: Path) -> str:
    return refused_call(load_model, folder)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "none")
    assert "holds no model: it has no config.json" in refused(tmp_path)
    (tmp_path / "checkpoints" / "step-00000001").mkdir(parents=True)
    assert refused(tmp_path).endswith("; its training is not finished: --resume continues it")


def test_a_mistyped_run_is_not_looked_for_on_the_hub(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for there in (False, True):
        if there:
            shutil.copytree(folder, tmp_path / "runs" / "recetas")
        for name, advice in (
            ("recetas", "did you mean runs/recetas?" if there else "a model on the Hub is named owner/name"),
            ("runs/recetsa", "did you mean runs/recetas?" if there else "train it first: pretrain with --output_dir"),
            ("runs/other", "train it first: pretrain with --output_dir runs/other"),
            ("sub/../recetas", "did you mean runs/recetas?" if there else ""),
        ):
            assert f"no such folder: {name}" in refused(Path(name))
            assert advice in refused(Path(name))


def test_an_unreachable_hub_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    # the message of transformers, after retries of more than a minute, is another one
    assert refused(Path("org/wine-gpt")).startswith(
        "model: no such folder: org/wine-gpt; nor can it be downloaded from the Hub: "
    )


def test_a_pickle_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (sentinel,)  # type: ignore[return-value]

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    assert "pytorch_model.bin, a pickle" in refused(folder)
    assert not sentinel.exists()


def test_code_in_the_folder_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(sentinel)!r}, 'w')")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    assert "auto_map" in refused(folder)
    assert not sentinel.exists()


def test_a_truncated_file_is_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert str(file) in refused(folder)


def with_header(file: Path, change: str, old: str) -> None:
    """Replace text of equal length in a safetensors header."""
    content = file.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = content[8 : 8 + size].decode()
    assert old in header
    file.write_bytes(content[:8] + header.replace(old, change, 1).encode() + content[8 + size :])


def test_a_header_with_a_wrong_shape_is_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    with_header(file, "[16,8]", "[8,16]")
    message = refused(folder)
    assert str(folder) in message
    assert "wte" in message


def test_tensors_that_overlap_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    same_shape = [name for name in names if header[name]["shape"] == [16]]
    header[same_shape[0]]["data_offsets"] = header[same_shape[1]]["data_offsets"]
    encoded = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + size :])
    assert str(file) in refused(folder)


def test_weights_that_are_not_numbers_are_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["transformer.h.1.ln_1.bias"][3] = torch.nan
    save_file(tensors, file, metadata={"format": "pt"})
    message = refused(folder)
    assert "transformer.h.1.ln_1.bias" in message
    assert "NaN" in message


def test_a_missing_tensor_is_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["transformer.h.0.mlp.c_fc.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    assert "transformer.h.0.mlp.c_fc.weight" in refused(folder)


def test_a_broken_config_is_named(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert str(folder / "config.json") in refused(folder)

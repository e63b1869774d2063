"""Test settings from YAML and the command line: what is accepted, and the one-line errors."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from wine_gpt.config import PretrainConfig, ScoreConfig
from wine_gpt.config_io import parse_config, to_yaml
from wine_gpt.errors import UserError
from wine_gpt.run_folder import base_of, data_settings

ROOT = Path(__file__).parents[1]


def parse(*arguments: str) -> PretrainConfig:
    return parse_config(PretrainConfig, arguments)


def test_flags_override_the_file_which_overrides_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("training:\n  learning_rate: 3e-4\n  epochs: 9\n")
    config = parse(str(file), "--training.epochs", "2", "--data.path=a=b.json")
    assert config.training.learning_rate == 3e-4
    assert config.training.epochs == 2
    assert config.data.path == "a=b.json"
    assert config.model == PretrainConfig().model


def test_a_saved_config_repeats_the_run(tmp_path: Path) -> None:
    config = parse("--data.prompt_fields", "cuisine, dish", "--data.text_field", "method", "--tokenizer.path", "null")
    assert config.data.prompt_fields == ("cuisine", "dish")
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert parse(str(file)) == config


@pytest.mark.parametrize("text", ["no", "2017", "wine review : us", "{a: b}", "1e5"])
def test_text_is_taken_literally(text: str) -> None:
    assert parse("--data.prefix", text).data.prefix == text


def test_bare_resume_means_the_newest_checkpoint() -> None:
    assert parse("--resume").resume == "latest"
    assert parse("--resume", "--output_dir", "x").output_dir == "x"
    assert parse("--resume", "runs/x/checkpoints/step-00000010").resume == "runs/x/checkpoints/step-00000010"
    assert parse().resume is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.n_layr", "2"], "unknown key model.n_layr; did you mean model.n_layer?"),
        (["--model.n_layer", "four"], "`model.n_layer`: Couldn't parse 'four' into an int"),
        (["--model.n_layer", "2.5"], "`model.n_layer`"),
        (["--model.n_layer", "0"], "model.n_layer is 0"),
        (["--model.n_embd", "130"], "model.n_embd is 130: must be a multiple of model.n_head, 4"),
        (["--model.block_size", "0"], "model.block_size is 0"),
        (["--model.dropout", "1"], "model.dropout is 1"),
        (["--generation.temperature", "0"], "generation.temperature is 0.0: must be above 0 and finite"),
        (["--generation.temperature", ".inf"], "generation.temperature is inf: must be above 0 and finite"),
        (["--generation.top_p", "1.5"], "generation.top_p is 1.5: must be in (0, 1]"),
        (["--generation.top_k", "-1"], "generation.top_k is -1: must not be negative"),
        (["--tokenizer.vocab_size", "2"], "tokenizer.vocab_size is 2: must be at least 3"),
        (["--training.learning_rate", "nan"], "training.learning_rate"),
        (["--training.learning_rate", "-1"], "training.learning_rate is -1"),
        (
            ["--training.mixed_precision", "bf17"],
            "training.mixed_precision is 'bf17': must be one of auto, no, bf16, fp16",
        ),
        (["--training.optimizer", "moun"], "training.optimizer is 'moun': must be one of adamw, muon"),
        (["--training.trackers", "wandb,tensorbord"], "training.trackers is 'tensorbord'"),
        (["--training.micro_batches", "0"], "training.micro_batches is 0"),
        (["--data.validation_fraction", "0.6", "--data.test_fraction", "0.6"], "must be below 1"),
        (["--data.prompt_fields", "country,country"], "a column is named twice"),
        (["--resume", "--overwrite"], "can't go together"),
        (["--output_dir"], "--output_dir needs a value"),
        (["--output_dir", "x", "stray"], "'stray' is no flag"),
        (["no-such.yaml"], "can't read no-such.yaml"),
    ],
)
def test_wrong_flags_get_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        parse(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model: {n_layr: 2}", "unknown key model.n_layr; did you mean model.n_layer?"),
        ("model: 3", "unknown key model"),
        ("training: {mixed_precision: no}", "use quotes"),
        ("data: {prompt_fields: country}", "must be a list"),
        ("model: [", "is not YAML"),
        ("- a", "must hold"),
    ],
)
def test_wrong_files_get_one_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(content)
    with pytest.raises(UserError) as error:
        parse(str(file))
    assert message in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_config_in_the_repository_is_valid(file: Path) -> None:
    assert parse(str(file)).output_dir == f"runs/{file.stem}"


def test_the_data_settings_of_a_run_are_the_defaults_of_scoring(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = parse("--data.prompt_fields", "cuisine, dish", "--data.split_seed", "7", "--data.prefix", "recipe")
    (run / "config.yaml").write_text(to_yaml(config))
    own = data_settings(run)
    assert parse_config(ScoreConfig, ["--model", "m"], defaults=own).data == config.data
    flags = ["--model", "m", "--data.split_seed", "8"]
    assert parse_config(ScoreConfig, flags, defaults=own).data == dataclasses.replace(config.data, split_seed=8)
    assert data_settings(tmp_path) == {}


def test_only_the_data_section_of_a_run_needs_known_keys(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: {split_seed: 3}\ntraining: {optimiser_of_tomorrow: 1}\nnew: 2\n")
    assert data_settings(tmp_path) == {"data.split_seed": 3}
    (tmp_path / "config.yaml").write_text("data: {split_sed: 3}\n")
    with pytest.raises(UserError, match=r"config\.yaml: unknown key data\.split_sed; did you mean data\.split_seed"):
        data_settings(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("adapter_config.json", '{"base_model_name_or_path": "%s"}'),
        ("metrics.json", '{"method": "full", "base": {"path": "%s"}}'),
    ],
)
def test_a_fine_tuned_model_has_the_data_settings_of_its_base(tmp_path: Path, name: str, content: str) -> None:
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    for folder in (base, tuned):
        folder.mkdir()
    (base / "config.yaml").write_text("data: {split_seed: 3}\n")
    (tuned / name).write_text(content % base)
    assert base_of(tuned) == base
    assert data_settings(tuned) == {"data.split_seed": 3}


def test_a_run_that_was_trained_from_scratch_has_no_base(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"test": {}}')
    assert base_of(tmp_path) is None
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics\.json is not JSON"):
        base_of(tmp_path)


def test_a_script_ends_with_one_line_and_exit_code_2() -> None:
    command = [sys.executable, "scripts/pretrain.py", "--model.n_layer", "four"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 2
    assert ended.stderr == "error: config: `model.n_layer`: Couldn't parse 'four' into an int\n"

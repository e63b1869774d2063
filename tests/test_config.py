"""Test settings from YAML and the command line: what is accepted, and the one-line errors."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from support.refused import refused

from wine_gpt.base_model import base_of, data_settings
from wine_gpt.config import DistillConfig, FinetuneConfig, PretrainConfig, ScoreConfig
from wine_gpt.config_io import config_from_settings, leaf_types, parse_config, to_flat, to_yaml
from wine_gpt.errors import UserError
from wine_gpt.model_path import local_folder
from wine_gpt.training.fitting_config import describe_fitting_config

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
    assert parse("--data.text_field", text).data.text_field == text


def test_a_tilde_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = parse("--output_dir=~/base", "--tokenizer.path", "~/words", "--resume", "~/base/checkpoints/step-1")
    assert config.output_dir == f"{tmp_path}/base"
    assert config.tokenizer.path == f"{tmp_path}/words"
    assert config.resume == f"{tmp_path}/base/checkpoints/step-1"
    assert parse("--data.prefix", "~/base").data.prefix == "~/base"
    tuned = parse_config(FinetuneConfig, ["--base", "~/base", "--variety", "all"])
    assert tuned.base == f"{tmp_path}/base"
    assert parse_config(ScoreConfig, ["--model", "~/base"]).model == f"{tmp_path}/base"
    (tmp_path / "base").mkdir()
    assert local_folder("~/base") == tmp_path / "base"


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
        (["--generation.temperature", "0"], "generation.temperature is 0.0: must be from 0.01 to 100"),
        (["--generation.temperature", ".inf"], "generation.temperature is inf: must be from 0.01 to 100"),
        (["--generation.temperature", "1e-320"], "generation.temperature is 1e-320: must be from 0.01 to 100"),
        (["--model.n_layer", "100000000"], "model.n_layer is 100000000: must be at most 1,000"),
        (["--model.block_size", "2000000"], "model.block_size is 2000000: must be at most 1,048,576"),
        (["--data.max_characters", "5000000000"], "data.max_characters is 5000000000: must be at most 4,294,967,295"),
        (["--data.encoding", "utf\0"], r"data.encoding is 'utf\x00': must not hold a NUL character"),
        ([300 * "x" + ".yaml"], "x.yaml: no such file"),
        ([""], "the name of the config is empty: name a file, or leave it out"),
        (["finetune/lora.yaml"], "lora.yaml: method is no setting of this command, but of finetune"),
        (["--variety", "Riesling"], "command line: variety is no setting of this command, but of finetune"),
        (["--generation.top_p", "1.5"], "generation.top_p is 1.5: must be in (0, 1]"),
        (["--generation.top_k", "-1"], "generation.top_k is -1: must not be negative"),
        (["--tokenizer.vocab_size", "2"], "tokenizer.vocab_size is 2: must be at least 3"),
        (["--training.learning_rate", "nan"], "training.learning_rate"),
        (["--training.learning_rate", "-1"], "training.learning_rate is -1"),
        (["--training.learning_rate", ".inf"], "training.learning_rate is inf: must not be negative or infinite"),
        (["--training.epochs", ""], "--training.epochs is empty: write a value (int), or leave the flag out"),
        (["--training.epochs", "null"], "`training.epochs`: Couldn't parse 'null' into an int"),
        (["--tokenizer.path="], "--tokenizer.path is empty: write null, or leave the flag out"),
        (
            ["--training.mixed_precision", "bf17"],
            "training.mixed_precision is 'bf17': must be one of auto, no, bf16, fp16",
        ),
        (["--training.optimizer", "moun"], "training.optimizer is 'moun': must be one of adamw, muon"),
        (["--training.trackers", "wandb,tensorbord"], "training.trackers is 'tensorbord'"),
        (["--training.micro_batches", "0"], "training.micro_batches is 0"),
        (["--data.validation_fraction", "0.6", "--data.test_fraction", "0.6"], "must be below 1"),
        (["--data.prompt_fields", "country,country"], "a column is named twice"),
        (["--data.prefix", "wine review:"], "data.prefix is 'wine review:': write a colon in it with a space on both"),
        (["--data.prefix", "at 12:30"], "data.prefix is 'at 12:30': write a colon in it with a space on both sides"),
        (["--resume", "--overwrite"], "can't go together"),
        (["--inherit", "base.yaml"], "command line: inherit stands in a file: name that config as the first argument"),
        (["--output_dir"], "--output_dir needs a value"),
        (["--output_dir", "x", "stray"], "'stray' is no flag"),
        (["no-such.yaml"], "can't read no-such.yaml"),
    ],
)
def test_wrong_flags_get_one_line(arguments: list[str], message: str) -> None:
    assert message in refused(parse, *arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model: {n_layr: 2}", "unknown key model.n_layr; did you mean model.n_layer?"),
        ("modle: {n_layer: 2}", "unknown key modle.n_layer; did you mean model.n_layer?"),
        ("epochs: 3", "unknown key epochs; did you mean training.epochs?"),
        ("base: base.yaml", "unknown key base; did you mean inherit?"),
        ("model: 3", "model is '3': must be a section, model: {n_layer: ...}"),
        ("training: [1]", "training is a list: must be a section, training: {epochs: ...}"),
        ("data: reviews.csv", "data is 'reviews.csv': must be a section, data: {path: ...}"),
        ("training: {mixed_precision: no}", "use quotes"),
        ("data: {prompt_fields: country}", "must be a list"),
        ("data: {missing: [NA, null]}", 'data.missing has the item null: in a list quote it: "null"'),
        ("data: {prompt_fields: [[a]]}", "data.prompt_fields is a list: must be text"),
        ("data: {path: {a: b}}", "data.path is a mapping: must be text"),
        ("training: {epochs: two}", "training.epochs is 'two': must be int"),
        ("training: {epochs: 2.5}", "training.epochs is '2.5': must be int"),
        ("training: {epochs: 1:30}", "training.epochs is '1:30': must be int"),
        ("overwrite: 1", "overwrite is '1': must be true|false"),
        ("training:\n  epochs: 1\ntraining:\n  seed: 3", "training stands twice, in lines 1 and 3"),
        ("training.epochs: 2\ntraining: {epochs: 3}", "training.epochs stands twice"),
        ("training:\n  epochs: 1\n  epochs: 2", "epochs stands twice, in lines 2 and 3"),
        ("? [a]\n: 1", "line 1: a key must be text"),
        ("- a", "must hold"),
        ("model: [", "is not YAML: line 1, column 9: while parsing a flow node"),
        ("training: {epochs: 1\n", "is not YAML: line 2, column 1: while parsing a flow mapping, expected ',' or '}'"),
        ("training:\n\tepochs: 1", "line 2, column 1: while scanning for the next token, found character"),
        ("training:\n\tepochs: 1", "indent with spaces, not tabs"),
        ("data:\n  prefix: wine: review", "line 2, column 15: mapping values are not allowed here; quote a text"),
        ('data: {path: "C:\\Users\\me"}', "use single quotes, or / in a path"),
        (
            "training: {epochs: 1}\n---\n",
            "line 2, column 1: expected a single document in the stream, but found another",
        ),
        ("training: *recipe", "line 1, column 11: found undefined alias 'recipe'"),
        ("data: {prefix: !!python/object/apply:os.getcwd []}", "has the tag !!python/object/apply:os.getcwd"),
        ("!!python/object/apply:os.getcwd []", "must hold"),
        ("data: {prefix: !env HOME}", "data.prefix has the tag !env, which is not supported"),
        ("[" * 5000, "nested too deeply"),
        ("data: &a {prompt_fields: *a}", "data.prompt_fields is a mapping: must be a list"),
    ],
)
def test_wrong_files_get_one_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(content)
    error = refused(parse, str(file))
    assert message in error
    assert str(file) in error


@pytest.mark.parametrize(("key", "annotation"), list(leaf_types(PretrainConfig)))
def test_an_empty_setting_gets_what_to_write(tmp_path: Path, key: str, annotation: object) -> None:
    file = tmp_path / "run.yaml"
    section, _, name = key.rpartition(".")
    file.write_text(f"{section}:\n  {name}:\n" if section else f"{name}:\n")
    error = refused(parse, str(file))
    advice = 'write "" for none' if key == "data.prefix" else "write "
    assert error.startswith(f"config: {file}: {key} is empty: {advice}")
    assert error.endswith(", or leave the line out")
    assert ("write null" in error) is (type(None) in get_args(annotation))


@pytest.mark.parametrize("content", ["", "null", "# nothing\n", "---\n...\n", "training:\n", "data: ~\nmodel:\n"])
def test_an_empty_section_or_file_sets_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(content)
    assert parse(str(file)) == PretrainConfig()


@pytest.mark.parametrize(
    ("content", "key", "value"),
    [
        ("training: {learning_rate: 1e-3}", "training.learning_rate", 1e-3),
        ('training: {learning_rate: "1e-3"}', "training.learning_rate", 1e-3),
        ("training: {epochs: 010}", "training.epochs", 10),
        ("training: {batch_tokens: 4_096}", "training.batch_tokens", 4096),
        ("data: {prefix: 2024}", "data.prefix", "2024"),
        ("data: {prefix: 2024-01-01}", "data.prefix", "2024-01-01"),
        ("data: {text_field: 12:30}", "data.text_field", "12:30"),
        ("data: {prefix: 0x10}", "data.prefix", "0x10"),
        ("data: {prefix: 1e5}", "data.prefix", "1e5"),
        ('data: {prefix: ""}', "data.prefix", ""),
        ("data: {path: C:\\wine.json}", "data.path", "C:\\wine.json"),
        ("data: {prompt_fields: [2020, country]}", "data.prompt_fields", ["2020", "country"]),
        ("data: {prompt_fields: []}", "data.prompt_fields", []),
        ("tokenizer: {path: null}", "tokenizer.path", None),
        ("overwrite: yes", "overwrite", True),
        ('{"training": {"epochs": 1}}', "training.epochs", 1),
        ("training: &t {epochs: 3}\ndata: {prefix: &p a, text_field: *p}", "data.text_field", "a"),
        ("training: {<<: {epochs: 3, seed: 1}, epochs: 4}", "training.epochs", 4),
        ("data: &d {<<: *d, prefix: a}", "data.prefix", "a"),
        ("training: {epochs: 7}\r\n", "training.epochs", 7),
        ("training.epochs: 7", "training.epochs", 7),
    ],
)
def test_a_value_is_read_by_the_type_of_its_setting(tmp_path: Path, content: str, key: str, value: object) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(content.encode())
    assert to_flat(parse(str(file)))[key] == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_may_be_utf_8_or_utf_16_with_its_mark(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data: {prefix: reseña 🍷}", encoding=encoding)
    assert parse(str(file)).data.prefix == "reseña 🍷"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("data:\n  prefix: reseña".encode("latin-1"), "line 2 is not utf-8: save the file as UTF-8"),
        ("data: {prefix: a}".encode("utf-16-le"), "save the file as UTF-8"),
        (b"\x1f\x8b\x08", "line 1 is not utf-8"),
    ],
)
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    error = refused(parse, str(file))
    assert f"{file}: " in error
    assert message in error


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_of_aliases_take_no_time(tmp_path: Path, form: str) -> None:
    file = tmp_path / "run.yaml"
    lines = ["x0: &x0 {a: 1}", *(f"x{n}: &x{n} {form.format(','.join([f'*x{n - 1}'] * 10))}" for n in range(1, 30))]
    file.write_text("\n".join([*lines, "data: {prefix: *x29}"]))
    with pytest.raises(UserError, match="unknown key x0"):
        parse(str(file))


def test_a_config_inherits_another_and_overrides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes.yaml").write_text("inherit: base.yaml\ndata: {prefix: recipe}\ntraining: {epochs: 3}\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "long.yaml").write_text("inherit: ../recipes.yaml\ntraining: {seed: 7}\n")
    monkeypatch.chdir(tmp_path / "sub")
    base, config = parse("base.yaml"), parse("long.yaml", "--training.batch_tokens", "512")
    assert config == dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, prefix="recipe"),
        training=dataclasses.replace(base.training, epochs=3, seed=7, batch_tokens=512),
    )
    assert config_from_settings(PretrainConfig, {"training": {"batch_tokens": 512}}, "long.yaml") == config
    assert "inherit" not in to_yaml(config)
    assert to_yaml(parse_config(PretrainConfig, ["long.yaml", "--resume"])) == to_yaml(parse("long.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("inherit: run.yaml", "run.yaml inherits run.yaml: a circle"),
        ("inherit: other.yaml", "other.yaml inherits run.yaml: a circle"),
        ("inherit: bas.yaml", "can't read bas.yaml: no such file; did you mean base.yaml? (run.yaml inherits it)"),
        ("inherit:", "run.yaml: inherit is empty: write null"),
        ("inherit: [a.yaml, b.yaml]", "run.yaml: inherit is a list: must be text"),
        ("inherit: finetune/lora.yaml", "lora.yaml: method is no setting of this command, but of finetune"),
    ],
)
def test_a_wrong_inherit_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(content)
    Path("other.yaml").write_text("inherit: run.yaml")
    assert message in refused(parse, "run.yaml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": 3}, "training is 3: must be a dict of the section's settings"),
        ({"training": [1]}, "training is [1]: must be a dict of the section's settings"),
        ({"training": "base.yaml"}, "training is 'base.yaml': must be a dict of the section's settings"),
        ({"training": {"epochs": None}}, "training.epochs is None: write a value (int), or leave it out"),
        ({"training": {"epochs": True}}, "training.epochs is True: must be int"),
        ({"data": {"prefix": None}}, 'data.prefix is None: write "" for none, or leave it out'),
        ({"data": {"prefix": ["a"]}}, "data.prefix is ['a']: must be text"),
        ({"data": {"prompt_fields": "country"}}, "data.prompt_fields is 'country': must be a list of texts, [a, b]"),
        ({"data": {"prompt_fields": [1, None]}}, "data.prompt_fields is [1, None]: must be a list of texts"),
    ],
)
def test_wrong_keyword_arguments_get_one_line(settings: dict[str, object], message: str) -> None:
    assert message in refused(config_from_settings, PretrainConfig, settings)
    assert config_from_settings(PretrainConfig, {"training": None, "data": "x.csv"}).data.path == "x.csv"


def test_a_saved_config_does_not_start_the_run_over() -> None:
    assert "overwrite" not in to_yaml(parse("--overwrite"))
    assert "resume" not in to_yaml(parse("--resume"))


@pytest.mark.parametrize(
    ("words", "name"),
    [(0, "small.yaml"), (30_000, "small.yaml"), (80_000, "small.yaml"), (80_001, "base.yaml"), (10**8, "base.yaml")],
)
def test_the_config_that_fits_the_training_words_is_named(words: int, name: str) -> None:
    line = describe_fitting_config(words)
    assert line.startswith(f"{words:,} training words: {name} fits, as a rule of thumb")
    epochs = [parse(each).training.epochs for each in ("small.yaml", "base.yaml")]
    assert epochs[0] < epochs[1]


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_config_in_the_repository_is_valid(file: Path) -> None:
    config_class = DistillConfig if file.stem == "best" else PretrainConfig
    assert parse_config(config_class, [str(file)]).output_dir == f"runs/{file.stem}"


@pytest.mark.parametrize("name", ["sample", "class", "characters", "bpe", "small", "base", "best"])
def test_a_config_states_the_model_the_training_and_what_differs(name: str) -> None:
    stated = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    parent = stated.pop("inherit", None)
    inherited = to_flat(parse_config(DistillConfig, [parent]) if parent else DistillConfig())
    always = ("model.", "training.epochs", "training.learning_rate", "output_dir")
    sections = {key: value for key, value in stated.items() if isinstance(value, dict)}
    flat = {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}
    assert [key for key, value in flat.items() if value == inherited[key] and not key.startswith(always)] == []


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

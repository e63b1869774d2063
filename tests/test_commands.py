"""Test ``wine-gpt``: its commands, their help, and the command lines that they print."""

import gc
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.local_server import PATIENCE

from wine_gpt import __version__, command_names
from wine_gpt.__main__ import COMMANDS, main
from wine_gpt.commands import finetune
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import find_config, leaf_types, parse_config
from wine_gpt.errors import UserError

ROOT = Path(__file__).parents[1]
USAGES = {
    "pretrain": "usage: wine-gpt pretrain [FILE.yaml] [--section.setting value ...]",
    "distill": "usage: wine-gpt distill [FILE.yaml] [--section.setting value ...]",
    "finetune": "usage: wine-gpt finetune [FILE.yaml] [--section.setting value ...]",
    "refit": "usage: wine-gpt refit RUN [--section.setting value ...]",
    "score": "usage: wine-gpt score MODEL [--section.setting value ...]",
    "train-tokenizer": "usage: wine-gpt train-tokenizer [FILE.yaml] [--section.setting value ...]",
    "generate": "usage: wine-gpt generate [-h]",
    "ask": "usage: wine-gpt ask [-h] --review TEXT --question TEXT [--choices A,B,C] DIR",
    "similar": "usage: wine-gpt similar [-h] --text TEXT [-k K] [--data.path FILE]",
    "explore": "usage: wine-gpt explore [-h] [--port PORT] [--no_browser] RUN",
    "publish": "usage: wine-gpt publish [-h] --repo ORG/NAME",
    "quickstart": "usage: wine-gpt quickstart [-h]",
}


class Command:
    """Runs ``wine-gpt`` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[object, str, str]:
        """Return exit code, stdout and stderr."""
        self.monkeypatch.setattr(sys, "argv", ["/usr/bin/wine-gpt", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        return code, *self.capsys.readouterr()


@pytest.fixture
def wine_gpt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command."""
    return Command(monkeypatch, capsys)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_command_the_help_lists_all(wine_gpt: Command, arguments: list[str]) -> None:
    code, stdout, stderr = wine_gpt(*arguments)
    assert (code, stderr) == (0, "")
    assert all(f"\n  {name} " in stdout for name in COMMANDS)


def test_version(wine_gpt: Command) -> None:
    assert wine_gpt("--version") == (0, f"wine_gpt {__version__}\n", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pretrian", "unknown command pretrian; did you mean pretrain?"),
        ("x", "unknown command x; known are quickstart"),
    ],
)
def test_an_unknown_command_gets_one_line(wine_gpt: Command, name: str, message: str) -> None:
    code, stdout, stderr = wine_gpt(name)
    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"error: {message}")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_shows_its_usage(wine_gpt: Command, name: str) -> None:
    code, stdout, stderr = wine_gpt(name, "--help")
    assert (code, stderr) == (0, "")
    assert stdout.startswith(USAGES[name])
    assert f"wine-gpt {name} " in stdout.split("\n\n", 1)[1] or name == "quickstart"


def test_the_help_shows_every_setting_with_its_type_and_default(wine_gpt: Command) -> None:
    shown = " ".join(wine_gpt("pretrain", "--help")[1].split())
    assert [key for key, _ in leaf_types(PretrainConfig) if f" --{key} " not in shown] == []
    for setting in ("--training.warmup_ratio float", "--data.prompt_fields text,text", "--model.n_layer int"):
        assert setting in shown
    for default in ("(default: 0.05)", "(default: country,province,variety)", "(default: null)", "(default: false)"):
        assert default in shown


def test_help_and_errors_need_no_torch() -> None:
    code = """
import sys
from wine_gpt.__main__ import COMMANDS, main
for arguments in [*([name, "--help"] for name in COMMANDS), ["pretrain", "--model.n_layer", "four"]]:
    sys.argv = ["wine-gpt", *arguments]
    try:
        main()
    except SystemExit:
        pass
print([name for name in ("torch", "transformers", "datasets", "pandas", "pyarrow", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")
    assert done.stderr == "error: config: `model.n_layer`: Couldn't parse 'four' into an int\n"


# each of these takes memory or time in every run; see "Memory" in benchmarks/RESULTS.md for those that remain
UNUSED = (
    *("torch._inductor.compile_fx", "triton", "torchvision", "transformers.trainer", "transformers.trainer_utils"),
    *("matplotlib", "peft", "evaluate", "sklearn", "sentence_transformers", "gradio", "onnx", "IPython", "kagglehub"),
    *("tensorboard", "trackio", "wandb", "codecarbon"),
)


@pytest.mark.parametrize(
    ("module", "unused"),
    [
        ("wine_gpt.training.pretrain", (*UNUSED, "datasets", "pandas", "pyarrow")),
        ("wine_gpt.tokenizer.prepare", (*UNUSED, "torch", "accelerate", "scipy", "sympy")),
        ("wine_gpt.publishing.explorer_server", (*UNUSED, "transformers", "datasets", "pandas", "pyarrow")),
    ],
)
def test_a_command_and_its_child_process_load_nothing_that_they_do_not_need(
    module: str, unused: tuple[str, ...]
) -> None:
    code = f"""
import sys, {module}
print([name for name in {unused} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_closed_stdout_ends_a_command_that_logs_without_traceback() -> None:
    command = [sys.executable, str(Path(__file__).parent / "support" / "log_lines.py")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_bash_completes_commands_and_options(wine_gpt: Command) -> None:
    code, script, stderr = wine_gpt("--completion")
    assert (code, stderr) == (0, "")

    def complete(*words: str) -> list[str]:
        ask = f'COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}; _wine_gpt; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert complete("wine-gpt", "p") == ["pretrain", "publish"]
    assert complete("wine-gpt", "pretrain", "--training.e") == ["--training.epochs"]
    assert complete("wine-gpt", "generate", "--to") == ["--top_p"]
    assert complete("wine-gpt", "pretrain", "rec") == []


# a shell in a terminal of its own; reading waits for the completed line
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'ZDOTDIR=.; wine-gpt() {{ }}; source ./completion; bindkey "^I" complete-word'
for typed expected in {pairs}; do
    zpty -n -w shell "wine-gpt $typed"$'\t'
    zpty -r shell screen "*wine-gpt $expected*"
    zpty -n -w shell $'\\C-u'
done
print done
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_completes_commands_options_and_files(wine_gpt: Command, tmp_path: Path) -> None:
    _, script, _ = wine_gpt("--completion")
    (tmp_path / "completion").write_text(script, encoding="utf-8")
    (tmp_path / "recipes.yaml").touch()
    pairs = "pub publish 'generate --top' 'generate --top_p' 'pretrain rec' 'pretrain recipes.yaml'"
    done = subprocess.run(
        ["zsh", "-f", "-c", ZSH.format(pairs=pairs)], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wine_gpt", "--version"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wine_gpt {__version__}\n", "")


def test_every_script_is_a_command() -> None:
    scripts = {path.stem.replace("_", "-") for path in (ROOT / "scripts").glob("*.py")}
    assert scripts == set(COMMANDS)
    for path in (ROOT / "scripts").glob("*.py"):
        assert f"python scripts/{path.name}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "typed", "sibling"),
    [
        (["/usr/bin/wine-gpt", "pretrain", "a b"], "wine-gpt pretrain 'a b'", "wine-gpt generate"),
        (["/lib/wine_gpt/__main__.py", "pretrain"], "python -m wine_gpt pretrain", "python -m wine_gpt generate"),
        (["scripts/pretrain.py", "x"], "python scripts/pretrain.py x", "python scripts/generate.py"),
        ([f"{ROOT}/scripts/pretrain.py"], f"python {ROOT}/scripts/pretrain.py", "python scripts/generate.py"),
    ],
)
def test_the_printed_commands_are_those_that_the_user_has(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], typed: str, sibling: str
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", arguments)
    assert command_names.command_line() == typed
    assert command_names.sibling_command("generate") == sibling


def test_the_printed_commands_can_be_pasted_into_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wine-gpt", "pretrain"])
    shown = command_names.sibling_command("generate", "runs/my base", "--prompt", 'the "best" : $5', "--explain")
    assert shlex.split(shown) == ["wine-gpt", "generate", "runs/my base", "--prompt", 'the "best" : $5', "--explain"]
    assert 'pipeline("text-classification", model="runs/l\'air")' in finetune._example(Path("runs/l'air"))


@pytest.mark.parametrize(
    "flags",
    [
        ["--resume"],
        ["--overwrite"],
        ["--resume", "latest"],
        ["--resume=runs/x/checkpoints/step-00000500"],
        ["--resume", "runs/x/checkpoints/step-00000500", "--overwrite", "false"],
    ],
)
def test_the_command_to_resume_has_the_flag_once(monkeypatch: pytest.MonkeyPatch, flags: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["wine-gpt", "pretrain", "base.yaml", *flags, "--output_dir", "runs/x"])
    assert command_names.resume_command([]) == "wine-gpt pretrain base.yaml --output_dir runs/x --resume"


@pytest.mark.parametrize("name", ["base.yaml", "configs/base.yaml", "configs/finetune/full.yaml"])
def test_a_config_of_the_package_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == ROOT / "configs" / name.removeprefix("configs/")


def test_a_file_of_that_name_comes_before_the_config_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text("training: {epochs: 11}")
    assert parse_config(PretrainConfig, ["base.yaml"]).training.epochs == 11


def test_a_misspelled_config_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"can't read bas\.yaml: no such file; did you mean base\.yaml\?"):
        parse_config(PretrainConfig, ["bas.yaml"])


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "tools").glob("write_*.py")))
def test_the_help_of_a_tool_runs_nothing(name: str) -> None:
    # without __pycache__, where the tests beside this one write
    files = [path for path in (ROOT / "space").iterdir() if path.name != "__pycache__"]
    written = [path.stat().st_mtime_ns for path in files]
    command = [sys.executable, "-m", f"tools.{name}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
    assert [path.stat().st_mtime_ns for path in files] == written
    assert {path for path in (ROOT / "space").iterdir() if path.name != "__pycache__"} == {*files}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_script_names_the_script(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ROOT / "scripts" / f"{name.replace('-', '_')}.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    # a script sets both for the rest of its process
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    stdout, stderr = capsys.readouterr()
    assert (ended.value.code or 0, stderr) == (0, "")
    assert stdout.startswith(f"usage: {script.name} ")
    assert [*tmp_path.iterdir()] == []


def test_the_help_shows_what_the_default_config_sets_otherwise(wine_gpt: Command) -> None:
    shown = " ".join(wine_gpt("pretrain", "--help")[1].split())
    assert "(default: 5; sample.yaml has 8)" in shown
    assert "(default: 42)" in shown


def test_training_a_tokenizer_refuses_a_trained_one(wine_gpt: Command) -> None:
    code, _, stderr = wine_gpt("train-tokenizer", "--tokenizer.path", "runs/tokenizer")
    assert (code, stderr.count("\n")) == (2, 1)
    assert "tokenizer.path is 'runs/tokenizer': a new tokenizer is trained, so leave it out" in stderr
    shown = wine_gpt("train-tokenizer", "--help")[1]
    assert " --tokenizer.vocab_size " in shown
    assert " --tokenizer.path text" not in shown


def test_the_help_of_fine_tuning_leaves_out_settings_of_pretraining(wine_gpt: Command) -> None:
    shown = wine_gpt("finetune", "--help")[1]
    assert " --training.epochs " in shown
    assert " --training.keep_epochs " not in shown
    assert " --training.character_ngrams " not in shown


def test_training_a_tokenizer_reads_a_config_of_pretraining(
    wine_gpt: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for inherited in ("inherit: base.yaml\n", ""):
        Path("own.yaml").write_text(f"{inherited}tokenizer: {{vocab_size: 50}}\noutput_dir: runs/own\n")
        assert wine_gpt("train-tokenizer", "own.yaml")[0] == 0
        assert Path("runs/tokenizer/tokenizer.json").exists()
        assert not Path("runs/own").exists()
    Path("own.yaml").write_text("modle: {n_layer: 2}")
    assert "unknown key modle.n_layer" in wine_gpt("train-tokenizer", "own.yaml")[2]


@pytest.mark.parametrize("name", ["metrics.json", "config.json", "checkpoints/step-00000010/manifest.json"])
def test_training_a_tokenizer_keeps_that_of_a_run(wine_gpt: Command, tmp_path: Path, name: str) -> None:
    for file in ("tokenizer.json", name):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}", encoding="utf-8")
    code, _, stderr = wine_gpt("train-tokenizer", "--output_dir", str(tmp_path))
    assert (code, stderr) == (
        2,
        f"error: {tmp_path} holds a run, whose model needs its own tokenizer: name another --output_dir\n",
    )
    assert (tmp_path / "tokenizer.json").read_text(encoding="utf-8") == "{}"


def test_make_refuses_an_old_python_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = subprocess.run(["make", f"PYTHON={old}", ".venv/bin/python"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {old} is missing or older than Python 3.11: name another one")


def test_make_clean_keeps_the_runs(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("runs/base", ".venv", "build"):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "runs"]
    assert (tmp_path / "runs" / "base").is_dir()

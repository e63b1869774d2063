"""Test ``scripts/generate.py``: its output, its page, and its errors."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.toy_model import TOY_POSITIONS

from wine_gpt.commands import generate
from wine_gpt.errors import UserError
from wine_gpt.generation.generate import generate_texts
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.tokenizer import load_tokenizer

SCRIPT = Path(__file__).parents[1] / "scripts" / "generate.py"

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command and returns what it wrote to stdout and stderr."""

    def call(*arguments: object) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        generate.main()
        return capsys.readouterr()

    return call


def test_the_script_prints_the_text_and_nothing_else(toy_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(toy_run), "--prompt", "Wine review: Italy", "--greedy"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    (expected,) = generate_texts(
        load_model(toy_run), load_tokenizer(toy_run), ["Wine review: Italy"], seed=0, do_sample=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{expected}\n", "")
    assert expected.endswith(" drink now.")


def test_the_options_set_the_sampling(toy_run: Path, run: Run) -> None:
    model, tokenizer = load_model(toy_run), load_tokenizer(toy_run)
    settings = {"temperature": 5.0, "top_p": 0.3, "max_new_tokens": 6}
    (expected,) = generate_texts(model, tokenizer, ["wine review"], seed=7, **settings)
    flags = [text for name, value in settings.items() for text in (f"--{name}", value)]
    assert run(toy_run, "--seed", 7, *flags) == (f"{expected}\n", "")
    for name in settings:
        others = [text for key, value in settings.items() if key != name for text in (f"--{key}", value)]
        assert run(toy_run, "--seed", 7, *others)[0] != f"{expected}\n", name


def test_a_models_own_beam_search_is_printed_at_the_end(toy_run: Path, run: Run, tmp_path: Path) -> None:
    shutil.copytree(toy_run, tmp_path / "model")
    file = tmp_path / "model" / "generation_config.json"
    settings = {**json.loads(file.read_text()), "num_beams": 2, "num_return_sequences": 2, "do_sample": False}
    file.write_text(json.dumps({**settings, "temperature": None, "top_k": None, "top_p": None}))
    out, err = run(tmp_path / "model", "--prompt", "Wine review: Italy")
    assert (out.count("\n"), err) == (1, "")
    assert out.startswith("Wine review: Italy : ")
    file.write_text(json.dumps({**settings, "bad_words_ids": "plum"}))
    with pytest.raises(UserError, match=r"^generation: .*bad_words_ids.*; see the model's generation_config\.json"):
        generate_texts(load_model(tmp_path / "model"), load_tokenizer(toy_run), ["wine"], seed=0)


def test_without_a_seed_each_call_generates_another_text(toy_run: Path, run: Run) -> None:
    assert len({run(toy_run, "--temperature", 5)[0] for _ in range(3)}) > 1


def test_an_empty_prompt_generates_a_whole_review(toy_run: Path, run: Run) -> None:
    assert run(toy_run, "--prompt", "", "--greedy")[0].startswith("wine review : ")


@pytest.mark.parametrize("prompt", ["Germany", "receta : Italy", "wine : review"])
def test_a_prompt_without_the_prefix_gets_a_note(toy_run: Path, run: Run, prompt: str) -> None:
    out, err = run(toy_run, "--prompt", prompt, "--greedy")
    assert out.startswith(prompt)
    form = "wine review : COUNTRY : PROVINCE : VARIETY : DESCRIPTION"
    assert err == f'note: the model\'s texts have the form "{form}"\n'


@pytest.mark.parametrize("prompt", ["wine", "WINE  review", "wine review: germany", ""])
def test_a_prompt_that_agrees_with_the_prefix_gets_no_note(toy_run: Path, run: Run, prompt: str) -> None:
    assert run(toy_run, "--prompt", prompt, "--max_new_tokens", 1)[1] == ""


def test_the_explanation_follows_the_text(toy_run: Path, run: Run) -> None:
    text, _, explanation = run(toy_run, "--seed", 1, "--temperature", 0.5, "--explain", "--head", 1)[0].partition(
        "\n\n"
    )
    legend, *blocks = explanation.split("\n\n")
    assert "temperature 0.5" in legend
    assert "mean over layers, head 1" in legend
    tokenizer = load_tokenizer(toy_run)
    # [BOS], the prompt's two words and [EOS] apart
    assert len(blocks) == len(tokenizer(text)["input_ids"]) - 3 + 1
    assert all("*" in block for block in blocks)
    assert "\x1b" not in explanation


def test_probabilities_are_at_the_sampling_temperature(toy_run: Path, run: Run) -> None:
    shown = [run(toy_run, "--explain", *how)[0] for how in ([], ["--temperature", "0.5"], ["--greedy"])]
    assert [re.findall(r"at temperature (\S+),", text) for text in shown] == [["0.9"], ["0.5"], ["1"]]


@pytest.mark.parametrize(
    ("is_terminal", "environment", "color"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_only_terminals_that_allow_it_get_color(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, environment: dict[str, str], color: bool
) -> None:
    monkeypatch.setattr(os, "environ", {"TERM": "xterm-256color", **environment})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    assert generate.wants_color() is color


def test_html_writes_a_page(toy_run: Path, run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    out, _ = run(toy_run, "--prompt", "wine review : italy", "--seed", 1, "--html", page)
    assert out.endswith(f"\nsaved: {page}\n")
    text = page.read_text(encoding="utf-8")
    assert out.splitlines()[0] in re.findall("<title>How it was written: (.*)</title>", text)[0].replace("&#x27;", "'")
    for shown in (str(toy_run), "wine review : italy", "seed 1", "at temperature 0.9", "mean over layers and heads"):
        assert f'"{shown}"' in text
    assert list(tmp_path.iterdir()) == [page]


WRONG = {
    "no folder": (["{tmp}/none"], "model: no such folder"),
    "no model": (["{tmp}"], "holds no model"),
    "no DIR": ([], "required: DIR"),
    "unknown flag": (["{run}", "--temprature", "1"], "--temprature"),
    "abbreviated flag": (["{run}", "--temp", "1"], "--temp"),
    "long prompt": (["{run}", "--prompt", "plum " * TOY_POSITIONS], f"{TOY_POSITIONS} words, but the model has"),
    "temperature 0": (["{run}", "--temperature", "0"], "--temperature: 0 is no number from 0.01 to 100; --greedy"),
    "temperature -1": (["{run}", "--temperature", "-1"], "-1 is no number from 0.01 to 100"),
    "temperature NaN": (["{run}", "--temperature", "nan"], "nan is no number from 0.01 to 100"),
    "temperature inf": (["{run}", "--temperature", "inf"], "inf is no number from 0.01 to 100"),
    "temperature word": (["{run}", "--temperature", "hot"], "hot is no number from 0.01 to 100"),
    "greedy temperature": (["{run}", "--temperature", "1", "--greedy"], "not allowed with"),
    "greedy top_p": (["{run}", "--top_p", "0.5", "--greedy"], "--top_p: not allowed with argument --greedy"),
    "layer alone": (["{run}", "--layer", "0"], "--layer: add --explain or --html, which show the attention"),
    "head alone": (["{run}", "--greedy", "--head", "0"], "--head: add --explain or --html, which show the attention"),
    "top_p 0": (["{run}", "--top_p", "0"], "--top_p: 0 is no number from 0.01 to 1"),
    "top_p 1.1": (["{run}", "--top_p", "1.1"], "1.1 is no number from 0.01 to 1"),
    "max_new_tokens 0": (
        ["{run}", "--max_new_tokens", "0"],
        "--max_new_tokens: 0 is no whole number from 1 to 1,000,000",
    ),
    "max_new_tokens 1.5": (["{run}", "--max_new_tokens", "1.5"], "1.5 is no whole number from 1 to 1,000,000"),
    "seed -1": (["{run}", "--seed", "-1"], "--seed: -1 is no whole number from 0 to 4,294,967,295"),
    "head 2": (["{run}", "--explain", "--head", "2"], "head: 2, but the model's heads are 0 to 1"),
    "layer -1": (["{run}", "--explain", "--layer", "-1"], "layer: -1, but the model's layers are 0 to 1"),
    "html folder": (["{run}", "--html", "{tmp}"], "--html: can't write {tmp}: name a file in a writable folder"),
    "html nowhere": (["{run}", "--html", "{tmp}/none/x.html"], "x.html: name a file in a writable folder"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_is_one_line_and_exit_code_2(
    toy_run: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, message = WRONG[case]
    folders = {"run": toy_run, "tmp": tmp_path}
    with pytest.raises(SystemExit) as stopped:
        run(*(argument.format(**folders) for argument in arguments))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message.format(**folders) in error
    assert list(tmp_path.iterdir()) == []

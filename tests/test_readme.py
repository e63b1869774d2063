"""README, docs and CONTRIBUTING name only links, paths, modules, flags and packages that exist."""

import ast
import functools
import importlib
import itertools
import pkgutil
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wine_gpt.commands import ask, explore, finetune, generate, publish, similar
from wine_gpt.config import (
    DistillConfig,
    EnsembleConfig,
    FinetuneConfig,
    PretrainConfig,
    RefitConfig,
    ScoreConfig,
    TokenizerRunConfig,
)
from wine_gpt.config_io import leaf_types, parse_config

ROOT = Path(__file__).parents[1]
# Printed from a run: relative links of a card lead to files of its repository on the Hub.
CARDS = ("model_card.md", "space_card.md")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in CARDS),
]
LINKED = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "RESULTS.md"]

FENCED = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
FOLDERS = ("wine_gpt", "scripts", "configs", "space", "benchmarks", "docs", "tests", "tools")
PATH = re.compile(rf"(?<![\w/.~-])((?:{'|'.join(FOLDERS)})/[\w./-]*\w|(?:{'|'.join(FOLDERS)})/)")
COMMAND = re.compile(
    r"(?:python|accelerate launch)\b[^#\n]*?\bscripts/(\w+)\.py\b([^#\n]*)|\bwine-gpt ([\w-]+)([^#\n]*)"
)

INSTALLED_TORCH = re.compile(r'\bpip install "?(torch\b[^\s"]*)')

CONFIGS = {
    "pretrain": PretrainConfig,
    "distill": DistillConfig,
    "finetune": FinetuneConfig,
    "train_tokenizer": TokenizerRunConfig,
}
PARSERS: dict[str, Callable[[list[str]], Any]] = {
    **{name: functools.partial(parse_config, config_class) for name, config_class in CONFIGS.items()},
    # several models may come first
    "score": lambda arguments: parse_config(
        ScoreConfig, ["--model", arguments[0], *itertools.dropwhile(lambda one: not one.startswith("-"), arguments)]
    ),
    "refit": lambda arguments: parse_config(RefitConfig, ["--run", *arguments]),
    "finetune": lambda arguments: parse_config(FinetuneConfig, arguments, finetune.default_file(arguments)),
    "generate": generate.read_arguments,
    "publish": publish.read_arguments,
    "ask": ask.read_arguments,
    "similar": similar.read_arguments,
    "explore": explore.read_arguments,
    "quickstart": lambda arguments: None,
}


def code(page: Path) -> Iterator[str]:
    """Yield the fenced shell blocks, continued lines joined, and the inline code of a page."""
    text = page.read_text(encoding="utf-8")
    for language, block in FENCED.findall(text):
        if language == "bash":
            yield block.replace("\\\n", " ")
    yield from INLINE.findall(FENCED.sub("", text))


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the arguments of each command line of a page."""
    for text in code(page):
        for script, script_arguments, command, command_arguments in COMMAND.findall(text):
            # a command inside bash -c '…' ends with the quote
            arguments = (script_arguments or command_arguments).partition("…")[0].rstrip().removesuffix("'")
            if not command.startswith("-"):
                yield script or command.replace("-", "_"), shlex.split(arguments)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named(pages: list[Path]) -> list[Any]:
    return [pytest.param(page, id=page.name) for page in pages]


@pytest.mark.parametrize("page", named(LINKED))
def test_links_have_a_target(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", named(PAGES))
def test_paths_exist(page: Path) -> None:
    missing = [path for text in code(page) for path in PATH.findall(text) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("page", named(PAGES))
def test_modules_and_their_names_exist(page: Path) -> None:
    for language, block in FENCED.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "wine_gpt":
                    module = importlib.import_module(str(node.module))
                    assert [name.name for name in node.names if not hasattr(module, name.name)] == []
    for text in code(page):
        for name in re.findall(r"^wine_gpt(?:\.\w+)+$", text):
            pkgutil.resolve_name(name)


@pytest.mark.parametrize("page", named(PAGES))
def test_command_lines_are_accepted(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    # configs that the page or a run writes
    own = {name for text in code(page) for name in re.findall(r"^(\S+\.yaml)$", text)}
    for name, arguments in commands(page):
        assert name in PARSERS, f"no command {name}"
        kept = [argument for argument in arguments if argument not in own and not argument.startswith("runs/base/c")]
        PARSERS[name](kept)


def test_flags_in_the_text_exist(capsys: pytest.CaptureFixture[str]) -> None:
    known = {f"--{key}" for config_class in (*CONFIGS.values(), ScoreConfig) for key, _ in leaf_types(config_class)}
    for module in (ask, explore, generate, publish, similar):
        with pytest.raises(SystemExit):
            module.read_arguments(["--help"])
        known |= set(re.findall(r"--\w+", capsys.readouterr().out))
    for page in PAGES:
        flags = [flag for text in code(page) if "\n" not in text for flag in re.findall(r"^--[\w.]+", text)]
        assert [flag for flag in flags if flag not in known] == [], page.name


def test_each_command_of_the_readme_reads_what_an_earlier_one_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    written = {"runs/sample"}
    # the other blocks show variants
    (block,) = (block for _, block in FENCED.findall(README) if "scripts/finetune.py" in block)
    for script, text, _, _ in COMMAND.findall(block.replace("\\\n", " ")):
        arguments = shlex.split(text)
        read = {word for word in arguments if word.startswith("runs/")}
        assert read <= written, script
        if script in CONFIGS:
            written.add(PARSERS[script](arguments).output_dir)
    assert {"runs/base", "runs/lora"} <= written


def test_the_table_has_the_folders_that_exist() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = set(re.findall(r"^([^./]\w+/)", listed, re.MULTILINE))
    assert set(re.findall(r"^\| `(\w+/)` \|", README, re.MULTILINE)) == folders


def test_torch_is_installed_in_the_version_that_the_package_needs() -> None:
    pin = re.findall(r'^    "(torch\W.*)",$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    installed = [found for page in PAGES for text in code(page) for found in INSTALLED_TORCH.findall(text)]
    assert set(installed) == set(pin)


def test_the_table_of_the_distillation_has_the_settings_of_best_and_the_defaults() -> None:
    page = (ROOT / "docs" / "distillation.md").read_text(encoding="utf-8")
    best = parse_config(DistillConfig, ["best.yaml"]).distillation
    listed = re.findall(r"^\| `--distillation\.(\w+)` \| ([\d.]+) \| ([\d.]+) \|", page, re.MULTILINE)
    assert {name: (float(in_best), float(default)) for name, in_best, default in listed} == {
        name: (getattr(best, name), default) for name, default in vars(EnsembleConfig()).items()
    }


def test_the_losses_of_the_readme_were_measured() -> None:
    measured = "".join(
        (ROOT / name).read_text(encoding="utf-8") for name in ("benchmarks/RESULTS.md", "docs/model_card.md")
    )
    losses = re.findall(r"\b\d\.\d{3}\b", README)
    assert len(losses) > 3
    assert [loss for loss in losses if loss not in measured] == []

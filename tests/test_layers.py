"""A package imports only from the packages before it, and no modules import each other in a circle."""

import ast
import importlib
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "wine_gpt"
GROUND = [
    "version",
    "errors",
    "arguments",
    "config",
    "config_io",
    "yaml_files",
    "files",
    "installation",
    "lazy",
    "run_folder",
    "base_model",
    "model_path",
    "progress",
    "markdown",
    "plots",
    "processes",
    "imports",
    "command_names",
    "streams",
    "cli",
]
STAGES = [
    "data",
    "tokenizer",
    "modeling",
    "generation",
    "training",
    "evaluation",
    "distillation",
    "finetuning",
    "tasks",
    "publishing",
]
# modules that may import all stages
TOP = ["wine_gpt", "api", "commands", "__main__"]


def imports(path: Path, modules: set[str]) -> Iterator[str]:
    """Yield the modules of wine_gpt that a file imports anywhere, within functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from {name if name in modules else str(node.module) for name in names} & modules


def graph() -> dict[str, set[str]]:
    """Return the imports of each module, by dotted name; the root is left out, because its exports are lazy."""
    files = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    return {name: set(imports(path, set(files))) for name, path in files.items() if name != "wine_gpt"}


def rank(module: str) -> int:
    """Return the position of a module's package in the order; the ground modules may import each other."""
    part = module.removeprefix("wine_gpt.").split(".")[0]
    return 0 if part in GROUND else 1 + [*STAGES, *TOP].index(part)


def test_a_package_imports_only_from_those_before_it() -> None:
    assert [
        f"{module} imports {other}"
        for module, others in graph().items()
        for other in others
        if rank(other) > rank(module)
    ] == []


def test_the_page_of_the_design_lists_the_packages_in_their_order() -> None:
    page = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[`(\w+)/`\]", page, re.MULTILINE)
    assert listed == [*STAGES, "commands"]
    assert set(listed) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(graph()).prepare()


@pytest.mark.parametrize("module", ["finetuning.finetune", "tasks.classification.classify", "publishing.publish"])
def test_no_function_hides_the_module_of_its_name(module: str) -> None:
    package, _, name = f"wine_gpt.{module}".rpartition(".")
    assert importlib.import_module(f"wine_gpt.{module}") is getattr(importlib.import_module(package), name)


def test_the_names_that_benchmarks_import_exist() -> None:
    """The tests do not run most benchmarks, so that one would miss a name that was changed only when it is needed."""
    missing = [
        f"{path.name}: {node.module}.{alias.name}"
        for path in (PACKAGE.parent / "benchmarks").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("wine_gpt")
        for alias in node.names
        if not exists(str(node.module), alias.name)
    ]
    assert missing == []


def exists(module: str, name: str) -> bool:
    """Return whether a module has a name or a submodule."""
    try:
        if hasattr(importlib.import_module(module), name):
            return True
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True

"""Fixtures that several test files share."""

import gc
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# an empty folder for caches; libraries read this when they are imported, here and in commands under test
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="wine_gpt-tests-")
# pytest-xdist runs one worker per core. OpenMP reads this when torch is imported, here and in commands under test.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from support.hub_server import WRITER, HubServer, hub_server
from support.publisher import Publisher

# Fixtures import torch and datasets, because pytest-xdist loads this file before it starts the processes for tests.
if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# The files that take longest come first, because one that a process begins at the end keeps it busy when the others
# have nothing left to do.
LONGEST_FILES = (
    *("test_pretraining", "test_terminal", "test_machines", "test_notebooks", "test_publish_faults"),
    *("test_space_server", "test_finetune", "test_training_faults", "test_text_column", "test_explorer_page"),
    "test_explorer_engine",
)
# the files that share what takes seconds to start, by what they share
GROUPS = {
    "demo_address": ("test_space_mcp", "test_space_page", "test_space_server"),
    "publisher": (
        *("test_publish", "test_publish_again", "test_publish_faults", "test_publish_names"),
        *("test_publish_end_to_end", "test_classification", "test_hub_loading", "test_metrics", "test_onnx_export"),
    ),
}

# without limits of time, because tests must pass on a busy machine; with the same examples in each run, so that a
# failure can be repeated; and without a folder of examples in the checkout
hypothesis.settings.load_profile("ci")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave what the tests import out of garbage collections, because accelerate collects after each training."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_unconfigure() -> None:
    """Delete this process's caches."""
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest files to the front."""
    items.sort(key=lambda item: item.path.stem not in LONGEST_FILES)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401 - of pytest-xdist
    """With ``--dist loadfile`` give a file to one process, and those of each of GROUPS together to one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return next((name for name, files in GROUPS.items() if Path(file).stem in files), file)

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that ``datasets`` uses as its cache."""
    import datasets

    folder = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tokenizer and a GPT-2 that has learned 216 made-up reviews; tests only read it."""
    from support.toy_model import train_toy

    return train_toy(tmp_path_factory.mktemp("toy") / "run")


@pytest.fixture(scope="session")
def model(toy_run: Path) -> "PreTrainedModel":
    """Return the toy model, which tests do not change."""
    from wine_gpt.modeling.pretrained import load_model

    return load_model(toy_run)


@pytest.fixture(scope="session")
def tokenizer(toy_run: Path) -> "PreTrainedTokenizerFast":
    """Return the toy model's tokenizer."""
    from wine_gpt.tokenizer import load_tokenizer

    return load_tokenizer(toy_run)


@pytest.fixture(scope="session")
def hub() -> Iterator[HubServer]:
    """Return a Hub on loopback; each test empties it with ``forget()`` first."""
    with hub_server() as server:
        yield server


@pytest.fixture(scope="session")
def publisher(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    """Return a process that runs ``scripts/publish.py`` with that Hub and a demo of two lines."""
    from support.finished_runs import demo

    folder = tmp_path_factory.mktemp("publisher")
    process = Publisher(hub.environment(), demo(folder / "space", WRITER), folder / "home")
    yield process
    process.close()


@pytest.fixture(scope="session")
def demo_model(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the published toy model with the index of its reviews, and two adapters beside it."""
    from support.space_model import write_adapter
    from support.toy_model import toy_texts

    from wine_gpt.evaluation.ngram_filter import FILE_NAME
    from wine_gpt.evaluation.ngram_index import build_index

    folder = tmp_path_factory.mktemp("demo") / "wine-gpt"
    shutil.copytree(toy_run, folder)
    build_index([text.split(" : ", 4)[-1] for text in toy_texts()], folder / FILE_NAME)
    for seed, name in enumerate(("pinot-noir", "riesling")):
        write_adapter(toy_run, folder.parent / f"wine-gpt-{name}", seed)
    return folder


@pytest.fixture(scope="session")
def lines_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a toy model whose texts have lines, with the index of its reviews."""
    from support.toy_model import toy_texts, train_toy

    from wine_gpt.evaluation.ngram_filter import FILE_NAME
    from wine_gpt.evaluation.ngram_index import build_index

    folder = train_toy(tmp_path_factory.mktemp("lines") / "wine-lines", line_breaks=True)
    build_index([text.split(" : ", 4)[-1] for text in toy_texts(line_breaks=True)], folder / FILE_NAME)
    return folder


@pytest.fixture(scope="session")
def demo_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what receives the output of the demo of ``demo_address``."""
    return tmp_path_factory.mktemp("server") / "log"


@pytest.fixture(scope="session")
def demo_address(demo_model: Path, demo_log: Path) -> Iterator[str]:
    """Serve the demo with the toy model and its adapters; return the address."""
    from support.space_server import serving

    adapters = ",".join(f"{demo_model}-{name}" for name in ("pinot-noir", "riesling"))
    with serving(demo_log, WINE_GPT_MODEL=str(demo_model), WINE_GPT_ADAPTERS=adapters) as address:
        yield address

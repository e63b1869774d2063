"""The class's notebook runs and is in two languages; so does the notebook of a published model."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from docs.notebooks.build import NOTEBOOKS, execute, in_language, read_source
from wine_gpt.config import GenerationDefaults
from wine_gpt.data.sources import SAMPLE_PATH
from wine_gpt.publishing.notebook import model_notebook

TINY = """inherit: sample.yaml
model: {n_layer: 1, n_head: 2, n_embd: 32, n_inner: 64}
training: {epochs: 1, learning_rate: 1.0e-2, keep_epochs: false}
"""


@pytest.fixture(scope="module")
def source() -> NotebookNode:
    return read_source()


def text_cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    return (cell for cell in notebook.cells if cell.cell_type == "markdown")


def test_each_text_is_there_in_both_languages(source: NotebookNode) -> None:
    languages = [cell.metadata.lang for cell in text_cells(source)]
    assert languages == ["en", "es"] * (len(languages) // 2)
    english, spanish = ([cell.source for cell in text_cells(in_language(source, name))] for name in ("en", "es"))
    for one, other in zip(english, spanish, strict=True):
        for part in (r"^#+ (?:\d+\.)?", "<details>"):
            assert re.findall(part, one, re.M) == re.findall(part, other, re.M)


@pytest.mark.parametrize("language", NOTEBOOKS)
def test_the_committed_notebook_is_the_source(source: NotebookNode, language: str) -> None:
    """``make notebooks`` writes them."""
    committed = nbformat.read(NOTEBOOKS[language], as_version=4)
    nbformat.validate(committed)
    assert [cell.source for cell in committed.cells] == [cell.source for cell in in_language(source, language).cells]
    code = [
        cell for cell in committed.cells if cell.cell_type == "code" and "install" not in cell.metadata.get("tags", ())
    ]
    assert [cell.execution_count for cell in code] == sorted(cell.execution_count for cell in code)
    assert "/home/" not in nbformat.writes(committed)
    assert "/tmp/" not in nbformat.writes(committed)


def test_the_code_runs_in_an_empty_folder(tmp_path: Path) -> None:
    notebook = read_source()
    (settings,) = (cell for cell in notebook.cells if "settings" in cell.metadata.get("tags", ()))
    (tmp_path / "tiny.yaml").write_text(TINY)
    records = json.loads(SAMPLE_PATH.read_text(encoding="utf-8"))
    few = [record for record in records if record["variety"] in ("Chardonnay", "Pinot Noir")]
    (tmp_path / "few.json").write_text(json.dumps(few), encoding="utf-8")
    # a sample of two varieties, with all words of the questions, because the whole one takes long
    settings.source = """
from pathlib import Path
from wine_gpt.data import sources
sources.SAMPLE_PATH = Path("few.json").resolve()
DATA, CONFIG, RUN, TEXTS = "sample", "tiny.yaml", "runs/tiny", 5
"""
    executed = execute(notebook, tmp_path)
    printed = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", ()))
    assert f"{len(few)} read" in printed
    assert "org/wine-gpt-chardonnay" in printed
    assert (tmp_path / "runs/tiny/publish").is_dir()


def test_the_notebook_of_a_model_runs(toy_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its five cells, with a folder in place of the repository."""
    notebook = nbformat.from_dict(model_notebook("org/wine-gpt", "main", 'wine review : "x"', GenerationDefaults()))
    nbformat.validate(notebook)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", *["code"] * 4]
    source = model_notebook("org/wine-gpt", "new", "wine", GenerationDefaults(0.8, top_k=9))["cells"][2]["source"]
    assert 'revision="new"' in source
    # pipelines of transformers 4.52 to 5.12 use their own temperature
    assert 'write("wine", temperature=0.8, top_k=9)' in source
    names: dict[str, object] = {}
    for cell in notebook.cells[2:]:
        exec(cell.source.replace("org/wine-gpt", str(toy_run)), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('wine review : "')
    shown = [float(line.split("%")[0]) for line in lines[1:]]
    next_words, attention = shown[:10], shown[10:]
    assert next_words == sorted(next_words, reverse=True)
    assert sum(attention) == pytest.approx(100, abs=1)

"""Write the class's notebook in English and Spanish from ``wine_gpt.py``, run on the bundled sample.

    make notebooks

``wine_gpt.py`` is in jupytext's percent format. A text cell has the metadata ``lang``; the code is the same in both
languages and runs once.
"""

import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "wine_gpt.py"
NOTEBOOKS = {"en": FOLDER / "wine_gpt.ipynb", "es": FOLDER / "wine_gpt.es.ipynb"}
# seconds that one cell may take
TIMEOUT = 3600


def main() -> None:
    """Run the code in an empty folder and write both notebooks with its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        executed = execute(read_source(), Path(folder))
    for language, path in NOTEBOOKS.items():
        nbformat.write(in_language(executed, language), path)
        print(path)


def read_source() -> NotebookNode:
    """Return the source as a notebook with the texts of both languages."""
    notebook = jupytext.read(SOURCE)
    for number, cell in enumerate(notebook.cells):
        # random otherwise
        cell.id = f"cell-{number}"
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run all code but the installation in ``folder``, and return the notebook with the outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    installation = [cell for cell in notebook.cells if "install" in cell.metadata.get("tags", ())]
    sources = [cell.source for cell in installation]
    for cell in installation:
        cell.source = ""
    NotebookClient(
        notebook,
        timeout=TIMEOUT,
        startup_timeout=TIMEOUT,
        iopub_timeout=TIMEOUT,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    for cell, source in zip(installation, sources, strict=True):
        cell.source = source
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # progress lines differ from run to run
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def in_language(notebook: NotebookNode, language: str) -> NotebookNode:
    """Return the notebook with the texts of one language."""
    cells = [cell for cell in notebook.cells if cell.metadata.get("lang", language) == language]
    return NotebookNode({**notebook, "cells": cells})


if __name__ == "__main__":
    main()

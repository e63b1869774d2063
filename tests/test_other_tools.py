"""A published model in other tools, each in its own environment: see tests/support/other_tools.sh.

test_onnx_export.py has onnxruntime and transformers.js.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import use_with_other_tool
from support.finished_runs import finish

from wine_gpt.publishing.publication import Publication
from wine_gpt.publishing.staging import stage

DRIVER = Path(use_with_other_tool.__file__)
ENVIRONMENTS = os.environ.get("OTHER_TOOLS")
Use = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def staged(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a staged model."""
    folder = tmp_path_factory.mktemp("staged")
    (folder / "repositories").mkdir()
    stage(Publication(finish(toy_run, folder / "run"), "org/wine-gpt"), folder / "repositories")
    return folder / "repositories" / "models" / "org" / "wine-gpt"


@pytest.fixture
def use(staged: Path, tmp_path: Path) -> Use:
    """Return a function that loads the staged model with a tool in the tool's environment."""

    def run(tool: str, environment: str) -> dict[str, Any]:
        if ENVIRONMENTS is None:
            pytest.skip("needs tests/support/other_tools.sh FOLDER, and OTHER_TOOLS=FOLDER")
        python = Path(ENVIRONMENTS, environment, "bin", "python")
        command = [str(python), str(DRIVER), tool, str(staged), str(tmp_path / "work")]
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env={**variables, "HF_HUB_OFFLINE": "1"}
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        print(tool, found["version"])
        return found

    return run


@pytest.fixture(scope="module")
def newest(staged: Path) -> dict[str, Any]:
    """Return what the installed transformers gives."""
    return use_with_other_tool.transformers(str(staged), "")


def test_texts_and_losses_are_the_same_alone_and_in_a_batch(newest: dict[str, Any]) -> None:
    assert newest["batched"] == newest["alone"]
    assert newest["nats"][0] == pytest.approx(newest["nats"][1], rel=1e-5)


def test_transformers_4_44_gives_the_same(newest: dict[str, Any], use: Use) -> None:
    oldest = use("transformers", "transformers-oldest")
    assert oldest["version"].startswith("4.44.")
    assert oldest["nats"] == pytest.approx(newest["nats"], rel=1e-5)
    for figure in ("alone", "batched", "ids"):
        assert oldest[figure] == newest[figure]


def test_an_adapter_of_peft_loads_on_the_model(staged: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason='not installed: pip install "wine_gpt[adapters]"')
    assert use_with_other_tool.peft(str(staged), str(tmp_path))["difference"] == 0


def test_sft_of_trl_trains_on_whole_texts_with_their_end(use: Use) -> None:
    found = use("trl", "trl")
    assert found["steps"] == 5
    assert 0 < found["loss"] < 20
    assert found["first"] == found["expected"]


def test_lm_eval_scores_answers_after_the_start_token_and_running_texts_once(newest: dict[str, Any], use: Use) -> None:
    found = use("lm_eval", "lm-eval")
    right, wrong = found["answers, add_bos_token=True"]
    assert right > wrong
    # lm-eval begins running texts with the start token itself
    assert sum(found["rolling, add_bos_token=False"]) == pytest.approx(-newest["nats"][0], rel=1e-4)


def test_embeddings_of_sentence_transformers_are_the_same_alone_and_in_a_batch(use: Use) -> None:
    assert use("sentence_transformers", "sentence-transformers")["cosines"] == pytest.approx([1.0] * 3, abs=1e-5)

"""Datasets and models are loaded from a Hub on loopback: revisions, configurations, and gated repositories."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.hub_server import READER, WRITER, HubServer

DATASET, GATED, MODEL = "org/reviews", "org/gated-reviews", "org/gated-gpt"
SCRIPT = Path(__file__).parent / "support" / "load_from_hub.py"
CARD = """---
configs:
- config_name: reds
  data_files: reds/*.csv
- config_name: whites
  data_files: whites/*.csv
---
"""


def table(word: str) -> bytes:
    rows = (f"Italy,Sicily,White Blend,{word} wine number {number}" for number in range(40))
    return "\n".join(["country,province,variety,description", *rows]).encode()


def fill(hub: HubServer, model: Path) -> None:
    """Add a dataset of two configurations and two revisions, and a gated dataset and model."""
    hub.forget()
    for kind, name in (("dataset", DATASET), ("dataset", GATED), ("model", MODEL)):
        hub.add_repository(name, kind)
    reds = {"README.md": CARD.encode(), "reds/a.csv": table("red"), "whites/a.csv": table("white")}
    hub.upload(DATASET, reds, "dataset")
    hub.repository(DATASET, "dataset").refs["v1"] = hub.repository(DATASET, "dataset").refs["main"]
    hub.upload(DATASET, {"reds/a.csv": table("new red")}, "dataset")
    hub.upload(GATED, {"a.csv": table("gated")}, "dataset")
    hub.upload(MODEL, {file.name: file.read_bytes() for file in model.iterdir() if file.is_file()})
    hub.gated = {GATED, MODEL}


def dataset(**settings: str) -> dict[str, str]:
    return {"path": DATASET, **settings}


# name to token, dataset or model, and the beginning of the text, or the error
NAMED = f"data.path: the Hub's dataset '{DATASET}'"
ADVICE = "is gated: accept its terms on its page, and log in with hf auth login"
CONFIGURATIONS = f"{NAMED} has these configurations, of which data.name must be one: reds, whites"
CASES: dict[str, tuple[str | None, dict[str, str] | str, str]] = {
    "configuration": (None, dataset(name="reds"), "new red wine number "),
    "other configuration": (None, dataset(name="whites"), "white wine number "),
    "revision": (None, dataset(name="reds", revision="v1"), "red wine number "),
    "unknown configuration": (None, dataset(name="pies"), CONFIGURATIONS),
    "no configuration": (None, dataset(), CONFIGURATIONS),
    "unknown revision": (None, dataset(name="reds", revision="v9"), f"{NAMED} has no revision 'v9'"),
    "unknown dataset": (None, {"path": "org/none"}, "data.path: the Hub's dataset 'org/none' is not there, or is pri"),
    "gated dataset, no token": (None, {"path": GATED}, f"data.path: the Hub's dataset '{GATED}' {ADVICE}"),
    "gated dataset, no access": (READER, {"path": GATED}, f"data.path: the Hub's dataset '{GATED}' {ADVICE}"),
    "gated dataset, access": (WRITER, {"path": GATED}, "gated wine number "),
    "gated model, no token": (None, MODEL, f"model: {MODEL} {ADVICE}"),
    "gated model, no access": (READER, MODEL, f"model: {MODEL} {ADVICE}"),
    "gated model, access": (WRITER, MODEL, "parameters: "),
}


@pytest.fixture(scope="module")
def results(hub: HubServer, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Load all in one new process, because huggingface_hub reads HF_ENDPOINT when it is imported."""
    fill(hub, toy_run)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {**hub.environment(None), "HF_HOME": str(tmp_path_factory.mktemp("home"))}
    wanted = json.dumps([(token, what) for token, what, _ in CASES.values()])
    done = subprocess.run([sys.executable, SCRIPT], input=wanted, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_what_the_hub_has_is_loaded_and_what_it_refuses_is_one_line(results: dict[str, str], case: str) -> None:
    assert results[case].startswith(CASES[case][2])
    assert "\n" not in results[case]

"""Datasets and models are loaded from a Hub on loopback: revisions, configurations, and gated repositories."""

import json
from collections import Counter
from pathlib import Path

import pytest
from support.hub_server import READER, WRITER, Fault, HubServer
from support.publisher import Publisher

DATASET, CAMEL, GATED, MODEL, OPEN = "org/reviews", "org/WineReviews", "org/gated-reviews", "org/gated-gpt", "org/gpt"
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
    for kind, name in (
        ("dataset", DATASET),
        ("dataset", CAMEL),
        ("dataset", GATED),
        ("model", MODEL),
        ("model", OPEN),
    ):
        hub.add_repository(name, kind)
    reds = {"README.md": CARD.encode(), "reds/a.csv": table("red"), "whites/a.csv": table("white")}
    hub.upload(DATASET, reds, "dataset")
    hub.repository(DATASET, "dataset").refs["v1"] = hub.repository(DATASET, "dataset").refs["main"]
    hub.upload(DATASET, {"reds/a.csv": table("new red")}, "dataset")
    hub.upload(GATED, {"a.csv": table("gated")}, "dataset")
    hub.upload(CAMEL, {"a.csv": table("cached")}, "dataset")
    for name in (MODEL, OPEN):
        hub.upload(name, {file.name: file.read_bytes() for file in model.iterdir() if file.is_file()})
    hub.gated = {GATED, MODEL}


def dataset(**settings: str) -> dict[str, str]:
    return {"path": DATASET, **settings}


# name to token, dataset or model, and the beginning of the text, or the error
NAMED = f"data.path: the Hub's dataset '{DATASET}'"
ADVICE = "is gated: accept its terms on its page, and log in with hf auth login"
CONFIGURATIONS = f"{NAMED} has these configurations, of which data.name must be one: reds, whites"
Wanted = dict[str, str] | list[str] | str
CASES: dict[str, tuple[str | None, Wanted, str]] = {
    "configuration": (None, dataset(name="reds"), "new red wine number "),
    "other configuration": (None, dataset(name="whites"), "white wine number "),
    "revision": (None, dataset(name="reds", revision="v1"), "red wine number "),
    "unknown configuration": (None, dataset(name="pies"), CONFIGURATIONS),
    "no configuration": (None, dataset(), CONFIGURATIONS),
    "unknown revision": (None, dataset(name="reds", revision="v9"), f"{NAMED} has no revision 'v9'"),
    "dataset for the cache": (None, {"path": CAMEL}, "cached wine number "),
    "unknown dataset": (None, {"path": "org/none"}, "data.path: the Hub's dataset 'org/none' is not there, or is pri"),
    "dataset from the cache, the Hub overloaded": (None, {"path": CAMEL}, "cached wine number "),
    "revision from the cache, the Hub overloaded": (
        *(None, dataset(name="reds", revision="v1")),
        f"{NAMED}: the Hub can't be reached",
    ),
    "id that no dataset can have": (None, {"path": "org/a--b"}, "data.path: the Hub's dataset 'org/a--b' can't be l"),
    "gated dataset, no token": (None, {"path": GATED}, f"data.path: the Hub's dataset '{GATED}' {ADVICE}"),
    "gated dataset, no access": (READER, {"path": GATED}, f"data.path: the Hub's dataset '{GATED}' {ADVICE}"),
    "gated dataset, access": (WRITER, {"path": GATED}, "gated wine number "),
    "gated model, no token": (None, MODEL, f"model: {MODEL} {ADVICE}"),
    "gated model, no access": (READER, MODEL, f"model: {MODEL} {ADVICE}"),
    "gated model, access": (WRITER, MODEL, "parameters: "),
    "generation": (None, ["command", OPEN], "wine review : "),
    "generation from the cache": (None, ["command", OPEN], "wine review : "),
    "generation from the cache in Python": (None, ["api", OPEN], "wine review : "),
    "generation without the Hub": (None, ["command", OPEN], "wine review : "),
}


def fault(hub: HubServer, request: object) -> Fault | None:
    """Refuse two datasets after an unknown one was asked for; do not answer the last request for the open model."""
    if any(name in str(request) for name in (CAMEL, DATASET)) and any(
        "org/none" in str(earlier) for earlier in hub.requests
    ):
        return Fault("refuse", 503)
    return Fault("drop") if len(revisions_asked(hub)) > 3 else None


def revisions_asked(hub: HubServer) -> list[str]:
    """Return the requests for the newest revision of the open model."""
    return [str(request) for request in hub.requests if request.path == f"/api/models/{OPEN}"]


@pytest.fixture(scope="module")
def results(hub: HubServer, publisher: Publisher, toy_run: Path) -> dict[str, str]:
    """Load all in the process that has HF_ENDPOINT, because huggingface_hub reads it when it is imported."""
    fill(hub, toy_run)
    wanted = json.dumps([(token, what) for token, what, _ in CASES.values()])
    hub.fault = lambda number, request: fault(hub, request)
    lines = publisher.run(wanted, script=SCRIPT).succeeded().splitlines()
    return dict(zip(CASES, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_what_the_hub_has_is_loaded_and_what_it_refuses_is_one_line(results: dict[str, str], case: str) -> None:
    assert results[case].startswith(CASES[case][2])
    assert "\n" not in results[case]


@pytest.mark.usefixtures("results")
def test_a_model_is_asked_for_once_and_its_files_are_downloaded_once(hub: HubServer) -> None:
    generations = [case for case in CASES if case.startswith("generation")]
    assert len(revisions_asked(hub)) == len(generations)
    others = Counter(str(request) for request in hub.requests if OPEN in request.path)
    del others[f"GET /api/models/{OPEN}"]
    assert set(others.values()) == {1}, others
    assert any("review_template.json" in request for request in others)


@pytest.mark.usefixtures("results")
def test_an_overloaded_hub_is_asked_for_a_cached_dataset_once(hub: HubServer) -> None:
    """Requests for its files would be repeated for 23 seconds."""
    requests = [str(request) for request in hub.requests]
    (unknown,) = (number for number, request in enumerate(requests) if "org/none" in request)
    assert [request for request in requests[unknown:] if CAMEL in request] == [f"GET /api/datasets/{CAMEL}"]

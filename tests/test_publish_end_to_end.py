"""Published models work without wine_gpt: a new process loads them from a Hub on loopback."""

import json
from pathlib import Path

import pytest
from support.finished_runs import adapt, finish
from support.hub_server import HubServer
from support.publisher import Publisher
from support.without_wine_gpt import run_without_wine_gpt

from wine_gpt.generation.generate import generate_texts
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.tokenizer import load_tokenizer

MODEL = "org/wine-gpt"
VARIETIES = ("chardonnay", "cabernet-sauvignon", "syrah")
PROMPTS = ("wine review : italy", "wine review : germany : mosel", "Wine review", "")

SUPPORT = Path(__file__).parent / "support"
USE_MODELS = SUPPORT / "use_published_models.py"


@pytest.fixture(scope="module")
def trained(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``run`` and ``varieties``: two adapters and a whole fine-tuned model."""
    folder = tmp_path_factory.mktemp("trained")
    run = finish(toy_run, folder / "run")
    for seed, value in enumerate(("Chardonnay", "Cabernet Sauvignon")):
        adapt(run, folder / "varieties", value, seed=seed)
    adapt(run, folder / "varieties", "Syrah", method="full", seed=2)
    return folder


@pytest.fixture(scope="module")
def published(hub: HubServer, publisher: Publisher, trained: Path) -> HubServer:
    """Publish a model and its fine-tuned models."""
    hub.forget()
    command = [trained / "run", "--repo", MODEL, "--adapters", trained / "varieties"]
    publisher.run(*command).succeeded()
    return hub


@pytest.fixture
def empty_folder(published: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set new processes' environment to that Hub, without a token.

    Returns:
        an empty folder to run them in.
    """
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name, value in published.environment(token=None).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def test_published_models_equal_the_local_ones(trained: Path, empty_folder: Path) -> None:
    run = trained / "run"
    names = (MODEL, *(f"{MODEL}-{variety}" for variety in VARIETIES))
    folders = map(str, (run, *(trained / "varieties" / variety for variety in VARIETIES)))
    models = json.dumps([names, [*folders]])
    found, expected = run_without_wine_gpt(USE_MODELS, models, *PROMPTS, cwd=empty_folder)
    assert found == expected
    assert found["first"] != found["second"]
    assert len({json.dumps(found[texts]) for texts in ("texts", "adapted texts", "full texts")}) == 3
    model, tokenizer = load_model(run), load_tokenizer(run)
    for prompt, text in zip(PROMPTS, found["texts"], strict=True):
        # after an empty prompt the pipeline keeps the space before the first word
        local = generate_texts(model, tokenizer, [prompt], seed=0, do_sample=False)
        assert [text if prompt else text.removeprefix(" ")] == local, prompt

"""Publishing again keeps what an earlier publish put on the Hub, unless an option or new weights remove it."""

import re
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch_file
from support.finished_runs import adapt, finish
from support.hub_server import HubServer
from support.publisher import Publisher

from wine_gpt.evaluation.ngram_index import build_index
from wine_gpt.publishing.kept import SPACE_LINK
from wine_gpt.training.epoch_weights import keep

MODEL, PINOT, SYRAH, SPACE = "org/wine-gpt", "org/wine-gpt-pinot-noir", "org/wine-gpt-syrah", "org/wine-gpt-demo"
INDEX, ONNX = "training_ngrams.safetensors", "onnx/model.onnx"


@pytest.fixture(scope="module")
def work(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run and fine-tuned models."""
    folder = tmp_path_factory.mktemp("again")
    run = finish(toy_run, folder / "run", path="poems.jsonl")
    adapt(run, folder / "varieties", "Pinot Noir")
    adapt(run, folder / "varieties", "Syrah", method="full", seed=1)
    return folder


@pytest.fixture(autouse=True)
def published(hub: HubServer, publisher: Publisher, work: Path) -> None:
    """Publish all, and add an ONNX file and an index as ``--onnx`` and ``--index`` would."""
    hub.forget()
    publisher.run(*base(work), "--adapters", work / "varieties", "--space", SPACE, reuse_staged=True).succeeded()
    build_index(["one two three four five six seven eight nine ten eleven twelve"], work / INDEX)
    hub.upload(MODEL, {ONNX: b"of these weights", INDEX: (work / INDEX).read_bytes()})


def base(work: Path, run: str = "run") -> list[object]:
    return [work / run, "--repo", MODEL, "--license", "mit"]


def card(hub: HubServer, name: str = MODEL, kind: str = "model") -> str:
    return hub.repository(name, kind).files()["README.md"]


def test_fewer_options_keep_what_is_published(hub: HubServer, publisher: Publisher, work: Path) -> None:
    table = [line for line in card(hub).splitlines() if line.startswith("| ") and "huggingface.co/org" in line]
    stdout = publisher.run(*base(work)).succeeded()
    assert {ONNX, INDEX} <= hub.repository(MODEL).files().keys()
    text = card(hub)
    assert f"adapters:\n- {PINOT}\n" in text
    assert len(table) == 2
    assert all(line in text.splitlines() for line in table)
    assert "## Fine-tuned models" in text
    assert f"https://huggingface.co/spaces/{SPACE}" in text
    assert "- transformers.js\n" in text
    assert INDEX in text
    for line in (
        f"model repository {MODEL}: {ONNX} is kept as published earlier, unless the option onnx is false",
        f"model repository {MODEL}: {INDEX} is kept as published earlier, unless the option index is false",
        f"model repository {MODEL}: the card still names {PINOT}, which was published earlier",
        f"model repository {MODEL}: the card still names {SPACE}, which was published earlier",
    ):
        assert line in stdout.splitlines()
    # publishing an index is not the default for this corpus
    assert f"{INDEX} is left out" not in stdout
    before = hub.state()
    assert "already up to date" in publisher.run(*base(work)).succeeded()
    assert hub.state() == before
    # the demo alone keeps the fine-tuned models too
    publisher.run(*base(work), "--space", SPACE).succeeded()
    assert f"models:\n- {MODEL}\n- {SYRAH}\n- {PINOT}\n" in card(hub, SPACE, "space")
    assert "LoRA adapters" in card(hub, SPACE, "space")
    # without the adapter, only a whole model is left, which the demo does not load
    del hub.repositories["model", PINOT]
    publisher.run(*base(work), "--space", SPACE).succeeded()
    assert f"models:\n- {MODEL}\n- {SYRAH}\n" in card(hub, SPACE, "space")
    assert "LoRA adapters" not in card(hub, SPACE, "space")


def test_an_owners_onnx_file_stays_where_publishing_writes_none(
    hub: HubServer, publisher: Publisher, work: Path
) -> None:
    hub.upload(SYRAH, {ONNX: b"the owner's"})
    before = hub.repository(SYRAH).history()
    publisher.run(*base(work), "--adapters", work / "varieties").succeeded()
    assert hub.repository(SYRAH).history() == before


def test_options_and_deleted_repositories_remove(hub: HubServer, publisher: Publisher, work: Path) -> None:
    del hub.repositories["model", PINOT], hub.repositories["space", SPACE]
    stdout = publisher.run(*base(work), "--no-onnx", "--no-index").succeeded()
    assert f"model repository {MODEL}: {ONNX} is removed, because the option onnx is false" in stdout
    assert f"model repository {MODEL}: {INDEX} is removed, because the option index is false" in stdout
    assert not {ONNX, INDEX} & hub.repository(MODEL).files().keys()
    text = card(hub)
    assert SYRAH in text
    assert all(gone not in text for gone in (PINOT, SPACE, "transformers.js", INDEX))


def test_what_was_made_for_other_weights_is_removed(
    hub: HubServer, publisher: Publisher, work: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(work / "run", tmp_path / "run")
    weights = load_file(run / "model.safetensors")
    save_file({**weights, "transformer.ln_f.bias": weights["transformer.ln_f.bias"] + 1}, run / "model.safetensors")
    stdout = publisher.run(run, "--repo", MODEL, "--license", "mit").succeeded()
    for line in (
        f"{ONNX} is removed, because it was made for other weights; the option onnx makes a new one",
        f"{INDEX} is removed, because it was made for other weights; the option index makes a new one",
        f"the card no longer lists {PINOT}, which was fine-tuned from other weights but is loaded on the new ones "
        "from now on: fine-tune it again, delete it, or publish the new weights with another revision",
        f"the card no longer lists {SYRAH}, which was fine-tuned from other weights",
    ):
        assert f"model repository {MODEL}: {line}" in stdout.splitlines()
    assert not {ONNX, INDEX} & hub.repository(MODEL).files().keys()
    text = card(hub)
    assert all(gone not in text for gone in (PINOT, SYRAH, "transformers.js", INDEX))
    # the Space shows the new model
    assert SPACE in text
    # the base on a new branch leaves the adapter's base as it is
    publisher.run(*base(work), "--adapters", work / "varieties").succeeded()
    stdout = publisher.run(run, "--repo", MODEL, "--license", "mit", "--revision", "v2").succeeded()
    line = f"model repository {MODEL}: the card no longer lists {PINOT}, which was fine-tuned from other weights"
    assert line in stdout.splitlines()


def test_other_adapters_stay_listed_and_odd_cards_are_read(
    hub: HubServer, publisher: Publisher, work: Path, tmp_path: Path
) -> None:
    adapt(work / "run", tmp_path / "varieties", "Merlot", seed=2)
    publisher.run(*base(work), "--adapters", tmp_path / "varieties").succeeded()
    text = card(hub)
    assert text.count("\n| ") >= 3
    assert f"adapters:\n- {MODEL}-merlot\n- {PINOT}\n" in text
    for odd in ("---\nadapters: 3\n---\n", "---\n[\n---\n| a | b |", f"| [x](https://huggingface.co/{PINOT}) |"):
        hub.upload(MODEL, {"README.md": odd.encode()})
        publisher.run(*base(work)).succeeded()
        assert "## Fine-tuned" not in card(hub)


def test_fine_tuned_models_of_two_fields_keep_theirs(
    hub: HubServer, publisher: Publisher, work: Path, tmp_path: Path
) -> None:
    adapt(work / "run", tmp_path / "countries", "Spain", field="country", seed=2)
    publisher.run(*base(work), "--adapters", tmp_path / "countries").succeeded()
    for _ in range(2):
        subsets = re.findall(rf"^\| (\w+: .+) \| \[{MODEL}-", card(hub), re.MULTILINE)
        assert sorted(subsets) == ["country: Spain", "variety: Pinot Noir", "variety: Syrah"]
        # the next publish reads them back
        publisher.run(*base(work)).succeeded()


def test_the_epochs_are_published_kept_and_removed(
    hub: HubServer, publisher: Publisher, work: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(work / "run", tmp_path / "run")
    options = [run, "--repo", MODEL, "--license", "mit"]
    assert f"--epochs: {run} kept no epochs: train it" in publisher.run(*options, "--epochs").refused()
    weights = load_torch_file(run / "model.safetensors")
    for epoch in range(2):
        keep(run / "epochs", weights, epoch=epoch, step=epoch, training_loss=1.0, validation_loss=2.0)
    (run / "epochs" / "notes.txt").touch()
    epochs = {"epochs/index.json", "epochs/epoch-000.safetensors", "epochs/epoch-001.safetensors"}
    hub.upload(MODEL, {"epochs/epoch-002.safetensors": b"of a longer run", "epochs/mine.txt": b"the owner's"})

    def published() -> set[str]:
        return {name for name in hub.repository(MODEL).files() if name.startswith("epochs/")}

    assert "epochs/epoch-001.safetensors" in publisher.run(*options, "--epochs", "--dry_run").succeeded()
    assert "epochs/" not in publisher.run(*options, "--dry_run").succeeded()
    stdout = publisher.run(*options, "--epochs").succeeded()
    assert f"model repository {MODEL}: removes epochs/epoch-002.safetensors" in stdout.splitlines()
    assert published() == epochs | {"epochs/mine.txt"}
    stdout = publisher.run(*options).succeeded()
    assert (
        f"model repository {MODEL}: epochs/index.json is kept as published earlier, unless the option epochs is false"
        in stdout
    )
    assert published() == epochs | {"epochs/mine.txt"}
    publisher.run(*options, "--no-epochs").succeeded()
    assert published() == {"epochs/mine.txt"}
    (run / "epochs" / "epoch-001.safetensors").write_bytes(b"")
    error = publisher.run(*options, "--epochs").refused()
    assert f"--epochs: {run}/epochs/epoch-001.safetensors is missing or damaged" in error


def test_links_to_spaces_of_short_names_are_found() -> None:
    link = SPACE_LINK.search("[a/b](https://huggingface.co/spaces/a/b).")
    assert link is not None
    assert link[1] == "a/b"

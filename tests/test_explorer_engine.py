"""The explorer's engine computes what transformers computes, in node and in Chromium.

In Chromium a page reads the models from a server that answers as the Hub does.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.explorer_models import CASES, write_case
from support.explorer_texts import TOKENIZERS, write_texts
from support.local_server import serving
from support.static_hub import StaticFiles, StaticHub, static_hub
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from wine_gpt.generation.generate import encode_prompts, generate_ids

if TYPE_CHECKING:
    from playwright.sync_api import Page

TESTS = Path(__file__).parent / "javascript"
EXPLORER = Path(__file__).parents[1] / "space" / "explorer"
LIBRARY = TESTS / "node_modules" / "@huggingface" / "tokenizers" / "dist" / "tokenizers.min.mjs"
TYPESCRIPT = TESTS / "node_modules" / "typescript" / "lib" / "tsc.js"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no node")
POLICY = (
    "default-src 'none'; script-src 'self' blob:; worker-src 'self' blob:; "
    "connect-src http://127.0.0.1:* https://cdn.jsdelivr.net"
)
HTML = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>-</title><input type="file" multiple>'

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model for each case, in ``org/NAME``."""
    folder = tmp_path_factory.mktemp("explorer")
    for name, case in CASES.items():
        write_case(case, folder / "org" / name)
    return folder


@pytest.fixture(scope="module")
def hub(folder: Path, toy_run: Path) -> Iterator[StaticHub]:
    """Serve the models with CORS and ranges, by a redirect to another host, with the toy model."""
    shutil.copytree(toy_run, folder / "org" / "toy")
    with static_hub(folder) as server:
        yield server


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Page]":
    """Open an empty page on a third host, which serves the explorer."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    from support import browser

    if browser.CHROMIUM is None:
        pytest.skip("no chromium")
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text(HTML)
    mounts = {"/explorer/": EXPLORER, "/tests/": TESTS / "explorer", "/": folder}
    with serving(StaticFiles(mounts)) as server, browser.launched() as chromium:
        opened = browser.new_page(chromium)
        opened.goto(f"{server.address}/index.html")
        yield opened


@pytest.fixture
def call(page: "Page", hub: StaticHub) -> Call:
    """Return a function that calls a function of in_page.js."""
    hub.behave()

    def call(name: str, argument: object = None) -> Any:  # noqa: ANN401 - JSON
        script = "async ([name, argument]) => (await import('/tests/in_page.js'))[name](argument)"
        return page.evaluate(script, [name, argument])

    return call


def reference(hub: StaticHub, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((hub.models / "org" / name / "reference.json").read_text())
    return content


def run_node(file: str, **environment: str) -> None:
    """Run a file of node's tests."""
    command = [str(NODE), "--test", str(TESTS / "explorer" / file)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr


@needs_node
@pytest.mark.skipif(not TYPESCRIPT.is_file(), reason="needs npm install --ignore-scripts --prefix tests/javascript")
def test_the_types_are_sound() -> None:
    done = subprocess.run(["node", TYPESCRIPT, "--project", TESTS], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@needs_node
def test_all_inner_values_and_50_greedy_texts_equal_transformers_in_node(folder: Path) -> None:
    run_node("parity.test.js", MODELS=str(folder))


@needs_node
def test_50_greedy_texts_of_a_trained_model_equal_wine_gpts(
    toy_run: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    regions = ("", "italy", "Italy : Tuscany", "germany : mosel", "spain : rioja", "mars")
    parts = itertools.product(regions, ("riesling", "Sangiovese", "merlot"), ("", " :", " : it's a"))
    prompts = [" : ".join(filter(None, ("wine review", region, grape))) + start for region, grape, start in parts]
    reference = [{"prompt": prompt, "continuation": continued(model, tokenizer, prompt)} for prompt in prompts[:50]]
    (tmp_path / "reference.json").write_text(json.dumps(reference))
    run_node("text.test.js", MODEL=str(toy_run), REFERENCE=str(tmp_path / "reference.json"))


def continued(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompt: str) -> str:
    """Return wine_gpt's greedy continuation of a prompt."""
    encoded = encode_prompts(model, tokenizer, [prompt])
    ids = generate_ids(model, encoded, seed=0, do_sample=False)
    return str(tokenizer.decode(ids[0, encoded["input_ids"].shape[1] :], skip_special_tokens=True))


@needs_node
def test_words_and_texts_equal_those_of_wine_gpts_tokenizer(tmp_path: Path) -> None:
    for name in TOKENIZERS:
        write_texts(tmp_path / name, name)
    run_node("tokenizer.test.js", TOKENIZERS=str(tmp_path))


@needs_node
def test_damaged_and_hostile_files_are_one_line_each(folder: Path) -> None:
    run_node("hostile.test.js", MODEL=str(folder / "org" / "tiny"))


@needs_node
def test_distributions_are_those_that_transformers_samples_from(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    choices = itertools.product((0.3, 1.0, 2.5), (0, 1, 7), (1.0, 0.9, 0.05), ([], [0, 3]))
    reference = [distribution(generator, *settings) for settings in choices]
    (tmp_path / "reference.json").write_text(json.dumps(reference))
    run_node("sampling.test.js", REFERENCE=str(tmp_path / "reference.json"))


def distribution(
    generator: torch.Generator, temperature: float, top_k: int, top_p: float, suppress: list[int]
) -> dict[str, Any]:
    """Return random logits, the settings, and the probabilities that ``generate`` samples from."""
    logits = 3 * torch.randn(1, 60, generator=generator)
    scores = logits.clone()
    scores[:, suppress] = -torch.inf
    warpers = [
        TemperatureLogitsWarper(temperature),
        *([TopKLogitsWarper(top_k)] if top_k else []),
        TopPLogitsWarper(top_p),
    ]
    for warper in warpers:
        scores = warper(None, scores)
    return {
        "logits": logits[0].tolist(),
        "settings": {"temperature": temperature, "topK": top_k, "topP": top_p, "suppress": suppress},
        "probabilities": scores.softmax(-1)[0].tolist(),
    }


# those whose files are read or decoded in different ways; the sums of all others are the same as in node
@pytest.mark.parametrize("name", ["tiny", "shards", "bfloat16"])
def test_inner_values_and_50_greedy_texts_equal_transformers_in_chromium(
    call: Call, hub: StaticHub, name: str
) -> None:
    assert call("parity", hub.source(name)) == []


def test_a_model_is_read_once_and_from_the_hub_only(call: Call, page: "Page", hub: StaticHub) -> None:
    urls: list[str] = []
    page.context.on("request", lambda request: urls.append(request.url))
    assert call("problem", hub.source("toy")) == ""
    files = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    assert hub.cdn.behavior.asked == [(f"/files/org/toy/{name}", None) for name in files]
    # the worker is a blob that imports its module
    allowed = ("blob:", page.url.removesuffix("index.html"), hub.front.address, hub.cdn.address)
    assert any(url.startswith(hub.cdn.address) for url in urls)
    assert [url for url in urls if not url.startswith(allowed)] == []
    assert call("problem", {**hub.source("toy"), "revision": "refs/pr/1"}) == ""
    assert "/org/toy/resolve/refs/pr/1/config.json" in [path for path, _ in hub.front.behavior.asked]


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_what_is_not_needed_is_skipped_where_the_server_has_ranges(call: Call, hub: StaticHub, ranges: bool) -> None:
    hub.cdn.behavior.ranges = ranges
    assert call("parity", hub.source("buffers")) == []
    skipped = [header for path, header in hub.cdn.behavior.asked if path.endswith(".safetensors") and header]
    assert len(skipped) == (2 if ranges else 1)


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
@pytest.mark.parametrize("unanswered", [0, 2])
def test_a_lost_connection_is_resumed(call: Call, hub: StaticHub, ranges: bool, unanswered: int) -> None:
    behavior = hub.cdn.behavior
    behavior.ranges, behavior.drop_after, behavior.unanswered = ranges, 40_000, unanswered
    assert call("parity", hub.source("tiny")) == []
    assert len([path for path, _ in behavior.asked if path.endswith(".safetensors")]) == 2 + unanswered


def test_a_connection_that_stays_lost_is_one_line(call: Call, hub: StaticHub) -> None:
    behavior = hub.cdn.behavior
    behavior.drop_after, behavior.unanswered = 40_000, 10
    found = call("problem", hub.source("tiny"))
    assert re.fullmatch(r"ModelError: can't reach \S+ for model.safetensors of org/tiny: try again, .*", found)
    assert len([path for path, _ in behavior.asked if path.endswith(".safetensors")]) == 4


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "org/tiny is no public model of the Hub: check the name"),
        (403, "org/tiny is gated or private: the explorer reads public models only"),
        (404, "org/tiny has no config.json: is it a model's folder?"),
        (429, "the server answers no more requests for now (429): wait a few minutes"),
        (503, "the server answered 503 for config.json of org/tiny: try again later"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line(call: Call, hub: StaticHub, status: int, words: str) -> None:
    hub.front.behavior.status = status
    assert call("problem", hub.source("tiny")) == f"ModelError: {words}"


def test_a_host_that_does_not_answer_is_one_line(call: Call) -> None:
    found = call("problem", {"hub": "org/tiny", "endpoint": "http://127.0.0.1:9"})
    assert found == "ModelError: can't reach 127.0.0.1:9 for config.json of org/tiny: try again, or check the address"


def test_a_folder_is_read_from_its_address_and_from_dropped_files(call: Call, page: "Page", hub: StaticHub) -> None:
    folder = hub.models / "org" / "tiny"
    for text in ("/files/org/tiny", "/files/org/tiny/", "/files/org/tiny/config.json"):
        source = call("source", {"text": hub.cdn.address + text})
        assert source == {"url": f"{hub.cdn.address}/files/org/tiny/"}
    assert call("parity", source) == []
    page.locator("input").set_input_files([folder / "config.json", folder / "model.safetensors"])
    logits = reference(hub, "tiny")["logits"]
    assert call("dropped", {"ids": reference(hub, "tiny")["ids"]}) == pytest.approx(logits, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("org/name", {"hub": "org/name", "revision": "v2"}),
        ("org/name@v1.0", {"hub": "org/name", "revision": "v1.0"}),
        ("https://huggingface.co/org/name", {"hub": "org/name", "revision": "v2"}),
        ("huggingface.co/org/name/", {"hub": "org/name", "revision": "v2"}),
        ("hf.co/gpt2", {"hub": "gpt2", "revision": "v2"}),
        ("https://huggingface.co/org/name?library=transformers", {"hub": "org/name", "revision": "v2"}),
        ("https://huggingface.co/org/name/tree/main", {"hub": "org/name", "revision": "main"}),
        ("https://huggingface.co/org/name/tree/refs%2Fpr%2F1", {"hub": "org/name", "revision": "refs/pr/1"}),
        ("https://huggingface.co/org/name/blob/main/config.json", {"hub": "org/name", "revision": "main"}),
        # a folder of a repository is no model's page
        (
            "https://huggingface.co/org/name/resolve/main/folder/",
            {"url": "https://huggingface.co/org/name/resolve/main/folder/"},
        ),
        ("https://example.org/org/name", {"url": "https://example.org/org/name/"}),
    ],
)
def test_the_address_of_a_hub_page_names_its_model(call: Call, text: str, source: dict[str, str]) -> None:
    assert call("source", {"text": text, "revision": "v2"}) == source


@pytest.mark.parametrize("text", ["", "a/b/c", "org/..", "javascript:alert(1)", "file:///etc", "a b", "x" * 300])
def test_a_text_that_names_no_model_is_one_line(call: Call, text: str) -> None:
    with pytest.raises(Exception, match="is no model: type organization/name as on the Hub, or an address"):
        call("source", {"text": text})


def test_an_address_with_a_password_is_refused_without_showing_it(call: Call) -> None:
    with pytest.raises(Exception, match="an address with a password can't be read") as raised:
        call("source", {"text": "https://someone:secret@example.org/model"})
    assert "secret" not in str(raised.value)


def test_writing_stops_after_the_current_word_and_a_closed_model_says_so(call: Call, hub: StaticHub) -> None:
    found = call("stopped", hub.source("tiny"))
    assert found["reason"] == "stopped"
    assert found["ids"] == [step["id"] for step in found["steps"]]
    assert 1 <= len(found["ids"]) < 39
    assert found["again"]["reason"] == "length"
    assert len(found["again"]["ids"]) == 2
    # how many words were written before the stop depends on the machine
    assert all(one == other for one, other in zip(found["again"]["ids"], found["ids"], strict=False))
    assert found["closed"] == ["the model was closed", "the model was closed"]
    assert all(0 <= step["u"] < 1 and step["position"] == 1 + index for index, step in enumerate(found["steps"]))


def test_a_download_is_stopped(call: Call, hub: StaticHub) -> None:
    assert call("stoppedDownload", hub.source("base")) == "loading was stopped"


def test_wine_gpts_tokenizer_needs_no_library(call: Call, hub: StaticHub, tokenizer: PreTrainedTokenizerFast) -> None:
    texts = ["wine review : italy : tuscany : it's a full-bodied, bright wine", ""]
    ids = tokenizer(texts)["input_ids"]
    found = call("texts", {"source": hub.source("toy"), "texts": texts, "ids": ids})
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    assert found == {
        "unit": "word",
        "problem": "",
        "ids": ids,
        "decoded": decoded,
        "pieces": decoded,
        "labels": tokenizer.convert_ids_to_tokens(ids[0]),
    }


@pytest.mark.skipif(not LIBRARY.is_file(), reason="needs npm install --ignore-scripts --prefix tests/javascript")
def test_another_tokenizer_is_read_by_the_pinned_library(call: Call, page: "Page", hub: StaticHub) -> None:
    texts = [" it's a crisp, bright wine", " Ñandú 日本 🍷!"]
    tokenizer = byte_level(texts)
    shutil.copytree(hub.models / "org" / "tiny", hub.models / "org" / "bytes", dirs_exist_ok=True)
    tokenizer.save(str(hub.models / "org" / "bytes" / "tokenizer.json"))
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    library = LIBRARY.read_text()
    answers = iter([library, library + " "])
    headers = {"Access-Control-Allow-Origin": "*"}
    page.context.route(
        "https://cdn.jsdelivr.net/**",
        lambda route: route.fulfill(body=next(answers), content_type="text/javascript", headers=headers),
    )
    found = call("texts", {"source": hub.source("bytes"), "texts": texts, "ids": ids})
    assert (found["unit"], found["ids"], found["decoded"], found["pieces"]) == ("token", ids, texts, texts)
    # a library with other bytes is not executed
    with pytest.raises(Exception, match="Cannot read properties of null"):
        call("texts", {"source": hub.source("bytes"), "texts": texts, "ids": ids})


def byte_level(texts: list[str]) -> Tokenizer:
    """Train a byte-level BPE tokenizer that puts a space before a text, unlike GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    return tokenizer

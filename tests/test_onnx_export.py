"""The ONNX export generates torch's text in onnxruntime and in transformers.js."""

import itertools
import json
import logging
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.finished_runs import finish
from support.publisher import Publisher
from support.snapshot import file_contents
from support.toy_model import toy_texts
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.generation.generate import generate_texts
from wine_gpt.generation.prompts import join
from wine_gpt.publishing.publication import Publication
from wine_gpt.publishing.published_files import ONNX, ONNX_QUANTIZED
from wine_gpt.publishing.staging import stage, write_cards

pytest.importorskip("onnxscript", reason='not installed: pip install "wine_gpt[onnx]"')
onnx = pytest.importorskip("onnx", reason="not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="not installed")

REGIONS = ("", "italy", "italy : tuscany", "germany : mosel", "spain : rioja", "spain", "germany", "mars")
GRAPES = ("riesling", "sangiovese", "tempranillo", "merlot")
NAME = "org/wine-gpt"
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def staged(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a staged model."""
    folder = tmp_path_factory.mktemp("staged")
    run = finish(toy_run, folder / "run")
    (folder / "repositories").mkdir()
    handlers = list(logging.root.handlers)
    write_cards(stage(Publication(run, NAME, onnx=True), folder / "repositories"))
    assert logging.root.handlers == handlers
    return folder / "repositories" / "models"


@pytest.fixture(scope="module")
def session(staged: Path) -> "onnxruntime.InferenceSession":
    return onnxruntime.InferenceSession(staged / NAME / ONNX)


def test_another_process_stages_the_same_bytes(staged: Path, publisher: Publisher, tmp_path: Path) -> None:
    """In another folder and with other hashes of strings, so that publishing again makes no commit."""
    run = shutil.copytree(staged.parents[1] / "run", tmp_path / "run")
    publisher.run(run, "--repo", NAME, "--onnx", "--dry_run").succeeded()
    assert file_contents(run / "publish" / "models") == file_contents(staged)


@pytest.mark.parametrize("name", [ONNX, ONNX_QUANTIZED])
def test_the_file_names_no_folder_of_the_machine(staged: Path, name: str) -> None:
    content = (staged / NAME / name).read_bytes()
    for words in (b"stack_trace", b"site-packages", b".py", str(Path.cwd()).encode(), str(Path.home()).encode()):
        assert words not in content, words
    model = onnx.load(staged / NAME / name)
    onnx.checker.check_model(model, full_check=True)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_the_quantized_file_is_smaller_and_predicts_as_well(
    staged: Path, session: "onnxruntime.InferenceSession", tokenizer: PreTrainedTokenizerFast
) -> None:
    sizes = [(staged / NAME / name).stat().st_size for name in (ONNX, ONNX_QUANTIZED)]
    assert sizes[1] < 0.5 * sizes[0]
    losses = []
    for one in (session, onnxruntime.InferenceSession(staged / NAME / ONNX_QUANTIZED)):
        total = 0.0
        for text in toy_texts()[::20]:
            ids = np.array([tokenizer(text)["input_ids"]])
            logits, _ = step(one, ids, np.ones_like(ids), empty_cache(one, batch=1))
            logs = logits[0] - np.log(np.exp(logits[0]).sum(-1, keepdims=True))
            total -= logs[np.arange(ids.size - 1), ids[0, 1:]].sum()
        losses.append(total)
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def prompts() -> list[str]:
    headers = [f"wine review : {region} : {grape}" for region, grape in itertools.product(REGIONS, GRAPES)]
    starts = [f"{header} : it's" for header in headers[:12]]
    return [
        *headers,
        *starts,
        "",
        "wine review",
        "Wine Review : Italy",
        "drink now",
        "wine",
        "it's a bright wine with plum",
    ]


@pytest.mark.parametrize("use_cache", [True, False], ids=["with the KV cache", "without"])
def test_greedy_text_equals_torchs_for_50_prompts(
    session: "onnxruntime.InferenceSession",
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    use_cache: bool,
) -> None:
    assert len(set(prompts())) == 50
    # a few without the cache, which take long
    for prompt in prompts() if use_cache else prompts()[::5]:
        expected = generate_texts(model, tokenizer, [prompt], seed=0, do_sample=False)
        assert [generate_greedily(session, model, tokenizer, prompt, use_cache)] == expected, prompt


def generate_greedily(
    session: "onnxruntime.InferenceSession",
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    use_cache: bool,
) -> str:
    """Generate with onnxruntime: the most probable token that the generation config does not suppress."""
    start = tokenizer(prompt)["input_ids"]
    ids = list(start)
    cache = empty = empty_cache(session, batch=1)
    cached = 0
    while len(ids) < model.generation_config.max_length and ids[-1] != tokenizer.eos_token_id:
        logits, present = step(session, np.array([ids[cached:]]), np.ones((1, len(ids)), np.int64), cache)
        logits[0, -1, model.generation_config.suppress_tokens] = -np.inf
        cache, cached = (present, len(ids)) if use_cache else (empty, 0)
        ids.append(int(logits[0, -1].argmax()))
    return join(prompt, tokenizer.decode(ids[len(start) :], skip_special_tokens=True))


def empty_cache(session: "onnxruntime.InferenceSession", batch: int) -> Arrays:
    """Return a KV cache of length 0."""
    return {
        entry.name: np.zeros((batch, entry.shape[1], 0, entry.shape[3]), np.float32)
        for entry in session.get_inputs()
        if entry.name.startswith("past_key_values.")
    }


def step(
    session: "onnxruntime.InferenceSession", ids: np.ndarray, mask: np.ndarray, cache: Arrays
) -> tuple[np.ndarray, Arrays]:
    """Return logits and the extended KV cache; positions are counted as transformers.js does."""
    positions = np.maximum(mask.cumsum(-1) - 1, 0)[:, -ids.shape[1] :]
    names = [output.name for output in session.get_outputs()]
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **cache}
    outputs = dict(zip(names, session.run(None, inputs), strict=True))
    logits = outputs.pop("logits")
    return logits, {name.replace("present", "past_key_values"): value for name, value in outputs.items()}


def test_logits_of_a_padded_batch_equal_torchs_in_one_step_and_in_two(
    session: "onnxruntime.InferenceSession", model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = ["wine review", "wine review : italy : tuscany"]
    encoded = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    ids, mask = encoded["input_ids"].numpy(), encoded["attention_mask"].numpy()
    positions = (encoded["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    expected = model(**encoded, position_ids=positions).logits.detach().numpy()
    whole, _ = step(session, ids, mask, empty_cache(session, batch=2))
    first, cache = step(session, ids[:, :5], mask[:, :5], empty_cache(session, batch=2))
    second, _ = step(session, ids[:, 5:], mask, cache)
    for logits in (whole, np.concatenate([first, second], axis=1)):
        assert np.allclose(logits[mask == 1], expected[mask == 1], atol=1e-4)


def test_dynamic_dimensions_have_the_names_that_transformers_js_expects(
    session: "onnxruntime.InferenceSession",
) -> None:
    shapes = {entry.name: entry.shape for entry in session.get_inputs()}
    keys = {name: shape for name, shape in shapes.items() if name.startswith("past_key_values.")}
    assert set(keys) == {f"past_key_values.{layer}.{part}" for layer in (0, 1) for part in ("key", "value")}
    assert all(shape == ["batch_size", 2, "past_sequence_length", 16] for shape in keys.values())


JAVASCRIPT = Path(__file__).parent / "javascript"
needs_javascript = pytest.mark.skipif(
    not (JAVASCRIPT / "node_modules" / "@huggingface" / "transformers").exists() or not shutil.which("node"),
    reason="needs transformers.js: npm install --ignore-scripts --prefix tests/javascript",
)


def run_node(staged: Path, *arguments: str, stdin: str) -> str:
    """Run transformers.js with the staged models, and return stdout."""
    done = subprocess.run(
        ["node", "--import", "./local_models.mjs", *arguments],
        input=stdin,
        env={**os.environ, "MODELS": str(staged)},
        cwd=JAVASCRIPT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def generate_in_javascript(
    staged: Path, prompts: list[str], dtype: str | None = None, **settings: object
) -> list[str]:
    """Return the text that transformers.js generates after each prompt, with its plain load and call by default."""
    stdin = json.dumps({"prompts": prompts, "dtype": dtype, "settings": settings})
    texts: list[str] = json.loads(run_node(staged, "generate.mjs", NAME, stdin=stdin))
    return texts


@needs_javascript
def test_transformers_js_generates_the_same_text_as_torch(
    staged: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    # transformers.js decodes the prompt too, and spaces the colons of a header with an empty field differently
    compared = [prompt for prompt in prompts() if ":  :" not in prompt]
    assert len(compared) > 40
    for prompt, text in zip(compared, generate_in_javascript(staged, compared, do_sample=False), strict=True):
        assert [join(prompt, text)] == generate_texts(model, tokenizer, [prompt], seed=0, do_sample=False), prompt


@needs_javascript
def test_transformers_js_loads_the_quantized_file(staged: Path) -> None:
    full, quantized = (
        generate_in_javascript(staged, ["wine review : italy"], dtype, do_sample=False) for dtype in ("fp32", "q8")
    )
    assert full == quantized


@needs_javascript
def test_transformers_js_samples_as_the_generation_config_says(
    staged: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = generate_in_javascript(staged, ["wine review :"] * 8)
    assert len(set(texts)) > 1
    for text in texts:
        assert len(tokenizer(text)["input_ids"]) < tokenizer.model_max_length
        assert "[" not in text


@needs_javascript
def test_the_cards_javascript_runs(staged: Path) -> None:
    card = (staged / NAME / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```js\n(.*?)```", card, re.DOTALL)
    stdout = run_node(staged, "--input-type=module", stdin=code)
    (prompt,) = re.findall(r'await write\((".*?")', code)
    assert stdout.strip().startswith(json.loads(prompt).lower())

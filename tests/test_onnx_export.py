"""The ONNX export writes what torch writes."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.finished_runs import finish
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.generation.generate import generate_texts, join
from wine_gpt.publishing.staging import Publication, stage

pytest.importorskip("onnxscript", reason='not installed: pip install "wine_gpt[onnx]"')
onnxruntime = pytest.importorskip("onnxruntime", reason="not installed")

PLACES = ("", "italy", "italy : tuscany", "germany : mosel", "spain : rioja", "spain", "germany", "mars")
GRAPES = ("riesling", "sangiovese", "tempranillo", "merlot")
NAME = "org/wine-gpt"
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def session(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> "onnxruntime.InferenceSession":
    from wine_gpt.publishing.onnx_export import export

    file = tmp_path_factory.mktemp("onnx") / "onnx" / "model.onnx"
    export(toy_run, file)
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]
    return onnxruntime.InferenceSession(file)


def prompts() -> list[str]:
    headers = [f"wine review : {place} : {grape}" for place, grape in itertools.product(PLACES, GRAPES)]
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


@pytest.mark.parametrize("keeping", [True, False], ids=["word by word", "all words each time"])
def test_greedy_text_equals_torchs_for_50_prompts(
    session: "onnxruntime.InferenceSession",
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    keeping: bool,
) -> None:
    assert len(set(prompts())) == 50
    for prompt in prompts():
        expected = generate_texts(model, tokenizer, [prompt], seed=0, do_sample=False)
        assert [write(session, model, tokenizer, prompt, keeping)] == expected, prompt


def write(
    session: "onnxruntime.InferenceSession",
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    keeping: bool,
) -> str:
    """Take the likeliest word each time, as the generation config allows it, with onnxruntime alone."""
    start = tokenizer(prompt)["input_ids"]
    ids = list(start)
    kept = nothing = no_keys(session, texts=1)
    given = 0
    while len(ids) < model.generation_config.max_length and ids[-1] != tokenizer.eos_token_id:
        logits, present = step(session, np.array([ids[given:]]), np.ones((1, len(ids)), np.int64), kept)
        logits[0, -1, model.generation_config.suppress_tokens] = -np.inf
        kept, given = (present, len(ids)) if keeping else (nothing, 0)
        ids.append(int(logits[0, -1].argmax()))
    return join(prompt, tokenizer.decode(ids[len(start) :], skip_special_tokens=True))


def no_keys(session: "onnxruntime.InferenceSession", texts: int) -> Arrays:
    """Return the keys and values before the first word."""
    return {
        given.name: np.zeros((texts, given.shape[1], 0, given.shape[3]), np.float32)
        for given in session.get_inputs()
        if given.name.startswith("past_key_values.")
    }


def step(
    session: "onnxruntime.InferenceSession", ids: np.ndarray, mask: np.ndarray, kept: Arrays
) -> tuple[np.ndarray, Arrays]:
    """Return logits, and keys and values to go on with; positions are counted as transformers.js does."""
    positions = np.maximum(mask.cumsum(-1) - 1, 0)[:, -ids.shape[1] :]
    names = [output.name for output in session.get_outputs()]
    given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **kept}
    found = dict(zip(names, session.run(None, given), strict=True))
    logits = found.pop("logits")
    return logits, {name.replace("present", "past_key_values"): value for name, value in found.items()}


def test_padded_texts_of_a_batch_have_the_logits_of_torch_in_one_step_and_in_two(
    session: "onnxruntime.InferenceSession", model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    given = tokenizer(["wine review", "wine review : italy : tuscany"], return_tensors="pt", padding=True)
    ids, mask = given["input_ids"].numpy(), given["attention_mask"].numpy()
    positions = (given["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    expected = model(**given, position_ids=positions).logits.detach().numpy()
    whole, _ = step(session, ids, mask, no_keys(session, texts=2))
    first, kept = step(session, ids[:, :5], mask[:, :5], no_keys(session, texts=2))
    second, _ = step(session, ids[:, 5:], mask, kept)
    for logits in (whole, np.concatenate([first, second], axis=1)):
        assert np.allclose(logits[mask == 1], expected[mask == 1], atol=1e-4)


def test_its_lengths_have_the_names_by_which_transformers_js_starts(session: "onnxruntime.InferenceSession") -> None:
    shapes = {given.name: given.shape for given in session.get_inputs()}
    keys = {name: shape for name, shape in shapes.items() if name.startswith("past_key_values.")}
    assert set(keys) == {f"past_key_values.{layer}.{part}" for layer in (0, 1) for part in ("key", "value")}
    assert all(shape == ["batch_size", 2, "past_sequence_length", 16] for shape in keys.values())


JAVASCRIPT = Path(__file__).parent / "javascript"
needs_javascript = pytest.mark.skipif(
    not (JAVASCRIPT / "node_modules" / "@huggingface" / "transformers").exists() or not shutil.which("node"),
    reason="needs transformers.js: npm install --ignore-scripts --prefix tests/javascript",
)


@pytest.fixture(scope="module")
def staged(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with a model as it would be published."""
    folder = tmp_path_factory.mktemp("staged")
    run = finish(toy_run, folder / "run")
    (folder / "repositories").mkdir()
    stage(Publication(run, NAME, onnx=True), folder / "repositories")
    return folder / "repositories" / "models"


def in_javascript(staged: Path, prompts: list[str], **settings: object) -> list[str]:
    """Return what transformers.js writes behind each prompt."""
    done = subprocess.run(
        ["node", JAVASCRIPT / "generate.mjs", staged, NAME],
        input=json.dumps({"prompts": prompts, "settings": settings}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    texts: list[str] = json.loads(done.stdout)
    return texts


@needs_javascript
def test_transformers_js_writes_what_torch_writes(
    staged: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    # it decodes the prompt too, and so counts the colons of a header that has an empty field otherwise
    whole = [prompt for prompt in prompts() if ":  :" not in prompt]
    assert len(whole) > 40
    for prompt, text in zip(whole, in_javascript(staged, whole, do_sample=False), strict=True):
        assert [join(prompt, text)] == generate_texts(model, tokenizer, [prompt], seed=0, do_sample=False), prompt


@needs_javascript
def test_transformers_js_samples_as_the_generation_config_says(
    staged: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = in_javascript(staged, ["wine review :"] * 8)
    assert len(set(texts)) > 1
    for text in texts:
        assert len(tokenizer(text)["input_ids"]) < tokenizer.model_max_length
        assert "[" not in text


@needs_javascript
def test_the_cards_javascript_runs(staged: Path) -> None:
    card = (staged / NAME / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```js\n(.*?)```", card, re.DOTALL)
    here = f"""
        import {{ env }} from "@huggingface/transformers";
        env.allowRemoteModels = false;
        env.localModelPath = {json.dumps(str(staged))};
    """
    done = subprocess.run(
        ["node", "--input-type=module"], input=here + code, cwd=JAVASCRIPT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(" wine review : italy :")

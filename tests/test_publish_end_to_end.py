"""What was published works for a stranger: fresh processes without wine_gpt load it from the Hub over loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.hub_faults import snapshot
from support.hub_server import HubServer
from support.publisher import Publisher
from support.without_wine_gpt import run_without_wine_gpt

from wine_gpt.generation.generate import generate_texts
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.tokenizer import load_tokenizer

MODEL, SPACE = "org/wine-gpt", "org/wine-gpt-demo"
ROOT = Path(__file__).parents[1]
# the two varieties of which the sample has most reviews
VARIETIES = ("chardonnay", "cabernet-sauvignon")
PROMPTS = ("wine review : italy", "wine review : germany : mosel", "Wine review", "")

# a model and two adapters, by folder or by name
USE = """
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
base, first, second, *prompts = sys.argv[1:]

def greedy(name):
    write = pipeline("text-generation", model=name)
    return [write(prompt, do_sample=False)[0]["generated_text"] for prompt in prompts]

tokenizer = AutoTokenizer.from_pretrained(base)
inputs = tokenizer(prompts[0], return_tensors="pt")
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), first, adapter_name="first")
model.load_adapter(second, adapter_name="second")
logits = {}
for name in ("first", "second"):
    model.set_adapter(name)
    logits[name] = model.eval()(**inputs).logits[0, -1].tolist()
print(json.dumps({
    "texts": greedy(base),
    "adapted texts": greedy(first),
    "ids": tokenizer(prompts)["input_ids"],
    "positions": tokenizer.model_max_length,
    **logits,
}))
"""
DOWNLOAD = """
from pathlib import Path
from huggingface_hub import snapshot_download
folder = Path(snapshot_download(sys.argv[1], repo_type="space"))
files = [path for path in folder.rglob("*") if path.is_file()]
print(json.dumps({path.relative_to(folder).as_posix(): path.read_text() for path in files}))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train for a short while on the sample, and an adapter for each of two varieties, by the scripts.

    Returns:
        a folder with the run as ``run``, and the adapters in ``varieties``.
    """
    folder = tmp_path_factory.mktemp("trained")
    run, varieties = folder / "run", folder / "varieties"
    for command in (
        f"pretrain.py configs/sample.yaml --training.epochs 2 --output_dir {run}",
        f"finetune.py configs/finetune/lora.yaml --base {run} --value all --min_reviews 154 --training.epochs 2 "
        f"--output_dir {varieties}",
    ):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home")}
        arguments = [sys.executable, *f"scripts/{command}".split()]
        done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, env=environment)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def stranger(
    hub: HubServer, publisher: Publisher, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Publish a model, two adapters and a demo, and lead new processes there, without a token.

    Returns:
        an empty folder to run them in.
    """
    hub.forget()
    done = publisher.run(trained / "run", "--repo", MODEL, "--adapters", trained / "varieties", "--space", SPACE)
    assert done.code == 0, done.stderr
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name, value in hub.environment(token=None).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "stranger"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def test_model_and_adapters_are_on_the_hub_what_they_are_here(trained: Path, stranger: Path) -> None:
    run = trained / "run"
    names = (MODEL, *(f"{MODEL}-{variety}" for variety in VARIETIES))
    folders = (run, *(trained / "varieties" / variety for variety in VARIETIES))
    found, _ = run_without_wine_gpt(USE, *names, *PROMPTS, cwd=stranger)
    expected, _ = run_without_wine_gpt(USE, *map(str, folders), *PROMPTS, cwd=stranger)
    assert found == expected
    assert found["first"] != found["second"]
    assert found["texts"] != found["adapted texts"]
    model, tokenizer = load_model(run), load_tokenizer(run)
    for prompt, text in zip(PROMPTS, found["texts"], strict=True):
        # behind no prompt, the pipeline leaves the first word's space
        written_here = generate_texts(model, tokenizer, [prompt], seed=0, do_sample=False)
        assert [text if prompt else text.removeprefix(" ")] == written_here, prompt


def test_the_demo_comes_down_as_it_is(stranger: Path, publisher: Publisher) -> None:
    files, _ = run_without_wine_gpt(DOWNLOAD, SPACE, cwd=stranger)
    sources = snapshot(publisher.space)
    assert files["app.py"].encode() == sources["app.py"]
    assert json.loads(files["settings.json"]) == {"model": MODEL}
    assert set(files) == {
        ".gitattributes",
        "README.md",
        "app.py",
        "requirements.txt",
        "sampler.py",
        "settings.json",
        "static/style.css",
    }

"""What was published works for a stranger: fresh processes without wine_gpt load it from the Hub over loopback."""

import json
from pathlib import Path

import pytest
from finished_runs import adapt, finish
from hub_faults import snapshot
from hub_server import HubServer
from outsider import run_elsewhere
from publisher import Publisher

from wine_gpt.generation import generate_texts
from wine_gpt.model import load_model
from wine_gpt.tokenizer import load_tokenizer

MODEL, SPACE = "org/wine-gpt", "org/wine-gpt-demo"
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


@pytest.fixture
def stranger(
    hub: HubServer, publisher: Publisher, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Publish a model, two adapters and a demo, and lead new processes there, without a token.

    Returns:
        a folder to run them in, which also holds the fine-tuned models.
    """
    run = finish(toy_run, tmp_path / "run")
    adapt(run, tmp_path / "varieties", "Pinot Noir")
    adapt(run, tmp_path / "varieties", "Syrah", seed=1)
    hub.forget()
    done = publisher.run(run, "--repo", MODEL, "--adapters", tmp_path / "varieties", "--space", SPACE)
    assert done.code == 0, done.stderr
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name, value in hub.environment(token=None).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "stranger"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def test_model_and_adapters_are_on_the_hub_what_they_are_here(toy_run: Path, stranger: Path) -> None:
    varieties = stranger / "varieties"
    names = (MODEL, f"{MODEL}-pinot-noir", f"{MODEL}-syrah")
    folders = (toy_run, varieties / "pinot-noir", varieties / "syrah")
    found, _ = run_elsewhere(USE, *names, *PROMPTS, cwd=stranger)
    expected, _ = run_elsewhere(USE, *map(str, folders), *PROMPTS, cwd=stranger)
    assert found == expected
    assert found["first"] != found["second"]
    assert found["texts"] != found["adapted texts"]
    model, tokenizer = load_model(toy_run), load_tokenizer(toy_run)
    for prompt, text in zip(PROMPTS, found["texts"], strict=True):
        # behind no prompt, the pipeline leaves the first word's space
        written_here = generate_texts(model, tokenizer, [prompt], seed=0, do_sample=False)
        assert [text if prompt else text.removeprefix(" ")] == written_here, prompt


def test_the_demo_comes_down_as_it_is(stranger: Path, publisher: Publisher) -> None:
    files, _ = run_elsewhere(DOWNLOAD, SPACE, cwd=stranger)
    sources = snapshot(publisher.space)
    assert files["app.py"].encode() == sources["app.py"]
    assert json.loads(files["settings.json"]) == {"model": MODEL}
    assert set(files) == {
        ".gitattributes",
        "README.md",
        "app.py",
        "requirements.txt",
        "settings.json",
        "static/style.css",
    }

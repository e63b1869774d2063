"""What publishing refuses to upload: access tokens, local paths, user and host names, in each kind of file."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save_file
from support.finished_runs import finish

from wine_gpt.config import DataConfig
from wine_gpt.errors import UserError
from wine_gpt.publishing.data_source import DataSource
from wine_gpt.publishing.hub import StagedRepo
from wine_gpt.publishing.leaks import require_no_leak
from wine_gpt.publishing.publication import Publication
from wine_gpt.publishing.publish import dry_run

RUN, DATA = Path("/mnt/disk/runs/own"), DataSource(DataConfig(path="/srv/letters/all.csv"))
TOKEN = "an access token of the Hub"
# parts are joined so that no scanner takes this file for one with secrets
SECRETS = {
    "hf" + "_" + "aB3" * 11: TOKEN,
    "hf" + "_oauth_" + "eyJh.bGci-Oi_" * 3: TOKEN,
    "hf" + "_jwt_" + "eyJh.bGci-Oi_" * 3: TOKEN,
    "api" + "_org_" + "aB3" * 11: TOKEN,
    "gh" + "p_" + "aB3" * 12: "a GitHub token",
    "github" + "_pat_" + "aB3_" * 20: "a GitHub token",
    "AK" + "IA" + "Q3EG" * 4: "an AWS access key",
    "AI" + "za" + "aB3_-" * 7: "a Google API key",
    "xox" + "b-" + "123456-" * 4: "a Slack token",
    "sk" + "-proj-" + "aB3" * 16: "an API key",
    "KG" + "AT_" + "0af1" * 8: "a Kaggle API key",
    '{"username": "x", "' + 'key": "' + "0af1" * 8 + '"}': "a Kaggle API key",
    "np" + "m_" + "aB3" * 12: "an npm token",
    "wandb" + "_v1_" + "aB3" * 12: "a Weights & Biases key",
    "eyJ" + "hbGciOiJIUz." + "eyJ" + "zdWIiOiIxMjM." + "aB3_-" * 5: "a JSON Web Token",
    "https://ann:" + "s3cret!@example.com/x": "a password in an address",
    "-----BEGIN OPENSSH " + "PRIVATE KEY-----": "a private key",
    "/home/ánna/x.json": "the path of your home folder",
    "file:///home/%C3%A1nna/": "the path of your home folder",
    "/home/ánna": "the path of your home folder",
    "/mnt/disk/runs/own": "the path of the run's folder",
    "(/mnt/disk/runs/own/model.safetensors)": "the path of the run's folder",
    "/srv/letters/all.csv": "the path of the training data",
    "/Users/ánna/Documents": "the user name",
    "C:\\Users\\ánna\\runs": "the user name",
    "/scratch/ánna/runs": "the user name",
    "ánna@cluster.local": "the user name",
    "ubuntu@box-7.lan:22": "the host name",
    "//box-7/disk": "the host name",
    "/net/box-7/disk": "the host name",
}
HARMLESS = (
    "Box-7 and ánna are words; /home/ánnabel, /mnt/disk/runs/owner, letters/all.csv and anna@example.com name others",
    "https://example.com/team/box/7 and https://huggingface.co/spaces/ánna/demo; a plum/ánna/oak finish",
    "https://example.com:8000/a@b, git@example.com:a/b, eyJ.eyJ and npm_config_cache of redis://localhost:6379",
    "hf_hub_download, HF_TOKEN=hf_..., gh_pages, ask-me-anything-about-this-wine-and-its-region, sk-learn, xoxo",
)


def write_text(path: Path, text: str) -> None:
    path.write_text(f"a\n{text}\nb", encoding="utf-8")


def write_json(path: Path, text: str) -> None:
    path.write_text(json.dumps({"name": [text]}))


def write_tensors(path: Path, text: str) -> None:
    save_file({"weight": np.arange(9, dtype=np.uint8)}, path, metadata={"made": text})


def write_picture(path: Path, text: str, *, compressed: bool = False) -> None:
    texts = PngInfo()
    texts.add_itxt("Comment", text, zip=compressed)
    Image.new("L", (2, 2)).save(path, pnginfo=texts)


def write_compressed(path: Path, text: str) -> None:
    write_picture(path, text, compressed=True)


def write_graph(path: Path, text: str) -> None:
    onnx = pytest.importorskip("onnx", reason="not installed")
    node = onnx.helper.make_node("Identity", ["x"], ["y"], doc_string=text)
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])).SerializeToString())


WRITERS: dict[str, Callable[[Path, str], None]] = {
    "README.md": write_text,
    "config.yaml": write_text,
    "app.py": write_text,
    "tokenizer.json": write_json,
    "adapter_model.safetensors": write_tensors,
    "loss.png": write_picture,
    "reliability.png": write_compressed,
    "onnx/model.onnx": write_graph,
}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the user, the home folder and the host name."""
    monkeypatch.setenv("LOGNAME", "ánna")
    monkeypatch.setenv("HOME", "/home/ánna")
    monkeypatch.setattr(socket, "gethostname", lambda: "box-7.lan")


def scan(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    WRITERS[name](folder / name, text)
    require_no_leak([StagedRepo("org/wine-gpt", "model", folder, ModelCard(""))], RUN, DATA)


@pytest.mark.parametrize("name", WRITERS)
def test_secrets_are_refused_in_each_kind_of_file(tmp_path: Path, name: str) -> None:
    for secret, kind in SECRETS.items():
        with pytest.raises(UserError) as refusal:
            scan(tmp_path, name, secret)
        message = str(refusal.value)
        assert message.startswith(f"model repository org/wine-gpt: {name} contains {kind}; nothing was published"), (
            secret
        )
        assert secret not in message


@pytest.mark.parametrize("name", WRITERS)
def test_ordinary_words_are_not_refused(tmp_path: Path, name: str) -> None:
    # in binary files any byte may follow a path, such as the tag of the next field
    for text in HARMLESS if name.endswith((".md", ".yaml", ".py", ".json")) else HARMLESS[1:]:
        scan(tmp_path, name, text)


@pytest.mark.parametrize("user", ["oak", "root", "wine", "user", "app", "x"])
def test_a_user_or_host_named_like_a_word_can_publish(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    monkeypatch.setenv("LOGNAME", user)
    monkeypatch.setenv("HOME", f"/{user}")
    monkeypatch.setattr(socket, "gethostname", lambda: user)
    run = finish(toy_run, tmp_path / "run")
    dry_run(Publication(run, "org/wine-gpt", space="org/demo"), tmp_path / "staged")


def test_a_dry_run_refuses_too(toy_run: Path, tmp_path: Path) -> None:
    run = finish(toy_run, tmp_path / "run")
    write_picture(run / "loss.png", f"plotted in {run}")
    with pytest.raises(UserError, match=r"loss\.png contains the path of the run's folder"):
        dry_run(Publication(run, "org/wine-gpt"), tmp_path / "staged")
    assert not (tmp_path / "staged").exists()
    shutil.rmtree(run)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("README.md", "the options, the run's config.yaml and metrics.json, and texts that the model wrote"),
        ("config.yaml", "the run's config.yaml"),
        ("app.py", "the file of which app.py is a copy"),
    ],
)
def test_the_message_says_where_the_text_comes_from(tmp_path: Path, name: str, source: str) -> None:
    with pytest.raises(UserError) as refusal:
        scan(tmp_path, name, "/mnt/disk/runs/own")
    assert str(refusal.value).endswith(f"nothing was published: remove it from {source}")


def test_the_token_in_use_is_refused_whatever_its_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "of-another-hub-123")
    with pytest.raises(UserError, match=TOKEN):
        scan(tmp_path, "README.md", "token: of-another-hub-123")


def test_values_of_secret_variables_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0af1" * 10)
    # neither a word nor a path is a secret
    monkeypatch.setenv("SHORT_TOKEN", "burgundy")
    monkeypatch.setenv("SSL_KEY", "/etc/ssl/private/key.pem")
    monkeypatch.setenv("DEPLOY_KEY", r"C:\Users\x\keys\of_the_server")
    monkeypatch.setenv("SERVICE_TOKEN", "https://example.com/token")
    scan(tmp_path, "README.md", r"a burgundy, /etc/ssl/private/key.pem, C:\Users\x\keys\of_the_server")
    scan(tmp_path, "README.md", "https://example.com/token")
    with pytest.raises(UserError, match="contains the value of the environment variable WANDB_API_KEY; nothing was"):
        scan(tmp_path, "config.yaml", f"key: {'0af1' * 10}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalr/XUtnFEMI/K7MDENG+")
    with pytest.raises(UserError, match="the value of the environment variable AWS_SECRET_ACCESS_KEY"):
        scan(tmp_path, "app.py", "key = 'wJalr/XUtnFEMI/K7MDENG+'")

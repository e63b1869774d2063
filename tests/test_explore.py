"""``wine-gpt explore``: what it serves, and what it refuses."""

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPMessage
from pathlib import Path

import pytest
from support.finished_runs import clutter
from support.local_server import serving
from support.small_run import ROOT

from wine_gpt.commands import explore
from wine_gpt.errors import UserError
from wine_gpt.publishing.explorer_server import ExplorerServer
from wine_gpt.run_folder import epoch_weights

SECRET = "hf_secret"


@pytest.fixture(scope="module")
def run(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with epochs and files that nobody may read, whose name needs quotes in an address."""
    folder = tmp_path_factory.mktemp("explored") / "my run #1%.json"
    shutil.copytree(toy_run, folder)
    clutter(folder, SECRET)
    (folder / "metrics.json").write_text("{}")
    (folder / "epochs").mkdir()
    (folder / "epochs" / "secret.txt").write_text(SECRET)
    (folder / "epochs" / epoch_weights(0)).write_bytes(b"0123456789")
    losses = {"training_nats_per_token": None, "validation_nats_per_word": 7.5}
    epoch = {"epoch": 0, "step": 0, **losses, "file": epoch_weights(0), "sha256": ""}
    (folder / "epochs" / "index.json").write_text(json.dumps({"epochs": [epoch]}))
    return folder


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[ExplorerServer]:
    with serving(ExplorerServer(run)) as started:
        yield started


def fetch(server: ExplorerServer, path: str, method: str = "GET", **headers: str) -> tuple[int, HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def model_path(server: ExplorerServer) -> str:
    """Return the path of the model's folder, as the page resolves it."""
    settings = json.loads(fetch(server, "/settings.json")[2])
    assert settings == {"model": "./run/my%20run%20%231%25.json/"}
    return str(settings["model"].removeprefix("."))


def test_the_page_has_its_files_with_their_types(server: ExplorerServer) -> None:
    status, headers, page = fetch(server, "/?model=x")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page == (ROOT / "space" / "explorer" / "index.html").read_bytes()
    sources = [path for path in (ROOT / "space" / "explorer").rglob("*") if path.suffix in (".js", ".css", ".svg")]
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    for source in sources:
        status, headers, content = fetch(server, f"/{source.relative_to(ROOT / 'space' / 'explorer').as_posix()}")
        assert (status, content) == (200, source.read_bytes()), source
        assert headers["Content-Type"] == types[source.suffix]


def test_it_serves_the_models_files_and_no_others(server: ExplorerServer, run: Path) -> None:
    folder = model_path(server)
    served = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    served |= {"review_template.json", "epochs/index.json", "epochs/epoch-000.safetensors"}
    for path in (path for path in run.rglob("*") if path.is_file()):
        name = path.relative_to(run).as_posix()
        status, headers, content = fetch(server, folder + name)
        assert status == (200 if name in served else 404), name
        assert SECRET.encode() not in content
        if name in served:
            kinds = {".json": "application/json", ".safetensors": "application/octet-stream"}
            assert (headers["Content-Type"], content) == (kinds[path.suffix], path.read_bytes())
            assert fetch(server, folder + name, "HEAD")[1]["Content-Length"] == headers["Content-Length"]


@pytest.mark.parametrize(
    "path",
    [
        "config.json/../.env",
        "%2e%2e/%2e%2e/etc/passwd",
        "../../etc/passwd",
        "..%5c.env",
        "/etc/passwd",
        "",
        "%00",
        "?x",
    ],
)
def test_no_path_leads_elsewhere(server: ExplorerServer, path: str) -> None:
    assert fetch(server, model_path(server) + path)[0] == 404


def test_another_name_of_the_machine_is_refused(server: ExplorerServer) -> None:
    assert fetch(server, "/settings.json", Host="attacker.example")[0] == 403
    assert fetch(server, "/settings.json", Host=f"localhost:{server.server_port}")[0] == 200
    assert fetch(server, "/settings.json", method="POST")[0] == 501


def test_a_model_without_metrics_is_served_but_an_unfinished_run_is_not(toy_run: Path, tmp_path: Path) -> None:
    ExplorerServer(toy_run).server_close()
    shutil.copytree(toy_run, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "step-00000001").mkdir(parents=True)
    with pytest.raises(UserError, match=r"run holds an unfinished run: finish it with --resume first"):
        ExplorerServer(tmp_path / "run")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no such folder: {run}; name the folder of a finished run"),
        ([], "{run} holds no model: config.json is missing"),
        (["config.json"], "{run} holds no model: model.safetensors is missing"),
        (
            ["config.json", "adapter_config.json"],
            "{run} holds an adapter, and the explorer runs whole models: name its base",
        ),
    ],
)
def test_a_folder_without_a_model_is_one_line(tmp_path: Path, files: list[str] | None, message: str) -> None:
    if files is not None:
        (tmp_path / "run").mkdir()
    for name in files or ():
        (tmp_path / "run" / name).write_text("{}")
    with pytest.raises(UserError, match="^" + message.format(run=tmp_path / "run")):
        ExplorerServer(tmp_path / "run")


def test_a_port_in_use_is_one_line(toy_run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"^--port: can't listen on 127\.0\.0\.1:{port}: another program uses it; "
        ):
            ExplorerServer(toy_run, port)


def test_the_command_opens_the_browser_unless_told_not_to() -> None:
    assert explore.read_arguments(["runs/sample"]).browser
    assert not explore.read_arguments(["runs/sample", "--no_browser"]).browser
    with pytest.raises(UserError, match=r"argument --port: 70000 is no whole number from 0 to 65,535"):
        explore.read_arguments(["runs/sample", "--port", "70000"])


def test_ctrl_c_ends_the_command_without_an_error(toy_run: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "explore.py"), str(toy_run), "--no_browser"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a background job of a shell ignores the signal, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith(f"explorer of {toy_run}: http://127.0.0.1:")
            host = line.split("//")[1].split("/")[0]
            connection = http.client.HTTPConnection(host)
            connection.request("GET", "/settings.json")
            assert connection.getresponse().status == 200
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, stderr) == (0, "")

"""The running demo's API: responses to valid, invalid and malicious requests."""

import itertools
import json
import math
import os
import re
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("gradio", reason="the demo's packages are not installed")

from gradio_client import Client
from gradio_client.exceptions import AppError
from packaging.requirements import Requirement
from support.hub_server import HubServer
from support.local_server import PATIENCE
from support.space_server import SPACE, client_of, serving
from support.waiting import wait_until

HEADER = "wine review : italy : tuscany : riesling :"
SECRET = "a line that nobody outside may read"


@pytest.fixture(scope="module")
def address(demo_address: str) -> str:
    return demo_address


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return client_of(address)


DEFAULTS: dict[str, list[Any]] = {
    "generate": ["wine review", None, None, None, 1, "base", 1],
    "next_words": ["wine review", None, 10, "base"],
    "attention": ["wine review", None, None, "base"],
}


def call(address: str, name: str, *values: Any) -> tuple[str, str]:  # noqa: ANN401 - invalid values, too
    """Call an endpoint with any body; return the last event and its data."""
    join = f"{address}/gradio_api/call/{name}"
    body = json.dumps({"data": [*values, *DEFAULTS[name][len(values) :]]})
    joined = httpx.post(join, content=body, headers={"content-type": "application/json"}, timeout=PATIENCE)
    assert joined.status_code == 200, joined.text
    with httpx.stream("GET", f"{join}/{joined.json()['event_id']}", timeout=PATIENCE) as stream:
        lines = [line for line in stream.iter_lines() if line]
    return lines[-2].removeprefix("event: "), lines[-1].removeprefix("data: ")


def link_packages(requirements: list[str], folder: Path) -> None:
    """Fill a folder with links to the installed packages that the requirements need, directly or not."""
    pending, seen = [Requirement(line) for line in requirements], set()
    while pending:
        requirement = pending.pop()
        if (requirement.name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((requirement.name, frozenset(requirement.extras)))
        package = metadata.distribution(requirement.name)
        for file in package.files or []:
            if file.parts[0] != ".." and not (link := folder / file.parts[0]).exists():
                link.symlink_to(package.locate_file(file.parts[0]))
        needed = (Requirement(line) for line in package.requires or [])
        extras = ("", *requirement.extras)
        pending += [
            each for each in needed if not each.marker or any(each.marker.evaluate({"extra": name}) for name in extras)
        ]


@pytest.fixture(scope="module")
def hub_demo(hub: HubServer, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve the demo with a model of the Hub and the packages that it requires; return address and log."""
    hub.forget()
    hub.add_repository("org/wine-gpt")
    hub.upload("org/wine-gpt", {path.name: path.read_bytes() for path in toy_run.iterdir() if path.is_file()})
    folder = tmp_path_factory.mktemp("hub_demo")
    packages = folder / "packages"
    packages.mkdir()
    link_packages((SPACE / "requirements.txt").read_text().split(), packages)
    # the interpreter outside of the virtual environment, whose packages it does not see
    python = os.path.realpath(sys.executable)
    environment = {**hub.environment(), "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "home")}
    environment |= {"PYTHONPATH": str(packages), "PYTHONNOUSERSITE": "1"}
    with serving(folder / "log", python, WINE_GPT_MODEL="org/wine-gpt", **environment) as address:
        yield address, folder / "log"


def test_its_requirements_alone_are_enough(hub_demo: tuple[str, Path]) -> None:
    assert client_of(hub_demo[0]).predict(HEADER, seed=7, api_name="/generate").startswith(f"{HEADER} ")


def test_generate_streams_a_review(client: Client) -> None:
    job = client.submit(HEADER, seed=7, temperature=0.8, api_name="/generate")
    text = job.result(timeout=PATIENCE)
    pieces = job.outputs()
    assert text.startswith(f"{HEADER} ")
    assert text.endswith("drink now.")
    assert len(pieces) > 1
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(pieces))
    assert client.predict(HEADER, seed=7, temperature=0.8, api_name="/generate") == text
    assert client.predict(HEADER, seed=7, temperature=0.8, model="riesling", api_name="/generate") != text


def test_next_words_and_attention_can_be_called(client: Client) -> None:
    words = client.predict("wine review", count=3, api_name="/next_words")
    assert [word["word"] for word in words][:1] == [":"]
    assert words == sorted(words, key=lambda word: -word["probability"])
    shown = client.predict("wine review :", api_name="/attention")
    assert shown["words"] == ["▸", "wine", "review", ":"]
    assert [len(row) for row in shown["weights"]] == [1, 2, 3, 4]
    assert [sum(row) for row in shown["weights"]] == pytest.approx([1] * 4, abs=1e-4)


def test_the_api_page_documents_the_three_functions(client: Client) -> None:
    endpoints = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/generate", "/next_words", "/attention"}
    assert "Write a review." in endpoints["/generate"]["description"]
    for endpoint in endpoints.values():
        assert [each["label"] for each in endpoint["parameters"]] == [
            each["parameter_name"] for each in endpoint["parameters"]
        ]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("generate", ["a" * 100_000], "prompt: 100,000 characters, at most 10,000 are allowed"),
        ("generate", ["x", math.nan], "temperature: must be a number from 0.1 to 2"),
        ("generate", ["x", -1], "temperature: must be a number from 0.1 to 2"),
        ("generate", ["x", "hot"], "temperature: must be a number from 0.1 to 2"),
        ("generate", ["x", 1, math.inf], "top_p: must be a number from 0.05 to 1"),
        ("generate", ["x", 1, 1, 10**9], "length: must be a whole number from 1 to 63"),
        ("generate", ["x", 1, 1, 5, 2**32], "seed: must be a whole number from 0 to 4294967295"),
        ("generate", ["x", 1, 1, 5, 1, "<img src=x>"], "model: must be one of base, pinot-noir, riesling"),
        ("generate", ["x", 1, 1, 5, 1, "base", 0], "guidance: must be a number from 1 to 5"),
        ("generate", [{"path": "/etc/passwd"}], "prompt: must be a text"),
        ("generate", ["wine\x1b[31m"], "prompt: character 5 is U+001B, which is invisible; remove it"),
        ("next_words", ["x", 1, 0], "count: must be a whole number from 1 to 50"),
        ("attention", ["x", 7], "layer: must be a whole number from 0 to 1"),
        ("attention", ["x", 0, math.nan], "head: must be a whole number from 0 to 1"),
    ],
)
def test_invalid_input_is_refused_with_the_name_of_its_field(
    address: str, name: str, values: list[Any], message: str
) -> None:
    event, data = call(address, name, *values)
    assert event == "error"
    assert json.loads(data)["error"] == message


def test_an_error_is_in_the_language_of_the_request(address: str) -> None:
    spanish = client_of(address, headers={"accept-language": "es"})
    with pytest.raises(AppError, match=r"^temperatura: tiene que ser un número de 0\.1 a 2"):
        spanish.predict("x", temperature=-1, api_name="/generate")


def test_markup_in_a_prompt_is_plain_text(client: Client) -> None:
    prompt = "<script>alert(1)</script> **bold** ${7*7} {{7*7}}"
    assert client.predict(prompt, seed=1, length=1, api_name="/generate").startswith(prompt)


def test_malformed_calls_get_no_traceback(address: str) -> None:
    for name, body in [("generate", "{"), ("generate", '{"data": 5}'), ("generate", '{"data": []}'), ("other", "{}")]:
        where, headers = f"{address}/gradio_api/call/{name}", {"content-type": "text/json"}
        answer = httpx.post(where, content=body, headers=headers, timeout=PATIENCE)
        assert "Traceback" not in answer.text
        assert ".py" not in answer.text


def test_a_request_that_fails_is_one_line_of_the_log(hub_demo: tuple[str, Path]) -> None:
    address, log = hub_demo
    # Gradio answers before it has written the last line of its start
    wait_until(lambda: "* To create a public link" in log.read_text(), log.read_text)
    before = len(log.read_text())
    for path in ("queue/data?session_hash=x", "call/generate/none"):
        # its end is missing, because the answer has begun before it fails
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{address}/gradio_api/{path}", timeout=PATIENCE)
    answer = httpx.post(f"{address}/gradio_api/call/v2/generate", json={"x\n": 1}, timeout=PATIENCE)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    few = httpx.post(f"{address}/gradio_api/call/next_words", json={"data": []}, timeout=PATIENCE).json()["event_id"]
    answer = httpx.get(f"{address}/gradio_api/call/next_words/{few}", timeout=PATIENCE)
    assert '"error": "internal error"' in answer.text
    lines = log.read_text()[before:].splitlines()
    begins = [*["Exception in ASGI application"] * 3, '"ValueError']
    assert [line.split(maxsplit=1)[1][: len(begin)] for line, begin in zip(lines, begins, strict=True)] == begins
    assert all(re.search(r"(routes|utils|blocks)\.py", line) for line in lines)


def test_an_mcp_request_that_fails_is_two_lines_of_the_log(address: str, demo_log: Path) -> None:
    before = len(demo_log.read_text())
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    content = "[" * 5000 + "]" * 5000
    deep = httpx.post(f"{address}/gradio_api/mcp/", content=content, headers=headers, timeout=PATIENCE)
    assert deep.status_code == 500
    # the second line comes after the answer
    wait_until(lambda: "exception from stream" in demo_log.read_text()[before:], demo_log.read_text)
    handling, stream = demo_log.read_text()[before:].splitlines()
    assert "json/decoder.py" in handling
    assert "exception from stream" in stream


def test_the_page_is_compressed_and_speaks_without_javascript(address: str) -> None:
    page = httpx.get(address, headers={"accept-encoding": "gzip"}, timeout=PATIENCE)
    assert page.headers["content-encoding"] == "gzip"
    assert "This page needs JavaScript." in re.findall("<noscript>.*?</noscript>", page.text)[0]


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home") / ".env"
    path.write_text(SECRET)
    return path


@pytest.mark.parametrize(
    "path",
    [
        "file={secret}",
        "file/{secret}",
        "file=../../../../../../{secret}",
        "file=..%2f..%2f..%2f..%2f{secret}",
        "file=/etc/passwd",
        "file=.env",
        "file=app.py",
        "file=http://{address}/config",
        "file=http://169.254.169.254/latest/meta-data",
        "proxy=http://{address}/config",
        "proxy=https://example.hf.space/",
        "proxy=http://169.254.169.254/latest/meta-data",
        "/file=/etc/passwd",
        "%66ile=/etc/passwd",
        "upload_progress?upload_id=1",
        "deep_link?session_hash=x",
        "stream/x/1/1/playlist.m3u8",
        "runs",
        "process_recording",
        "dev/reload",
        "monitoring",
        "pwa_icon/32",
        "openapi.json",
        "vibe-starter-queries",
        "../../etc/passwd",
    ],
)
def test_no_route_reads_files_or_calls_other_servers(address: str, secret: Path, path: str) -> None:
    where = path.format(secret=secret, address=address.removeprefix("http://"))
    for root in ("/gradio_api/", "/", "//"):
        answer = httpx.get(f"{address}{root}{where}", follow_redirects=True, timeout=PATIENCE)
        # 404 is from AllowUsedRoutes; gradio itself would answer 403, and fetch a public address first
        assert answer.status_code == 404, root
        assert SECRET not in answer.text
        assert "root:" not in answer.text
        assert "components" not in answer.text


def test_the_explorer_and_its_models_are_served_and_no_other_file(address: str, demo_model: Path) -> None:
    explorer = f"{address}/explorer"
    assert httpx.get(f"{explorer}/settings.json", timeout=PATIENCE).json() == {"model": "./model/base/"}
    page = httpx.get(f"{explorer}/", timeout=PATIENCE)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Content-Security-Policy" in page.text
    headers = {"range": "bytes=8-15"}
    part = httpx.get(f"{explorer}/model/base/model.safetensors", headers=headers, timeout=PATIENCE)
    assert (part.status_code, part.content) == (206, (demo_model / "model.safetensors").read_bytes()[8:16])
    assert part.headers["x-content-type-options"] == "nosniff"
    assert httpx.get(f"{explorer}/model/riesling/config.json", timeout=PATIENCE).json()["n_layer"] == 2
    for path in (
        "README.md",
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "model/base/config.yaml",
        "model/base/../../../app.py",
        "model/base/%2e%2e%2f%2e%2e%2fapp.py",
        "model/riesling/adapter_model.safetensors",
        "model/none/config.json",
        "model/base//etc/passwd",
    ):
        assert httpx.get(f"{explorer}/{path}", timeout=PATIENCE).status_code == 404, path


def test_a_model_that_the_browser_has_is_not_sent_again(address: str) -> None:
    model = f"{address}/explorer/model/base/model.safetensors"
    first = httpx.get(model, timeout=PATIENCE)
    known = {"if-none-match": first.headers["etag"]}
    again = httpx.get(model, headers=known, timeout=PATIENCE)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == "no-cache"
    assert httpx.get(f"{address}/explorer/index.html", headers=known, timeout=PATIENCE).status_code == 200


def test_uploads_are_refused(address: str) -> None:
    for name, body in [("upload", {"files": {"files": b"x" * 10}}), ("component_server", {"json": {}})]:
        assert httpx.post(f"{address}/gradio_api/{name}", **body, timeout=PATIENCE).status_code == 404


@pytest.mark.parametrize("route", ["queue/join", "call/generate", "mcp"])
def test_a_large_body_is_refused(address: str, route: str) -> None:
    body = json.dumps({"data": ["x" * 200_000]})
    for content in (body, iter([body.encode()])):
        where, headers = f"{address}/gradio_api/{route}", {"content-type": "application/json"}
        assert httpx.post(where, content=content, headers=headers, timeout=PATIENCE).status_code == 413


def test_a_long_session_id_is_refused(address: str) -> None:
    long, api = "x" * 65, f"{address}/gradio_api"
    answers = [
        httpx.post(f"{api}/queue/join", json={"data": [], "fn_index": 0, "session_hash": long}, timeout=PATIENCE),
        httpx.post(f"{api}/call/generate", json={"data": [], "session_hash": [long]}, timeout=PATIENCE),
        httpx.get(f"{api}/queue/data", params={"session_hash": long}, timeout=PATIENCE),
        httpx.get(f"{api}/heartbeat/{long}", timeout=PATIENCE),
    ]
    assert [answer.status_code for answer in answers] == [422] * 4


def test_the_page_sends_no_analytics_and_loads_no_foreign_fonts(address: str) -> None:
    config = httpx.get(f"{address}/config", timeout=PATIENCE).json()
    assert config["analytics_enabled"] is False
    page = httpx.get(address, timeout=PATIENCE).text
    assert "fonts.googleapis.com" not in page


def test_fifty_concurrent_requests_are_all_served(address: str) -> None:
    answers: list[tuple[str, str]] = []

    def visit(seed: int) -> None:
        answers.append(call(address, "generate", HEADER, 0.8, 1.0, 60, seed, "base" if seed % 2 else "riesling"))

    visitors = [threading.Thread(target=visit, args=(seed,)) for seed in range(50)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert [event for event, _ in answers] == ["complete"] * 50


def test_the_explorer_gets_the_version_that_the_app_has_loaded(
    hub: HubServer, hub_demo: tuple[str, Path], toy_run: Path
) -> None:
    address, _ = hub_demo
    hub.upload("org/wine-gpt", {"config.json": b"{}", "tokenizer.json": b"{}", "epochs/index.json": b"{}"})
    found = {
        name: httpx.get(f"{address}/explorer/model/base/{name}", timeout=PATIENCE)
        for name in ("config.json", "tokenizer.json", "model.safetensors", "epochs/index.json")
    }
    assert [answer.status_code for answer in found.values()] == [200, 200, 200, 404]
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert found[name].content == (toy_run / name).read_bytes(), name
    asked = len(hub.requests)
    for name, answer in found.items():
        again = httpx.get(f"{address}/explorer/model/base/{name}", timeout=PATIENCE)
        assert again.status_code == answer.status_code
    # also not for the file that the commit lacks
    assert [str(request) for request in hub.requests[asked:]] == []
    assert "org/wine-gpt (revision main)" in httpx.get(address, timeout=PATIENCE).text

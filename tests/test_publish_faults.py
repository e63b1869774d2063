"""When a request of a publish fails, each repository is in its old or new state, and a second run finishes.

``benchmarks/publish_faults.py`` tries every fault at every request; these tests try each fault at each endpoint once.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
from support.finished_runs import adapt, finish
from support.hub_faults import ALL, LOST_ANSWERS, PERMANENT, RETRY_AFTER, TRANSIENT, Scenario, Trial, leaked
from support.hub_server import Fault, HubServer, Request
from support.publisher import Publisher

MODEL = "org/wine-gpt"


@pytest.fixture(scope="module")
def scenario(
    hub: HubServer, publisher: Publisher, toy_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Scenario:
    """Return the first publish of a model, an adapter and a demo into a collection."""
    folder = tmp_path_factory.mktemp("faults")
    run = finish(toy_run, folder / "run")
    adapt(run, folder / "varieties", "Pinot Noir")
    arguments = [run, "--repo", MODEL, "--adapters", folder / "varieties", "--space", "org/demo"]
    hub.forget()
    return Scenario(hub, publisher, [*arguments, "--collection", "Wine GPT"])


def one_per_endpoint(scenario: Scenario, fault: Fault) -> list[int]:
    """Return a request's number for each endpoint; different faults get different requests."""
    index = ALL.index(fault)
    numbers = [numbers[index % len(numbers)] for numbers in scenario.endpoints().values()]
    return [number for number in numbers if scenario.can_fail(number, fault)]


def assert_sound(trial: Trial) -> None:
    assert "neither" not in trial.left.values(), trial
    assert trial.problems == (), trial
    assert trial.first.code in (0, 2), trial
    assert "Traceback" not in trial.first.stderr, trial
    if trial.first.code:
        assert any(
            advice in trial.first.error for advice in ("to resume: python ", "permission", "token", "paid plan")
        ), trial


@pytest.mark.parametrize("fault", TRANSIENT, ids=str)
def test_transient_errors_are_retried(scenario: Scenario, fault: Fault) -> None:
    for number in one_per_endpoint(scenario, fault):
        trial = scenario.trial(number, fault)
        assert_sound(trial)
        assert trial.first.code == 0, trial
        pause = RETRY_AFTER if fault.status in (429, 503) else 1
        # any, because the server may get a retry before the request that timed out; huggingface_hub adds a second
        assert any(pause <= wait <= pause + 1 for wait in trial.first.waits), trial


@pytest.mark.parametrize("fault", LOST_ANSWERS, ids=str)
def test_requests_whose_answer_is_lost_take_effect_once(scenario: Scenario, fault: Fault) -> None:
    for number in one_per_endpoint(scenario, fault):
        trial = scenario.trial(number, fault)
        assert_sound(trial)
        assert trial.first.code == 0, trial


@pytest.mark.parametrize("fault", PERMANENT, ids=str)
def test_permanent_errors_are_reported_without_retries(scenario: Scenario, fault: Fault) -> None:
    for number in one_per_endpoint(scenario, fault):
        trial = scenario.trial(number, fault)
        assert_sound(trial)
        assert not re.search(rf"status {fault.status}\b.*retrying", trial.first.stderr), trial
        if trial.first.code and "permission" not in trial.first.error and "token" not in trial.first.error:
            assert f"status {fault.status}" in trial.first.error, trial
            assert f"(request id request-{number})" in trial.first.error, trial


@pytest.mark.parametrize("fault", [Fault("drop"), Fault("refuse", 503)], ids=str)
def test_retries_are_bounded(hub: HubServer, scenario: Scenario, fault: Fault) -> None:
    for numbers in scenario.endpoints().values():
        trial = scenario.trial(numbers[-1], fault, permanently=True)
        assert_sound(trial)
        assert trial.first.code == 2, trial
        assert 4 <= len(trial.first.waits) <= 12, trial
        assert leaked(hub, trial.first.stdout, trial.first.stderr) == []


@pytest.mark.parametrize("content", [None, [None], [{}], {"name": 3, "tree": {}}], ids=str)
def test_answers_of_another_json_type_are_one_line(scenario: Scenario, content: object) -> None:
    for numbers in scenario.endpoints().values():
        # once, because the state that it leaves is not the question
        done = scenario.failed_publish(numbers[0], Fault("json", content=content))
        assert "Traceback" not in done.stderr, (scenario.requests[numbers[0]], done)
        assert done.code in (0, 2), (scenario.requests[numbers[0]], done)


def test_the_hubs_rate_limit_header_is_respected(hub: HubServer, publisher: Publisher, scenario: Scenario) -> None:
    for numbers in scenario.endpoints().values():
        hub.forget()
        hub.rate_limit = '"api";r=0;t=55'
        hub.fault = lambda number, _, failing=numbers[0]: Fault("refuse", 429) if number == failing else None
        done = publisher.run(*scenario.arguments, reuse_staged=True)
        done.succeeded()
        assert done.waits == [56]


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/xet-write-token/", Fault("refuse", 403)),
        ("/v1/xorbs/", Fault("refuse", 500)),
        ("/v1/shards", Fault("drop")),
        ("/v1/shards", Fault("drop", lost=True)),
    ],
    ids=str,
)
def test_files_that_xet_does_not_upload_are_uploaded_by_git_lfs(
    hub: HubServer, publisher: Publisher, scenario: Scenario, tmp_path: Path, path: str, fault: Fault
) -> None:
    hub.forget()
    run = new_files(scenario, tmp_path)
    assert publish_with_lfs(hub, publisher, run, path, fault)


def test_large_files_are_uploaded_with_xet(
    hub: HubServer, publisher: Publisher, scenario: Scenario, tmp_path: Path
) -> None:
    hub.forget()
    done = publisher.run(new_files(scenario, tmp_path), "--repo", MODEL)
    done.succeeded()
    assert "Git LFS" not in done.stderr
    assert [request for request in hub.xet_requests if request.path.startswith("/v1/xorbs/")]
    assert not [request for request in hub.requests if "/lfs/" in request.path]


def test_a_xet_store_that_does_not_answer_is_left_after_one_timeout(
    hub: HubServer, publisher: Publisher, scenario: Scenario, tmp_path: Path
) -> None:
    hub.forget()
    environment = {**hub.environment(), "HF_XET_CLIENT_READ_TIMEOUT": "1s"}
    impatient = Publisher(environment, publisher.space, tmp_path / "home")
    publish_with_lfs(hub, impatient, new_files(scenario, tmp_path), "/v1/", Fault("hang"))
    impatient.close()
    # none, if already the request before it took so long
    assert len([request for request in hub.xet_requests if "/v1/" in request.path]) <= 1


def new_files(scenario: Scenario, folder: Path) -> Path:
    """Return a copy of the run with a picture that hf_xet has not uploaded."""
    run = shutil.copytree(str(scenario.arguments[0]), folder / "run")
    (run / "loss.png").write_bytes(os.urandom(64))
    return run


def publish_with_lfs(hub: HubServer, publisher: Publisher, run: Path, path: str, fault: Fault) -> bool:
    """Publish while Xet fails, and check that the files are published once, with a line that says how to avoid Xet."""
    failed: list[str] = []

    def fails(request: Request) -> Fault | None:
        if path in request.path:
            failed.append(request.path)
            return fault
        return None

    hub.xet_fault = fails
    done = publisher.run(run, "--repo", MODEL)
    done.succeeded()
    warning = rf"^model repository {MODEL}: Xet: .+; uploading with Git LFS, as HF_HUB_DISABLE_XET=1 does at once$"
    assert len(re.findall(warning, done.stderr, re.MULTILINE)) == 1
    repository = hub.repository(MODEL)
    assert len(repository.history()) == 2
    picture = hub.objects[repository.files()["loss.png"].removeprefix("sha256:")]
    assert picture == (run / "loss.png").read_bytes()
    return bool(failed)

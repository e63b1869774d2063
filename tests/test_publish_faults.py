"""A request of a publish fails, any request and in any way: what is left is old or new, and a second run finishes.

``benchmarks/publish_faults.py`` tries every fault at every request; here each fault meets each kind of request once.
"""

import re
from pathlib import Path

import pytest
from support.finished_runs import adapt, finish
from support.hub_faults import ALL, LASTING, LOST, PASSING, RETRY_AFTER, Scenario, Trial, leaked
from support.hub_server import Fault, HubServer
from support.publisher import Publisher

MODEL = "org/wine-gpt"


@pytest.fixture(scope="module")
def scenario(
    hub: HubServer, publisher: Publisher, toy_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Scenario:
    """Return the first publish of a model, an adapter and a demo, which a collection holds."""
    folder = tmp_path_factory.mktemp("faults")
    run = finish(toy_run, folder / "run")
    adapt(run, folder / "varieties", "Pinot Noir")
    arguments = [run, "--repo", MODEL, "--adapters", folder / "varieties", "--space", "org/demo"]
    hub.forget()
    return Scenario(hub, publisher, [*arguments, "--collection", "Wine GPT"])


def chosen(scenario: Scenario, fault: Fault) -> list[int]:
    """Return one request of each kind, another one for each fault."""
    turn = ALL.index(fault)
    return [numbers[turn % len(numbers)] for numbers in scenario.endpoints().values()]


def assert_sound(trial: Trial) -> None:
    assert "neither" not in trial.left.values(), trial
    assert trial.problems == (), trial
    assert trial.first.code in (0, 2), trial
    assert "Traceback" not in trial.first.stderr, trial
    if trial.first.code:
        assert any(advice in trial.first.error for advice in ("to go on: python ", "permission", "token")), trial


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_what_passes_is_waited_out(scenario: Scenario, fault: Fault) -> None:
    for number in chosen(scenario, fault):
        trial = scenario.trial(number, fault)
        assert_sound(trial)
        assert trial.first.code == 0, trial
        told = RETRY_AFTER if fault.status in (429, 503) else 1
        # huggingface_hub waits a second longer than it is told; a busy machine may miss an answer of its own
        assert any(told <= wait <= told + 1 for wait in trial.first.waits), trial


@pytest.mark.parametrize("fault", LOST, ids=str)
def test_what_was_done_unseen_is_not_done_twice(scenario: Scenario, fault: Fault) -> None:
    for number in chosen(scenario, fault):
        trial = scenario.trial(number, fault)
        assert_sound(trial)
        assert trial.first.code == 0, trial


@pytest.mark.parametrize("fault", LASTING, ids=str)
def test_what_is_refused_is_told_at_once(scenario: Scenario, fault: Fault) -> None:
    for number in chosen(scenario, fault):
        trial = scenario.trial(number, fault)
        assert_sound(trial)
        assert not re.search(rf"status {fault.status}\b.*retrying", trial.first.stderr), trial
        if trial.first.code and "permission" not in trial.first.error and "token" not in trial.first.error:
            assert f"status {fault.status}" in trial.first.error, trial
            assert f"(request id request-{number})" in trial.first.error, trial


@pytest.mark.parametrize("fault", [Fault("drop"), Fault("refuse", 503)], ids=str)
def test_a_hub_that_stays_away_is_given_up(hub: HubServer, scenario: Scenario, fault: Fault) -> None:
    for numbers in scenario.endpoints().values():
        trial = scenario.trial(numbers[-1], fault, for_good=True)
        assert_sound(trial)
        assert trial.first.code == 2, trial
        assert 4 <= len(trial.first.waits) <= 12, trial
        assert leaked(hub, trial.first.stdout, trial.first.stderr) == []

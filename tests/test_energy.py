"""A training reports its energy, and runs without codecarbon too."""

import dataclasses
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from support.toy_training import TRAINING, make_splits, make_tokenizer, make_trainer

from wine_gpt.training.record import TrainingSummary
from wine_gpt.training.trainer import Trainer

EPOCHS = TRAINING.epochs


class Tracker:
    """codecarbon's tracker on a machine that uses half a kWh per task."""

    def __init__(self, **settings: object) -> None:
        pass

    def start_task(self) -> None:
        """Start measuring."""

    def stop_task(self) -> SimpleNamespace:
        """Return the energy of the task."""
        return SimpleNamespace(energy_consumed=0.5)

    def stop(self) -> None:
        """End the measurement."""


def fail(*arguments: object, **settings: object) -> None:
    raise RuntimeError("out of order")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that installs a codecarbon with replaced methods of :class:`Tracker`, or removes it."""

    def put(present: bool = True, **methods: Any) -> None:  # noqa: ANN401
        module = ModuleType("codecarbon")
        vars(module)["OfflineEmissionsTracker"] = type("Own", (Tracker,), methods)
        monkeypatch.setitem(sys.modules, "codecarbon", module if present else None)

    return put


def trainer(folder: Path, epochs: int = EPOCHS, **settings: Any) -> Trainer:  # noqa: ANN401
    config = dataclasses.replace(TRAINING, epochs=epochs, checkpoint_steps=0, **settings)
    return make_trainer(folder, make_tokenizer(), make_splits(), config, {"training.epochs": epochs})


def train(trainer: Trainer) -> TrainingSummary:
    trainer.run()
    return trainer.summary()


def test_a_resumed_run_reports_the_energy_of_all_its_parts(install: Callable[..., None], tmp_path: Path) -> None:
    install()
    assert train(trainer(tmp_path)).energy_kwh == EPOCHS * 0.5
    longer = trainer(tmp_path, EPOCHS + 2)
    longer.resume_from("latest")
    assert train(longer).energy_kwh == (EPOCHS + 2) * 0.5


@pytest.mark.parametrize("measured_first", [True, False])
def test_an_unmeasured_part_leaves_the_total_unknown(
    install: Callable[..., None], tmp_path: Path, measured_first: bool
) -> None:
    install(present=measured_first)
    assert (train(trainer(tmp_path)).energy_kwh is not None) == measured_first
    install(present=not measured_first)
    longer = trainer(tmp_path, EPOCHS + 1)
    longer.resume_from("latest")
    assert train(longer).energy_kwh is None


@pytest.mark.parametrize("method", ["__init__", "start_task", "stop_task", "stop"])
def test_an_error_in_codecarbon_does_not_change_the_run(
    install: Callable[..., None], tmp_path: Path, method: str
) -> None:
    install(present=False)
    expected = trainer(tmp_path / "without")
    without = train(expected)
    install(**{method: fail})
    trained = trainer(tmp_path / "with")
    summary = train(trained)
    assert (summary.energy_kwh is not None) == (method == "stop")
    assert summary.epochs == without.epochs
    for name, weights in expected.module.state_dict().items():
        assert trained.module.state_dict()[name].equal(weights), name


def test_codecarbon_measures_without_output_files_or_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("codecarbon", reason='not installed: pip install "wine_gpt[energy]"')
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    called: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: called.append(address))
    trained = trainer(tmp_path / "run")
    capfd.readouterr()
    summary = train(trained)
    assert 0 < summary.energy_kwh < 0.1
    assert called == []
    assert list((tmp_path / "here").iterdir()) == []
    assert "codecarbon" not in "".join(capfd.readouterr())

"""Measure the energy of training with codecarbon, if it is installed."""

import logging
from types import TracebackType
from typing import Any, Self


class EnergyMeter:
    """Measures the energy that this machine uses inside the context, offline and without writing files.

    If codecarbon raises an error, the meter stops measuring and hides the error, because training must not fail.
    """

    def __init__(self) -> None:
        # codecarbon has no types
        self._tracker: Any = None

    def __enter__(self) -> Self:
        log = logging.getLogger("codecarbon")
        self._log_was_disabled, log.disabled = log.disabled, True
        try:
            from codecarbon import OfflineEmissionsTracker

            tracker = OfflineEmissionsTracker(
                # required by codecarbon, but without effect on the energy
                country_iso_code="FRA",
                # otherwise codecarbon locks a file and handles SIGTERM
                allow_multiple_runs=True,
                output_methods=[],
            )
            tracker.start_task()
            self._tracker = tracker
        except Exception:
            self._tracker = None
        return self

    def take(self) -> float | None:
        """Return the energy in kWh since the last call, or since the start; none if it is not known."""
        if self._tracker is None:
            return None
        try:
            kwh = float(self._tracker.stop_task().energy_consumed)
            self._tracker.start_task()
        except Exception:
            self._tracker = None
            return None
        return kwh

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tracker, self._tracker = self._tracker, None
        try:
            if tracker is not None:
                tracker.stop()
        except Exception:
            # hidden, because take() has already returned all measurements
            return
        finally:
            logging.getLogger("codecarbon").disabled = self._log_was_disabled

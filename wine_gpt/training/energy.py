"""Measure the energy that a training uses, as codecarbon estimates it; nothing is measured without codecarbon."""

import logging
from types import TracebackType
from typing import Any, Self


class EnergyMeter:
    """Measures the energy of this machine inside its context, offline and without writing files.

    An error in codecarbon never reaches the caller: the meter then stops measuring.
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
                # required, but used for emissions only
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
        """Return the kWh since the last call, or since the start; none if they are not known."""
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
            # no measurement is lost, because take() has returned them all
            return
        finally:
            logging.getLogger("codecarbon").disabled = self._log_was_disabled

"""The energy that a training takes, as codecarbon estimates it where that is installed."""

import logging
from types import TracebackType
from typing import Any, Self


class EnergyMeter:
    """Measures this machine from entering the context to leaving it; offline, and nothing is written.

    No fault of codecarbon's reaches the caller: from then on, nothing is measured.
    """

    def __init__(self) -> None:
        self._tracker: Any = None

    def __enter__(self) -> Self:
        # it tells at length of what it finds and can't read
        logging.getLogger("codecarbon").disabled = True
        try:
            from codecarbon import OfflineEmissionsTracker

            # the country is for its figures on emissions, which are not asked for
            tracker = OfflineEmissionsTracker(
                country_iso_code="FRA",
                # else it locks a file, and takes SIGTERM for itself
                allow_multiple_runs=True,
                output_methods=[],
            )
            tracker.start_task()
            self._tracker = tracker
        except Exception:
            self._tracker = None
        return self

    def take(self) -> float | None:
        """Return the kWh since the last call, or since the start; none where they are not known."""
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
        if tracker is not None:
            try:
                tracker.stop()
            except Exception:
                # what it measured is taken already
                return

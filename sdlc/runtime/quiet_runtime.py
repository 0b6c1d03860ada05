"""The one SDK runtime of a process."""

from __future__ import annotations

import atexit
import logging
import time
from functools import cache

from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

_LAST_BREATH = 0.05


@cache
def quiet_runtime() -> Runtime:
    """The one SDK runtime of this process: its native logs go through Python's logging, not straight to the console."""
    # A native thread that has just answered still holds on to the interpreter for a moment. A short command that ends
    # right then is aborted by Python ("PyGILState_Release: thread state must be current", exit code 134), one in five.
    atexit.register(time.sleep, _LAST_BREATH)
    # Without any handler Python prints warnings as they are.
    logging.getLogger("temporalio").addHandler(logging.NullHandler())
    return Runtime(
        telemetry=TelemetryConfig(
            logging=LoggingConfig(
                filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
                forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")),
            )
        )
    )

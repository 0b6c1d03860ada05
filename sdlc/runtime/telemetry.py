"""Structured logs: structlog in front, the standard library and Temporal's core bridged into the same lines."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from sdlc.runtime.redaction import Redactor

if TYPE_CHECKING:
    from sdlc.config import Settings

_LARGEST_FILE = 20 * 1024**2
"""Bytes; a log that is larger when a process starts is put aside as `<name>.1`."""

_CHATTY = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "langchain", "langgraph", "langsmith", "urllib3")
"""Libraries that log every request at INFO."""


def configure_logging(settings: Settings, *, file: Path | None = None) -> Redactor:
    """Send every log line of this process to `file`, or to stderr without one. May be called again.

    Returns the redactor that all lines pass through, which knows this configuration's secrets.
    """
    redactor = Redactor.of(settings)
    stream: TextIO = _opened(file) if file is not None else sys.stderr
    as_json = settings.log.format == "json" or (
        settings.log.format == "auto" and (file is not None or not _at_terminal())
    )
    shared = _shared_processors(redactor)
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(as_json)],
        )
    )
    level = settings.log.level.upper()
    root = logging.getLogger()
    for old in [existing for existing in root.handlers if isinstance(existing, _Handler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a second call, with a file, must reach the loggers that exist
    )
    return redactor


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that a second configuration replaces it and leaves others (pytest's) alone."""

    def close(self) -> None:
        if self.stream not in (sys.stderr, sys.stdout, sys.__stderr__):
            self.stream.close()
        super().close()


def _shared_processors(redactor: Redactor) -> list[structlog.typing.Processor]:
    def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        # `_record` and `_from_structlog` belong to the bridge and are taken out by it.
        return {key: value if key.startswith("_") else redactor.deep(value) for key, value in event.items()}

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,  # a text from here on, so that the redactor sees it
        redact,
    ]


def _renderer(as_json: bool) -> structlog.typing.Processor:
    if as_json:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=_at_terminal() and not os.environ.get("NO_COLOR"))


def _at_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _opened(file: Path) -> TextIO:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if file.exists() and file.stat().st_size > _LARGEST_FILE:
        file.replace(file.with_name(file.name + ".1"))
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace")

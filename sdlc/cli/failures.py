"""How a command ends that did not go well: one line on standard error, an exit code, never a traceback.

`SDLC_DEBUG=1` shows the traceback; that of a fault of ours is in the log file in any case.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from typer.exceptions import TyperException

from sdlc.cli import interrupts
from sdlc.cli.context import CONTEXT, log_file, say
from sdlc.cli.interrupts import Interrupted
from sdlc.errors import RunNotFound, SdlcError, UsageError


def exit_code_of(command: Callable[[], Any]) -> int:
    """Run a command. Its own exit code, or 1 for a failure, 2 for wrong use, 130 if it was interrupted."""
    try:
        return int(command() or 0)
    except (Interrupted, KeyboardInterrupt):
        return interrupts.EXIT_CODE
    except BrokenPipeError:  # as in `sdlc list | head`: nothing is left to say, and nobody to say it to
        return 1
    except TyperException as error:
        return _wrong_call(error)
    except UsageError as error:
        return _told(error, 2)
    except SdlcError as error:
        return _told(error, 1)
    except Exception as error:
        return _our_fault(error)


def leave(code: int) -> NoReturn:
    """End the process without Python's own tidying up, which takes the workflows that a worker had in memory apart
    and prints tracebacks of their generators, and which native threads of the SDK have been seen to crash."""
    if "logging" in sys.modules:
        sys.modules["logging"].shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _told(error: SdlcError, code: int) -> int:
    say(f"sdlc: {error}{_meant(error)}")
    _show_if_wanted(error)
    return code


def _meant(error: SdlcError) -> str:
    if not isinstance(error, RunNotFound) or not CONTEXT.key or "no run for" not in str(error):
        return ""
    from sdlc.cli.guesses import meant_key

    meant = meant_key(CONTEXT.key)
    return f" Did you mean {meant}?" if meant else ""


def _wrong_call(error: TyperException) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # `sdlc` alone
        say(error.format_message())
        return 2
    command = context.command_path if context is not None else "sdlc"
    words = error.format_message().rstrip(".")
    words = f"{words[:1].lower()}{words[1:]}"
    # The library's own guess is a question, and a sentence of its own.
    said, asked, guess = words.partition(". Did you mean ")
    question = f" did you mean {guess.rstrip('?').replace(chr(39), '`')}?" if asked else ""
    say(f"sdlc: {said};{question} `{command} --help` shows how it is called.")
    return error.exit_code


def _our_fault(error: Exception) -> int:
    """Also what the machine refuses (a full disk, a folder that may not be written to), with the place."""
    log = _logged(error)
    where = f"the traceback is in {log}" if log is not None else "SDLC_DEBUG=1 shows the traceback"
    words = " ".join(str(error).split())[:300]
    if isinstance(error, OSError) and error.filename is not None:
        say(f"sdlc: {error.filename}: {error.strerror}. Look at its rights and the room on the disk; {where}.")
    else:
        say(f"sdlc: a fault in sdlc itself ({type(error).__name__}{f': {words}' if words else ''}); {where}.")
    _show_if_wanted(error)
    return 1


def _logged(error: Exception) -> Path | None:
    """Where the traceback was written, without secrets; None if that was not possible."""
    import logging

    try:
        from sdlc.runtime.telemetry import configure_logging

        settings = CONTEXT.settings()
        file = log_file(settings)
        configure_logging(settings, file=file)
        logging.getLogger("sdlc.cli").critical("a command failed: %s", sys.argv[1:2], exc_info=error)
    except Exception:  # the error that is being told must not give way to one about the telling
        return None
    return file


def _show_if_wanted(error: Exception) -> None:
    if os.environ.get("SDLC_DEBUG", "0") not in ("", "0"):
        import traceback

        say("".join(traceback.format_exception(error)))

"""Make docs/demo.svg: what a terminal of 100 columns shows when the demo asks for a decision, from a real run.

    .venv/bin/python docs/picture.py

The run has its home in /tmp/sdlc, so that nobody's paths are in the picture; it is left at step 16.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sdlc.cli import summary
from sdlc.cli.context import say
from sdlc.cli.demo_model import mark_as_demo, model_of_a_demo
from sdlc.cli.foreground import start_run
from sdlc.cli.preflight import prepare
from sdlc.cli.view import evidence_view, progress_view
from sdlc.cli.watching import waits_for_people, watch
from sdlc.config import Settings
from sdlc.demo.bundle import TICKET, make_repository
from sdlc.domain import RunState
from sdlc.progress import RunProgress
from sdlc.runtime.client import task_queue
from sdlc.runtime.embedded import embedded
from sdlc.runtime.runs import Runs
from sdlc.runtime.telemetry import configure_logging

HOME = Path("/tmp/sdlc")  # noqa: S108
PICTURE = Path(__file__).with_name("demo.svg")
COLUMNS = 100


async def waiting_demo() -> RunProgress:
    """A demo run that has come to step 16."""
    settings = Settings(data_dir=HOME)
    mark_as_demo(settings)
    configure_logging(settings, file=HOME / "sdlc.log")
    repository = await make_repository(HOME / "parcel")
    async with model_of_a_demo(settings) as equipped:
        request = await prepare(equipped, TICKET, str(repository))
        async with embedded(equipped, say=say) as house:
            await start_run(equipped, house.client, request, ui_url=house.ui_url)
            runs = Runs(house.client, task_queue=task_queue(equipped))
            return await watch(runs, request.ticket_key, until=waits_for_people, live=False)


def picture(progress: RunProgress) -> str:
    """The terminal as SVG, with the reader's own fixed-width font: a picture fetches nothing."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, highlight=False)
    console.print(Text.assemble(("$ ", "bold green"), "make demo"))
    console.print(progress_view(progress))
    console.print()
    console.print(evidence_view(progress))
    for line in summary.where_the_change_is(progress):
        console.print(Text(line))
    console.print(Text.assemble(("Your decision (approve, changes, reject, leave)", "bold"), ": "))
    svg = console.export_svg(title="sdlc demo", unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, monospace")


def main() -> None:
    if HOME.exists() and not (HOME / "demo.txt").exists():
        sys.exit(f"{HOME} is somebody else's; move it away.")
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    progress = asyncio.run(waiting_demo())
    if progress.state is not RunState.AWAITING_APPROVAL:
        sys.exit(f"The demo is {progress.state.value}: {progress.waits_for}")
    PICTURE.write_text(picture(progress), encoding="utf-8")
    shutil.rmtree(HOME, ignore_errors=True)


if __name__ == "__main__":
    main()

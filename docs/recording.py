"""Make docs/status.svg: `sdlc status KEY --follow` at a terminal of 100 columns, in motion, of a demo's real run.

    .venv/bin/python docs/recording.py

What is recorded is what the command asks for while the run works, drawn by the command's own view. Waits are shortened.
Whoever wants no motion (`prefers-reduced-motion`), or has a viewer without, sees the last picture.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from io import StringIO
from pathlib import Path

from picture import COLUMNS, HOME
from rich.console import Console
from rich.segment import Segment
from rich.terminal_theme import MONOKAI
from rich.text import Text

from sdlc.cli.context import say
from sdlc.cli.demo_model import mark_as_demo, model_of_a_demo
from sdlc.cli.foreground import start_run
from sdlc.cli.preflight import prepare
from sdlc.cli.view import progress_view
from sdlc.config import Settings
from sdlc.demo.bundle import TICKET, make_repository
from sdlc.domain import ApprovalDecision, DecisionKind, RunState
from sdlc.errors import ServiceUnavailable
from sdlc.progress import RunProgress
from sdlc.runtime.client import task_queue
from sdlc.runtime.embedded import embedded
from sdlc.runtime.runs import Runs
from sdlc.runtime.telemetry import configure_logging

RECORDING = Path(__file__).with_name("status.svg")
LOOK_EVERY = 0.2
LONGEST = 0.6
"""Seconds that a picture stays, except the last."""
LAST = 5.0
_WIDTH, _HEIGHT, _MARGIN, _BAR = 8.43, 18.0, 14.0, 34.0
"""Pixels: of a character, of a line, around all, and of the title."""


@dataclass(frozen=True)
class Frame:
    seconds: float
    """How long it stays."""
    lines: tuple[str, ...]
    """As SVG, without their places."""


async def recorded() -> tuple[str, list[Frame]]:
    """The key of a demo's run, and what `--follow` draws of it from its start to its end."""
    settings = Settings(data_dir=HOME)
    mark_as_demo(settings)
    configure_logging(settings, file=HOME / "sdlc.log")
    repository = await make_repository(HOME / "parcel")
    frames: list[Frame] = []
    async with model_of_a_demo(settings) as equipped:
        request = await prepare(equipped, TICKET, str(repository))
        async with embedded(equipped, say=say) as house:
            await start_run(equipped, house.client, request, ui_url=house.ui_url)
            runs, key, decided = Runs(house.client, task_queue=task_queue(equipped)), request.ticket_key, False
            while True:
                try:
                    look = await runs.look(key)
                except ServiceUnavailable:  # a worker on a busy machine; the command waits as well
                    continue
                lines = drawn(look.progress, key)
                if not frames or frames[-1].lines != lines:
                    frames.append(Frame(0.0, lines))
                frames[-1] = Frame(min(LONGEST, frames[-1].seconds + LOOK_EVERY), frames[-1].lines)
                if look.progress.state.is_over:
                    frames[-1] = Frame(LAST, lines)
                    return key, frames
                if look.progress.state is RunState.AWAITING_APPROVAL and not decided:
                    decided = True
                    await asyncio.sleep(1)
                    await runs.decide(key, ApprovalDecision(kind=DecisionKind.APPROVE, by="grace", source="cli"))
                await asyncio.sleep(LOOK_EVERY)


def drawn(progress: RunProgress, key: str) -> tuple[str, ...]:
    """The command, and the view's lines below it."""
    console = Console(file=StringIO(), width=COLUMNS, force_terminal=True, highlight=False, color_system="truecolor")
    prompt = Text.assemble(("$ ", "bold green"), f"sdlc status {key} --follow")
    view = progress_view(progress, now=datetime.now(UTC))
    lines = [*console.render_lines(prompt, pad=False), *console.render_lines(view, pad=False)]
    return tuple(_line(Segment.simplify(line)) for line in lines)


def _line(segments: Sequence[Segment]) -> str:
    parts, column = [], 0
    for segment in segments:
        text = segment.text.rstrip("\n")
        width = Segment.get_line_length([segment])
        if text.strip():
            style = segment.style
            color = style.color.get_truecolor(MONOKAI).hex if style and style.color else "#d9d9d9"
            more = ' font-weight="bold"' if style and style.bold else ""
            more += ' opacity="0.6"' if style and style.dim else ""
            place = f'x="{_MARGIN + column * _WIDTH:.1f}" textLength="{width * _WIDTH:.1f}"'
            parts.append(f'<tspan {place} fill="{color}"{more}>{escape(text)}</tspan>')
        column += width
    return "".join(parts)


def svg(frames: Sequence[Frame]) -> str:
    """The frames as one picture in motion; a line that stays over several frames is in it once."""
    rows = max(len(frame.lines) for frame in frames)
    total = sum(frame.seconds for frame in frames)
    starts = [sum(frame.seconds for frame in frames[:number]) / total * 100 for number in range(len(frames) + 1)]
    height, width = _BAR + rows * _HEIGHT + 2 * _MARGIN, COLUMNS * _WIDTH + 2 * _MARGIN
    spans: dict[tuple[int, int], None] = {}
    texts = []
    for row in range(rows):
        for first, end, line in _runs_of(frames, row):
            spans[first, end] = None
            last = " last" if end == len(frames) else ""
            y = _BAR + _MARGIN + (row + 0.75) * _HEIGHT
            texts.append(f'<text class="f f{first}-{end}{last}" y="{y:.1f}">{line}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
            'xml:space="preserve">',
            "<title>sdlc status --follow: the seventeen steps of a run, from its start to its end</title>",
            "<style>",
            "text{font:14px ui-monospace,Menlo,Consolas,monospace;white-space:pre}",
            ".f{visibility:hidden}.last{visibility:visible}",
            "@media (prefers-reduced-motion:no-preference){",
            *(_motion(first, end, starts, total) for first, end in spans),
            "}</style>",
            f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#1e1e1e"/>',
            *(
                f'<circle cx="{20 + 20 * number}" cy="18" r="6" fill="{color}"/>'
                for number, color in enumerate(("#ff5f57", "#febc2e", "#28c840"))
            ),
            *texts,
            "</svg>",
            "",
        ]
    )


def _runs_of(frames: Sequence[Frame], row: int) -> Iterator[tuple[int, int, str]]:
    """From which frame to before which one a row shows what."""
    first = 0
    for number in range(1, len(frames) + 1):
        before = _row(frames[first], row)
        if number == len(frames) or _row(frames[number], row) != before:
            if before:
                yield first, number, before
            first = number


def _row(frame: Frame, row: int) -> str:
    return frame.lines[row] if row < len(frame.lines) else ""


def _motion(first: int, end: int, starts: Sequence[float], total: float) -> str:
    name = f"f{first}-{end}"
    steps = [] if first == 0 else ["0%{visibility:hidden}"]
    steps.append(f"{starts[first]:.2f}%{{visibility:visible}}")
    steps.append("100%{visibility:visible}" if starts[end] >= 100 else f"{starts[end]:.2f}%{{visibility:hidden}}")
    return f".{name}{{animation:{name} {total:.1f}s step-end infinite}}@keyframes {name}{{{''.join(steps)}}}"


def main() -> None:
    if HOME.exists() and not (HOME / "demo.txt").exists():
        sys.exit(f"{HOME} is somebody else's; move it away.")
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    key, frames = asyncio.run(recorded())
    RECORDING.write_text(re.sub(r"[ \t]+\n", "\n", svg(frames)), encoding="utf-8")
    say(f"{key}: {len(frames)} pictures, {RECORDING.stat().st_size:,} bytes.")
    shutil.rmtree(HOME, ignore_errors=True)


if __name__ == "__main__":
    main()

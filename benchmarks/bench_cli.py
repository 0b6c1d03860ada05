"""How long a person waits for the command line, in milliseconds: medians of some calls, each a process of its own.

    python benchmarks/bench_cli.py [ROUNDS]

`status` and `list` are asked of a real run that waits for an approval, which this starts with the scripted model
and an embedded server in a temporary folder. The bounds are 400 ms for `--help` and 1 000 ms for `status`.
"""

from __future__ import annotations

import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sdlc.demo.scripted_model import MODEL, ScriptedModel
from tests.small_run import KEY, TICKET, small_repository, small_script

ROUNDS = 9


def sdlc(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("sdlc")), *arguments]


def timed(name: str, command: list[str], rounds: int, expected: int = 0) -> None:
    """Print the median, the processor time of it (which a busy machine does not lengthen), and the slowest."""
    taken, worked = [], []
    for _round in range(rounds):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append((time.perf_counter() - began) * 1000)
        worked.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
        if done.returncode != expected:
            sys.exit(done.stderr.decode())
    middle, work = statistics.median(taken), statistics.median(worked)
    print(f"{name:<32} {middle:6.0f} ms, of it {work:6.0f} ms of work   slowest {max(taken):6.0f}", flush=True)


def waiting_run(folder: Path) -> subprocess.Popen[bytes]:
    """`sdlc run` that has come to its approval."""
    (folder / "bug.md").write_text(TICKET)
    repository = small_repository(folder / "money").path
    log = folder / "stderr"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            sdlc("run", "--ticket", str(folder / "bug.md"), "--repo", str(repository)), stderr=errors
        )
    while "Decide with" not in log.read_text():
        if process.poll() is not None:
            sys.exit(log.read_text())
        time.sleep(0.2)
    return process


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-cli-") as folder:
        os.environ["SDLC_DATA_DIR"] = f"{folder}/data"
        timed("sdlc --help", sdlc("--help"), rounds)
        timed("sdlc status, without a server", sdlc("status", KEY), rounds, expected=2)
        model = ScriptedModel(small_script())
        model.start()
        os.environ |= {"OPENAI_BASE_URL": model.base_url, "SDLC_MODEL": MODEL}
        run = waiting_run(Path(folder))
        try:
            timed("sdlc status KEY", sdlc("status", KEY), rounds)
            timed("sdlc status KEY --json", sdlc("status", KEY, "--json"), rounds)
            timed("sdlc list", sdlc("list"), rounds)
        finally:
            run.send_signal(signal.SIGINT)
            run.wait(60)
            model.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)

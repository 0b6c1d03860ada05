"""Which versions of Python and Node the workflows of GitHub run on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sdlc.review_graphs.checks.base import Tree
from sdlc.review_graphs.checks.techstack.documents import read_yaml, table

Runtime = Literal["python", "node"]
_WORKFLOW = re.compile(r"^\.github/workflows/[^/]+\.ya?ml$")
_KEY = {
    "python": re.compile(r"py(thon)?([-_]?ver(sion)?s?)?", re.IGNORECASE),
    "node": re.compile(r"node(js)?([-_]?ver(sion)?s?)?", re.IGNORECASE),
}
_INSTALLS = {
    "python": re.compile(
        r"\bpytest\b|\btox\b|\bnox\b|pip install (-e |--editable )?[\"']?\.|uv sync|poetry install|make test"
    ),
    "node": re.compile(r"npm (ci|install|test)|yarn|pnpm"),
}
_SETUP = {"python": "actions/setup-python", "node": "actions/setup-node"}


@dataclass(frozen=True)
class Tested:
    path: str
    version: tuple[int, int]
    """Major and minor; of Node the minor is 0."""

    @property
    def text(self) -> str:
        return f"{self.version[0]}.{self.version[1]}" if self.version[0] == 3 else str(self.version[0])


def is_workflow(path: str) -> bool:
    return bool(_WORKFLOW.match(path))


def tested(tree: Tree, runtime: Runtime) -> list[Tested]:
    """The versions on which jobs that test or install the project run, oldest first."""
    found = {
        Tested(path, version)
        for path in tree.paths
        if is_workflow(path)
        for version in _versions(tree.text(path) or "", runtime)
    }
    return sorted(found, key=lambda one: (one.version, one.path))


def _versions(text: str, runtime: Runtime) -> Iterator[tuple[int, int]]:
    for job in table(read_yaml(text), "jobs").values():
        if isinstance(job, dict) and _INSTALLS[runtime].search(_commands(job)):
            for value in _of_job(job, runtime):
                version = re.fullmatch(r"v?(\d{1,3})(?:\.(\d{1,3}|x))?(?:\.[\dx]+)?", value.strip())
                if version and (runtime == "node" or (version[2] or "x") != "x"):
                    yield int(version[1]), int(version[2]) if runtime == "python" else 0


def _steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    steps = job.get("steps")
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _commands(job: dict[str, Any]) -> str:
    return "\n".join(str(step.get("run") or "") for step in _steps(job))


def _of_job(job: dict[str, Any], runtime: Runtime) -> Iterator[str]:
    """The versions of a job's matrix, and the one that its set-up names."""
    strategy = job.get("strategy")
    matrix = strategy.get("matrix") if isinstance(strategy, dict) else None
    if isinstance(matrix, dict):
        for key, values in matrix.items():
            if _KEY[runtime].fullmatch(key) and isinstance(values, list):
                yield from (value for value in values if isinstance(value, str))
            elif key == "include" and isinstance(values, list):
                for entry in values:
                    pairs = entry.items() if isinstance(entry, dict) else ()
                    yield from (v for k, v in pairs if _KEY[runtime].fullmatch(k) and isinstance(v, str))
    for step in _steps(job):
        given = step.get("with")
        if str(step.get("uses") or "").startswith(_SETUP[runtime]) and isinstance(given, dict):
            value = given.get(f"{runtime}-version")
            if isinstance(value, str):
                yield from value.split("\n")

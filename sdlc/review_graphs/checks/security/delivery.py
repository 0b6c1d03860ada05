"""Changes to how the project is built and delivered that open a hole: pipelines, images, registries, lock files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Tree, Trees
from sdlc.review_graphs.checks.security import containers, pipelines
from sdlc.review_graphs.checks.security.added import is_made_up
from sdlc.review_graphs.checks.security.lock_files import is_lock_file, lock_risks
from sdlc.review_graphs.checks.security.risk import Risk, brought
from sdlc.review_graphs.checks.security.shell import Command, commands, shell_risks
from sdlc.review_graphs.checks.security.workflows import Workflow, workflow_risks
from sdlc.review_graphs.checks.security.yaml_nodes import Node, read_documents

_WORKFLOW = re.compile(r"(^|/)\.github/workflows/[^/]+\.ya?ml$|(^|/)action\.ya?ml$")
_PIPELINE = re.compile(
    r"(^|/)\.gitlab-ci\.ya?ml$|(^|/)\.gitlab/.*\.ya?ml$|(^|/)\.circleci/config\.ya?ml$|(^|/)azure-pipelines[\w.-]*\.ya?ml$"
    r"|(^|/)bitbucket-pipelines\.ya?ml$|(^|/)\.(travis|drone|woodpecker)\.ya?ml$|(^|/)\.buildkite/.*\.ya?ml$"
)
_IMAGE = re.compile(r"(^|/)(Dockerfile|Containerfile)([._-][\w.-]+)?$|\.(dockerfile|containerfile)$", re.IGNORECASE)
_COMPOSE = re.compile(r"(^|/)(docker-)?compose[\w.-]*\.ya?ml$")
_MANIFEST = re.compile(r"\.ya?ml$")
_SCRIPT = re.compile(r"\.(sh|bash|zsh|ksh|mk)$|(^|/)(GNUm|M|m)akefile$|(^|/)Jenkinsfile$|(^|/)Vagrantfile$")
_INDEX = re.compile(
    r"(^|/)(requirements|constraints)[\w.-]*\.(txt|in)$|(^|/)requirements/[\w.-]+\.(txt|in)$|(^|/)pip\.(conf|ini)$"
    r"|(^|/)\.(npmrc|yarnrc|yarnrc\.yml|curlrc|wgetrc)$"
)
_SETTINGS = ("package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", "pyproject.toml", "uv.toml", "pip.conf", "Cargo.toml")
"""Where somebody may have named a registry on purpose."""
_KUBERNETES = re.compile(r"^apiVersion:", re.MULTILINE)


class Delivery:
    name = "delivery"
    required = True

    def looks_at(self, path: str) -> bool:
        known = (_WORKFLOW, _PIPELINE, _IMAGE, _MANIFEST, _SCRIPT, _INDEX)
        return is_lock_file(path) or any(pattern.search(path) for pattern in known)

    def run(self, trees: Trees) -> Iterable[Raised]:
        known: set[str] | None = None
        for file in trees.files:
            if file.status == "D" or not file.is_text or not self.looks_at(file.path) or is_made_up(file.path):
                continue
            if _WORKFLOW.search(file.path):
                known = _used_actions(trees.base) if known is None else known
                yield from brought(file, *_of_workflow(trees, file, known))
            else:
                head = _risks(trees.head, file.path, trees.before(file), trees)
                base = _risks(trees.base, file.old_path, None, trees) if file.old_path else ()
                yield from brought(file, head, base)


def _of_workflow(trees: Trees, file: ChangedPath, known: set[str]) -> tuple[Iterator[Risk], Iterator[Risk]]:
    head, base = Workflow(trees.head.text(file.path)), Workflow(trees.before(file))
    ran, runs = (list(_scripts(workflow)) for workflow in (base, head))

    def now() -> Iterator[Risk]:
        yield from workflow_risks(head, base)
        yield from shell_risks(runs)
        yield from pipelines.printed_secrets(runs, masked=True)
        yield from pipelines.weakened_checks(head, base)
        yield from pipelines.silenced_checks(runs, ran)
        yield from pipelines.moving_actions(head, known)

    def before() -> Iterator[Risk]:
        yield from workflow_risks(base, base)
        yield from shell_risks(ran)
        yield from pipelines.printed_secrets(ran, masked=True)

    return now(), before()


def _scripts(workflow: Workflow) -> Iterator[Command]:
    for step in workflow.steps():
        yield from commands(step.node.at("run").lines())


def _used_actions(tree: Tree) -> set[str]:
    folder = tree.root / ".github" / "workflows"
    names = sorted(path.name for path in folder.glob("*.y*ml")) if folder.is_dir() else []
    texts = (tree.text(f".github/workflows/{name}") for name in names)
    return {action for text in texts if text for action in pipelines.used_actions(text)}


def _risks(tree: Tree, path: str, before: str | None, trees: Trees) -> Iterator[Risk]:
    """The risks of one file as it stands in a tree; `before` is the same file on the base, for the head alone."""
    text = tree.text(path)
    if is_lock_file(path):
        if tree is trees.head:
            yield from lock_risks(path, text, before, _settings(trees, path))
    elif _IMAGE.search(path):
        yield from containers.image_risks(text, before if tree is trees.head else text)
        yield from shell_risks(containers.run_commands(text))
    elif _PIPELINE.search(path):
        yield from _of_pipeline(text, before)
    elif _COMPOSE.search(path):
        for document in read_documents(text):
            yield from containers.compose_risks(document)
    elif _MANIFEST.search(path) and not _INDEX.search(path):
        for document in read_documents(text) if _KUBERNETES.search(text or "") else ():
            yield from containers.pod_risks(document)
    else:
        yield from _of_lines(path, text or "")


def _of_pipeline(text: str | None, before: str | None) -> Iterator[Risk]:
    documents, old = read_documents(text), read_documents(before)
    run = [command for document in documents for command in _all_scripts(document)]
    yield from shell_risks(run)
    yield from pipelines.printed_secrets(run, masked=False)
    if old and documents:
        yield from pipelines.allowed_failures(documents[-1], old[-1])
        yield from pipelines.silenced_checks(run, [command for document in old for command in _all_scripts(document)])


def _all_scripts(document: Node) -> Iterator[Command]:
    for scalar in document.scalars():
        yield from commands(scalar.lines())


def _of_lines(path: str, text: str) -> Iterator[Risk]:
    lines: Iterable[tuple[int, str]] = enumerate(text.split("\n"), 1)
    if PurePosixPath(path).name in ("pip.conf", "pip.ini"):
        lines = ((number, "--" + re.sub(r"\s*=\s*", "=", line.strip())) for number, line in lines)
    # An index beside the first does no harm where every file is pinned by its hash.
    is_pinned = "--hash=" in text
    for risk in shell_risks(commands(lines)):
        if not (is_pinned and risk.rule == "second-index"):
            yield risk


def _settings(trees: Trees, lock: str) -> str:
    """The texts that may name a registry: beside the lock file, and at the top."""
    folder = lock.rpartition("/")[0]
    places = [f"{place}/{name}".lstrip("/") for place in dict.fromkeys((folder, "")) for name in _SETTINGS]
    return "\n".join(filter(None, (trees.head.text(place) for place in places)))

"""GitHub workflows: who can start one, with which rights, and what it then runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import Level
from sdlc.review_graphs.checks.security.risk import Risk
from sdlc.review_graphs.checks.security.yaml_nodes import Node, read_yaml

OF_OUTSIDERS = frozenset(
    {
        "pull_request_target",
        "workflow_run",
        "issues",
        "issue_comment",
        "discussion",
        "discussion_comment",
    }
)
"""Events that anybody can cause, and that run with the repository's own rights and secrets."""
_RUNS_OTHERS = frozenset({"pull_request_target", "workflow_run", "issue_comment"})

_HEAD_OF_OTHERS = re.compile(
    r"github\.event\.pull_request\.(?:head\.|merge_commit_sha)|github\.head_ref|refs/pull/"
    r"|github\.event\.workflow_run\.head_"
)
_FETCHES_OTHERS = re.compile(r"\bgh\s+pr\s+checkout\b|\bgit\s+(?:fetch|pull)\b.*(?:refs/)?pull/")
_GUARD = re.compile(
    r"head\.repo\.full_name\s*==\s*github\.repository|github\.repository\s*==\s*github\.event\.pull_request\.head\.repo"
    r"|head\.repo\.fork\s*==\s*false|!\s*github\.event\.pull_request\.head\.repo\.fork|author_association"
    r"|workflow_run\.event\s*==\s*'(?:push|schedule|release)'|head_repository\.full_name\s*==\s*github\.repository"
    r"|pull_request\.labels|github\.(?:actor|event\.pull_request\.user\.login)\s*==|workflow_run\.event\s*!=\s*'pull_request"
)

_EXPRESSION = re.compile(r"\$\{\{(?P<body>.*?)\}\}", re.DOTALL)
_OF_STRANGERS = re.compile(
    r"github\.(?:head_ref\b"
    r"|event\.(?:issue|pull_request|discussion)\.(?:title|body)\b"
    r"|event\.(?:comment|review|review_comment)\.body\b"
    r"|event\.pull_request\.head\.(?:ref|label|repo\.default_branch)\b"
    r"|event\.(?:head_commit|commits[\w.*\[\]]*)\.(?:message|author\.(?:name|email))\b"
    r"|event\.workflow_run\.(?:head_branch|display_title|head_commit\.(?:message|author\.\w+))\b)"
)
_TRUE_OR_FALSE = re.compile(
    r"\b(?:contains|startsWith|endsWith)\([^()]*\)|[\w.'\"\[\]*]+\s*[!=]=\s*[\w.'\"\[\]*/-]+|\bhashFiles\([^()]*\)"
)

_WRITES = ("contents", "actions", "packages", "deployments", "id-token", "pages", "security-events", "statuses")


@dataclass(frozen=True)
class Step:
    job: str
    node: Node
    conditions: str
    """The `if` of the job and of the step."""

    @property
    def uses(self) -> str:
        return self.node.at("uses").text

    @property
    def identity(self) -> str:
        name = self.node.at("name").text or self.uses.partition("@")[0] or self.node.at("run").text
        return f"{self.job}/{name}"


class Workflow:
    def __init__(self, text: str | None) -> None:
        self.root = read_yaml(text)
        on = self.root.at("on")
        self.triggers: dict[str, Node] = {element.text: element for element in on.elements()}
        self.triggers |= {key.text: key for key, _ in on.items()}

    @property
    def is_of_outsiders(self) -> bool:
        return bool(OF_OUTSIDERS.intersection(self.triggers))

    @property
    def jobs(self) -> list[tuple[str, Node]]:
        return [(key.text, job) for key, job in self.root.at("jobs").items()]

    def steps(self) -> Iterator[Step]:
        for name, job in self.jobs:
            condition = job.at("if").text
            for step in job.at("steps").elements():
                yield Step(name, step, f"{condition} {step.at('if').text}")
        # A composite action has steps, and no jobs.
        for step in self.root.at("runs", "steps").elements():
            yield Step("", step, step.at("if").text)


def workflow_risks(workflow: Workflow, base: Workflow) -> Iterator[Risk]:
    """`base` is the same workflow before: what is widened or weakened can only be told beside it."""
    others = list(_code_of_others(workflow))
    yield from others
    yield from _injections(workflow)
    if not others:
        yield from _permissions(workflow, base)
    yield from _own_runners(workflow)
    yield from _secrets(workflow)


def _code_of_others(workflow: Workflow) -> Iterator[Risk]:
    """The attack that is called pwn request: the code of a fork, run beside the secrets of the repository."""
    trigger = next((name for name in workflow.triggers if name in _RUNS_OTHERS), "")
    if not trigger:
        return
    for name, job in workflow.jobs:
        steps = [step for step in workflow.steps() if step.job == name]
        for index, step in enumerate(steps):
            place = _takes_code_of_others(step)
            after = steps[index:] if step.node.at("run") else steps[index + 1 :]
            runs = any(later.node.at("run") or later.uses.startswith("./") for later in after)
            if not place or not runs or _GUARD.search(step.conditions) or job.at("environment"):
                continue
            yield Risk(
                rule="untrusted-checkout",
                severity="blocker",
                message=(
                    f"On `{trigger}` the job checks out the code of a pull request and runs it with the repository's"
                    " token and secrets, so anybody can open one and take them. Run it on `pull_request`, and leave"
                    " what needs rights to a workflow that runs no code of it."
                ),
                lines=(place.line, workflow.triggers[trigger].line),
                key=name,
                confidence=0.9,
            )


def _takes_code_of_others(step: Step) -> Node:
    if step.uses.startswith("actions/checkout@"):
        given = (step.node.at("with", "ref"), step.node.at("with", "repository"))
        return next((node for node in given if _HEAD_OF_OTHERS.search(node.text)), Node())
    run = step.node.at("run")
    return run if _FETCHES_OTHERS.search(run.text) else Node()


def _injections(workflow: Workflow) -> Iterator[Risk]:
    for step in workflow.steps():
        script = step.node.at("run") or (step.node.at("with", "script") if "github-script@" in step.uses else Node())
        for line, text in script.lines():
            for context in _strangers(text):
                yield Risk(
                    rule="script-injection",
                    severity="blocker" if workflow.is_of_outsiders else "major",
                    message=(
                        f"`{context}` is pasted into a script before it runs, so whoever writes it can run commands"
                        " with the job's token. Give it to the step as a variable (`env:`) and use that, quoted."
                    ),
                    lines=(line,),
                    key=f"{step.identity} {context}",
                    confidence=0.9,
                )


def _strangers(text: str) -> Iterator[str]:
    for expression in _EXPRESSION.finditer(text):
        body = re.sub(r"\[\s*'([\w-]+)'\s*\]", r".\1", expression["body"])
        found = _OF_STRANGERS.search(_TRUE_OR_FALSE.sub("", body))
        if found:
            yield found[0]


def _permissions(workflow: Workflow, base: Workflow) -> Iterator[Risk]:
    for where, node in _permission_nodes(workflow):
        if node.text == "write-all":
            message = (
                "`write-all` lets every step, and every action that it uses, change code, releases and settings."
                " Name what the job writes, such as `contents: write`, and leave the rest at `read`."
            )
            yield Risk("wide-permissions", "major", message, (node.line,), where, 0.9)
    before, now = base.root.at("permissions"), workflow.root.at("permissions")
    if not before:
        return
    widened = [
        (key, value)
        for key, value in now.items()
        if value.text == "write" and before.at(key.text).text != "write" and before.text != "write-all"
        if key.text in _WRITES
    ]
    meets_strangers = workflow.is_of_outsiders or "pull_request" in workflow.triggers
    if widened and meets_strangers and len(workflow.jobs) > 1:
        key, _ = widened[0]
        message = (
            f"`{key.text}: write` now holds for every job of the workflow, also for those that run code of pull"
            " requests. Give it to the one job that needs it."
        )
        severity: Level = "major" if workflow.is_of_outsiders else "minor"
        yield Risk("wide-permissions", severity, message, (key.line,), key.text, 0.7)
    if not now and not all(job.at("permissions") for _, job in workflow.jobs):
        message = (
            "Without `permissions` the jobs get what the repository gives by default, which may be the right to write"
            " everything. Keep the entry, at least as `contents: read`."
        )
        yield Risk("wide-permissions", "minor", message, (), "dropped", 0.7)


def _permission_nodes(workflow: Workflow) -> Iterator[tuple[str, Node]]:
    yield "", workflow.root.at("permissions")
    for name, job in workflow.jobs:
        yield name, job.at("permissions")


def _own_runners(workflow: Workflow) -> Iterator[Risk]:
    if not {"pull_request", *OF_OUTSIDERS}.intersection(workflow.triggers):
        return
    for _, job in workflow.jobs:
        runner = next((label for label in job.at("runs-on").elements() if label.text == "self-hosted"), Node())
        if runner and not _GUARD.search(job.at("if").text) and not job.at("environment"):
            message = (
                "Pull requests now run on a machine of your own: in a public repository a stranger's code stays on it"
                " and reaches its network. Use a hosted runner for them, or one that is thrown away after each job."
            )
            yield Risk("self-hosted-runner", "major", message, (runner.line,), "", 0.6)


def _secrets(workflow: Workflow) -> Iterator[Risk]:
    for node in workflow.root.scalars():
        if re.search(r"\$\{\{[^}]*\btoJSON\(\s*secrets\s*\)", node.text, re.IGNORECASE):
            message = (
                "`toJSON(secrets)` hands all secrets of the repository over at once, also those that the step has no"
                " use for. Name the ones that it needs."
            )
            yield Risk("all-secrets", "major", message, _lines_with(node, "toJSON"), "toJSON", 0.9)


def _lines_with(node: Node, what: str) -> tuple[int, ...]:
    return tuple(line for line, text in node.lines() if what in text) or (node.line,)

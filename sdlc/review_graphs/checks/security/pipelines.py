"""What all pipelines have: scripts that print secrets, checks that can no longer fail, actions taken from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from sdlc.review_graphs.checks.base import Level
from sdlc.review_graphs.checks.security.risk import Risk
from sdlc.review_graphs.checks.security.shell import Command
from sdlc.review_graphs.checks.security.workflows import Workflow
from sdlc.review_graphs.checks.security.yaml_nodes import Node

_CHECK = re.compile(
    r"\b(?:pytest|tox|nox|unittest|jest|vitest|mocha|phpunit|rspec|go test|cargo (?:test|audit|deny)|dotnet test|ctest"
    r"|(?:npm|yarn|pnpm|bun)(?: run)? (?:test|audit)|make (?:test|check)|mvn\b.*\b(?:test|verify)"
    r"|gradlew?\b.*\b(?:test|check)|bandit|semgrep|pip-audit|safety (?:check|scan)|trivy|grype|gitleaks|trufflehog"
    r"|snyk|govulncheck|gosec|mypy)\b"
    r"|^(?:github/codeql-action/analyze|aquasecurity/trivy-action|snyk/actions|gitleaks/|semgrep/|trufflesecurity/"
    r"|pypa/gh-action-pip-audit|actions/dependency-review-action)"
)
_NEVER_FAILS = re.compile(r"\s*(?:\|\|\s*(?:true|:|exit 0|echo\b.*)|;\s*(?:true|exit 0))\s*$")

_SECRET_NAME = r"\w*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_KEY|CREDENTIALS?)"  # noqa: S105 - a pattern
_PRINTED = re.compile(
    rf"(?:^|[;&|]\s*|\bthen\s+|\bdo\s+)@?(?:echo|printf)\b(?P<said>[^;&|>]*?(?:\$\{{?(?P<name>{_SECRET_NAME})(?:\}}|\b(?![:#+]))"
    r"|\$\{\{\s*secrets\.(?P<own>\w+)\s*\}\})[^;&|>]*)(?P<rest>.*)$"
)
_TURNED = re.compile(r"^\|\s*(?:base64(?!\s+(?:-d|--decode|-D))|rev|xxd|od|hexdump|fold|sed|tr|cut)\b[^>]*$")
_USES = re.compile(r"^[ -]*uses:\s*[\"']?(?P<action>[\w.-]+/[^\s\"'#]+@[^\s\"'#]+)", re.MULTILINE)
_PINNED = re.compile(r"@[0-9a-f]{40}$")
_BRANCHES = frozenset({"main", "master", "develop", "dev", "trunk", "HEAD", "latest", "next"})
_OF_GITHUB = ("actions/", "github/")


def printed_secrets(commands: Iterable[Command], *, masked: bool) -> Iterator[Risk]:
    """`masked`: the log shows secrets as `***`, as long as they are printed as they are."""
    for command in commands:
        found = _PRINTED.search(command.text)
        if found is None or "add-mask" in command.text or "add-path" in command.text:
            continue
        rest = found["rest"].strip()
        is_turned = bool(_TURNED.match(rest))
        if rest.startswith(("|", ">")) and not is_turned:
            continue
        name = found["name"] or found["own"]
        message = f"`{name[:60]}` is printed, and logs are read by more people than secrets are."
        if masked and is_turned:
            message += " What is done to it on the way out keeps it from being masked."
        elif masked:
            message += " It is masked only as long as nothing changes how it is written."
        severity: Level = "major" if is_turned or not masked else "minor"
        yield Risk("secret-in-log", severity, f"{message} Take the line out.", command.where(name), name)


def weakened_checks(head: Workflow, base: Workflow) -> Iterator[Risk]:
    """Tests and scanners that were there before and that can fail no more."""
    before = {step.identity: step.node for step in base.steps()}
    jobs = dict(base.jobs)
    for step in head.steps():
        old = before.get(step.identity)
        allowed = step.node.at("continue-on-error")
        does = step.uses or step.node.at("run").text
        if old and allowed.is_true and not old.at("continue-on-error") and _CHECK.search(does):
            yield _weakened(step.node.key("continue-on-error").line, step.identity)
    for name, job in head.jobs:
        allowed = job.at("continue-on-error")
        if name in jobs and allowed.is_true and not jobs[name].at("continue-on-error") and _has_check(job):
            yield _weakened(job.key("continue-on-error").line, name)


def allowed_failures(head: Node, base: Node) -> Iterator[Risk]:
    """The same of GitLab's jobs."""
    for key, job in head.items():
        old = base.at(key.text)
        if old and job.at("allow_failure").is_true and not old.at("allow_failure") and _has_check(job):
            yield _weakened(job.key("allow_failure").line, key.text)


def silenced_checks(head: Iterable[Command], base: Iterable[Command]) -> Iterator[Risk]:
    """Commands of the base that now end in `|| true`."""
    before = {command.text for command in base}
    for command in head:
        bare = _NEVER_FAILS.sub("", command.text)
        if bare != command.text and bare in before and command.text not in before and _CHECK.search(bare):
            yield _weakened(command.lines[-1], command.text)


def moving_actions(head: Workflow, known: Collection[str]) -> Iterator[Risk]:
    """Actions of others that are newly taken from a branch or a tag. `known`: what the base's workflows use."""
    theirs = [text for text in known if not text.startswith(_OF_GITHUB)]
    pins = [bool(_PINNED.search(text)) for text in theirs or known]
    all_pinned = bool(pins) and all(pins)
    for node in _uses(head):
        action, _, reference = node.text.partition("@")
        if node.text in known or _PINNED.search(node.text) or node.text.startswith(_OF_GITHUB):
            continue
        if not all_pinned and reference not in _BRANCHES:
            continue
        others_do = " as the other actions here are" if all_pinned else ""
        message = (
            f"`{action[:80]}` is taken from `{reference[:40]}`, which whoever owns it can change at any time, and it"
            f" runs with the job's token. Pin it to a commit{others_do}, with the version as a comment."
        )
        severity: Level = "major" if all_pinned else "minor"
        yield Risk("moving-action", severity, message, (node.line,), node.text)


def used_actions(text: str) -> set[str]:
    """`owner/name@reference` of all actions of a workflow, by its lines: many files have to be asked."""
    return {match["action"] for match in _USES.finditer(text)}


def _uses(workflow: Workflow) -> Iterator[Node]:
    nodes = [step.node.at("uses") for step in workflow.steps()] + [job.at("uses") for _, job in workflow.jobs]
    for node in nodes:
        if "@" in node.text and not node.text.startswith(("./", "docker://")):
            yield node


def _has_check(job: Node) -> bool:
    return any(_CHECK.search(node.text) for node in job.scalars())


def _weakened(line: int, key: str) -> Risk:
    message = (
        "This check can fail from now on without anybody being stopped: the pipeline stays green. Mend what fails, or"
        " leave out the one case that does."
    )
    return Risk("check-cannot-fail", "major", message, (line,), key, 0.7)

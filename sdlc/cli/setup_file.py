"""What `sdlc setup` has learnt, and the `sdlc.yaml` that says it. Never a secret: those stay in variables."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SECRETS = {
    "JIRA_TOKEN": ("jira", "token"),
    "GITHUB_TOKEN": ("github", "token"),
    "OPENAI_API_KEY": ("llm", "api_key"),
}
"""Variable → the setting that it is read as."""

_HEAD = """\
# Made by `sdlc setup`. Here stands what differs from the defaults: `sdlc config` shows everything and where it comes
# from, `sdlc config check` looks whether it fits together, `sdlc doctor` asks every service.
"""
_TAIL = """\
# What is often set next:
#
# run:
#   approval: {required: 1, approvers: [grace]}   # who may decide, besides the rules of the forge
#   budget: {usd: 10}                             # of one run; it needs llm.prices
#   merge: true                                   # merge after the approval, if branch protection agrees
# people: [{name: Grace, github: grace, jira: grace}]   # one person under all their names
"""


@dataclass(frozen=True)
class Draft:
    tracker: str = "local"
    jira_url: str = ""
    jira_email: str = ""
    jira_projects: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()
    """Repositories whose issues are tickets."""
    forge: str = "local"
    github_url: str = ""
    """Empty: github.com."""
    repository: str = ""
    """`owner/name`, an address or a path that tickets are about; empty: named at each start."""
    model: str = ""
    model_url: str = ""
    temporal: str = ""
    """host:port; empty: the embedded server."""
    namespace: str = "default"

    def text(self) -> str:
        """The file."""
        used = [name for name in SECRETS if self._uses(name)]
        parts = [f"{_HEAD}# Secrets are not in this file; they are read from {_listed(used)}.\n" if used else _HEAD]
        parts.append(_section("tracker", kind=self.tracker))
        if self.tracker == "jira":
            parts.append(_section("jira", url=self.jira_url, email=self.jira_email, projects=self.jira_projects))
        parts.append(_section("forge", kind=self.forge))
        if "github" in (self.tracker, self.forge):
            parts.append(_section("github", base_url=self.github_url, issues=self.issues))
        if self.repository:
            parts.append(f"intake:\n  repositories:\n    - repository: {_plain(self.repository)}\n")
        parts.append(_section("llm", name=self.model, base_url=self.model_url))
        if self.temporal:
            parts.append(_section("temporal", address=self.temporal, namespace=self.namespace))
        else:
            parts.append("# Without a section `temporal` the embedded server is used, which `sdlc dev` starts.\n")
        return "\n".join([part for part in parts if part] + [_TAIL])

    def _uses(self, variable: str) -> bool:
        if variable == "OPENAI_API_KEY":
            return bool(self.model)
        return variable.partition("_")[0].lower() in (self.tracker, self.forge)


def _section(section: str, /, **values: str | tuple[str, ...]) -> str:
    lines = [f"  {key}: {_plain(value)}\n" for key, value in values.items() if value]
    return f"{section}:\n{''.join(lines)}" if lines else ""


def _plain(value: str | tuple[str, ...]) -> str:
    """As YAML, of which JSON is a part."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def has_secret(text: str) -> bool:
    """Is it an address with a password, or with a name that may be a token?"""
    try:
        parts = urlsplit(text.strip())
        return bool(parts.password or (parts.username and parts.scheme in ("http", "https")))
    except ValueError:
        return False


def write(file: Path, text: str) -> None:
    """The whole file or nothing: whoever reads it meanwhile sees the old one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)

"""Pull requests as files: `pulls/<n>/pull.md` with its state in the front matter and the evidence as its text.

People read these files, and may edit `state`, `title` or the text; unknown keys stay.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from frontmatter.default_handlers import YAMLHandler

from sdlc.domain import PullRequest, PullRequestState
from sdlc.errors import ConfigurationError
from sdlc.integrations import comment_file, local_files

FILE = "pull.md"
COMMENTS = "comments.md"
FINDINGS = "findings.md"
STATUSES = "statuses.json"
DIFF = "changes.diff"
CHECKS = "checks.json"

_YAML = YAMLHandler()


@dataclass(frozen=True)
class Pull:
    """What stands in a `pull.md`."""

    number: int
    title: str
    branch: str
    base_branch: str
    base_sha: str
    head_sha: str
    marker: str
    """The run that it belongs to: `RunIdentity.marker`."""
    workflow_id: str
    state: PullRequestState = PullRequestState.DRAFT
    heads: tuple[str, ...] = ()
    """Every commit that we ever put on the branch: what else is found there is somebody else's."""
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    merged_as: str = ""
    opened: str = ""
    notes: tuple[str, ...] = ()
    """What people should know about the forge's part, such as a branch that could not be pushed."""
    body: str = ""
    others: dict[str, Any] = field(default_factory=dict)
    """Keys that people added."""

    @property
    def is_over(self) -> bool:
        return self.state in (PullRequestState.MERGED, PullRequestState.CLOSED)


_LISTS = ("heads", "labels", "reviewers", "notes")
_NAMES = tuple(item.name for item in fields(Pull) if item.name not in ("body", "others"))


class Pulls:
    """The folder `pulls` of one repository. Callers hold the repository's lock while they write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, number: int) -> Path:
        """The folder of one pull request."""
        return self.folder / str(number)

    def numbers(self) -> list[int]:
        """Of all pull requests, the newest first."""
        found = (int(path.parent.name) for path in self.folder.glob(f"*/{FILE}") if path.parent.name.isdigit())
        return sorted(found, reverse=True)

    def next_number(self) -> int:
        return max((int(path.name) for path in self.folder.glob("*") if path.name.isdigit()), default=0) + 1

    def all(self) -> list[Pull]:
        """The newest first."""
        return [self.read(number) for number in self.numbers()]

    def read(self, number: int) -> Pull:
        """Raises ConfigurationError with place and mend where a hand has broken the file, or it is gone."""
        path = self.of(number) / FILE
        try:
            front, body = _YAML.split(path.read_text("utf-8"))
            metadata = dict(_YAML.load(front))
            values: dict[str, Any] = {name: metadata[name] for name in _NAMES if name in metadata}
            values |= {name: tuple(map(str, values.get(name) or ())) for name in _LISTS}
            values["state"] = PullRequestState(str(values.get("state")).lower())
            values["number"] = number
            others = {key: value for key, value in metadata.items() if key not in _NAMES}
            return Pull(**values, body=body.strip("\n") + "\n", others=others)
        except FileNotFoundError as error:
            raise ConfigurationError(f"There is no pull request {number} in {self.folder}; put {path} back.") from error
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            problem = " ".join(str(error).split())
            raise ConfigurationError(f"{path} can't be read as a pull request ({problem}); mend it.") from error

    def write(self, pull: Pull) -> None:
        """Put the pull request's file in place, whole."""
        metadata: dict[str, Any] = {name: getattr(pull, name) for name in _NAMES} | pull.others
        metadata["state"] = pull.state.value
        metadata |= {name: list(getattr(pull, name)) for name in _LISTS}
        front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1_000)
        local_files.write_whole(self.of(pull.number) / FILE, f"---\n{front}---\n\n{pull.body.strip(chr(10))}\n")

    def as_domain(self, pull: Pull) -> PullRequest:
        """For the rest of the system; its URL is that of `pull.md`."""
        return PullRequest(
            number=pull.number,
            url=(self.of(pull.number) / FILE).resolve().as_uri(),
            title=pull.title,
            branch=pull.branch,
            base_branch=pull.base_branch,
            base_sha=pull.base_sha,
            head_sha=pull.head_sha,
            state=pull.state,
        )

    # --- beside pull.md -----------------------------------------------------------------------

    def comment(self, number: int, comments: list[comment_file.Comment], *, file: str = COMMENTS) -> None:
        """Add these comments, or bring those of the same marker and topic up to date."""
        path = self.of(number) / file
        before = (
            self.text(number, file) or f"# {'Findings' if file == FINDINGS else 'Comments'} on pull request {number}\n"
        )
        after = before
        for comment in comments:
            after = comment_file.upsert(after, comment)
        if after != before:
            local_files.write_whole(path, after)

    def text(self, number: int, file: str) -> str:
        """A file of the pull request, empty if there is none."""
        path = self.of(number) / file
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def set_statuses(self, number: int, head_sha: str, statuses: dict[str, tuple[str, str]]) -> None:
        """Statuses by head and context; those of earlier heads stay."""
        try:
            known = json.loads(self.text(number, STATUSES) or "{}")
        except ValueError:
            known = {}  # of a hand: nothing in it is ours to keep
        for context, (state, description) in statuses.items():
            known.setdefault(head_sha, {})[context] = {"state": state, "description": description}
        local_files.write_whole(self.of(number) / STATUSES, json.dumps(known, indent=2) + "\n")


def now() -> datetime:
    return datetime.now(UTC)

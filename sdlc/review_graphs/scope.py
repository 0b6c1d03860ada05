"""What a panel looks at: the changed files and lines, the repository's rules, and the diff cut to fit prompts.

The scope is an artifact. Histories carry `ScopeRef` alone, which names it and holds no text of the repository.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sdlc.domain import ArtifactRef, ChangeSet, Finding, Panel, PanelReport, Record, SourceState, Ticket
from sdlc.integrations.git.diff import ChangedFile
from sdlc.integrations.project.rules import ReviewRules
from sdlc.review_graphs.baseline import Baseline
from sdlc.review_graphs.diff import FileDiff, ranges, touches

SLICE_CHARS = 60_000
"""Of the diff in one prompt: about 20,000 tokens, which small models take as well and attention does not thin out."""
MOST_SLICES = 8
"""Beyond about half a megabyte of diff a person has to decide what to do; it is said what was left out."""


class ScopedFile(Record):
    path: str
    old_path: str = ""
    """Where the file was on the base; the same as `path` unless it was renamed."""
    status: str = "M"
    """`A`, `M`, `D` or `R`."""
    added: tuple[tuple[int, int], ...] = ()
    """Lines of the head that the change adds or modifies, as closed ranges."""
    near: tuple[tuple[int, int], ...] = ()
    """Those, and what stands around them and around what was taken away: where a lens may point."""
    unread: str = ""
    """Why no lens reads the file; empty if they do."""
    hidden: str = ""
    """Why a person should look at it, since git calls binary what looks like source; else empty."""
    mode: str = ""
    """Of git, as in `ChangedFile`."""
    old_mode: str = ""
    cut: bool = False
    """Lines of it are longer than what is shown of a line."""

    @property
    def on_base(self) -> str:
        """The path on the base; empty for a new file."""
        return "" if self.status == "A" else self.old_path or self.path

    @property
    def is_text(self) -> bool:
        """Is there a plain text file on the head?"""
        return self.unread not in ("deleted", "binary", "symbolic link", "submodule")

    def is_changed(self, first: int, last: int) -> bool:
        return touches(self.added, first, last)

    def is_near(self, first: int, last: int) -> bool:
        return touches(self.near, first, last)


class Slice(Record):
    """A part of the diff that fits one prompt."""

    text: ArtifactRef
    files: tuple[str, ...]


class Scope(Record):
    panel: Panel
    change: ChangeSet
    ticket: Ticket
    files: tuple[ScopedFile, ...] = ()
    rules: ArtifactRef | None = None
    """What the repository says about itself (AGENTS.md and the like), as the base has it."""
    slices: tuple[Slice, ...] = ()
    uncovered: tuple[str, ...] = ()
    """Files of which a part at least is in no slice: the diff is too large."""
    review: ReviewRules = ReviewRules()
    """What the base's `.sdlc.yml` says about reviews."""
    baseline: Baseline = Baseline()
    """What the base lets stand."""
    earlier: PanelReport | None = None
    """The report of the round before, if it was about the same base."""
    again: tuple[Slice, ...] = ()
    """The part of the diff that is about files that changed since then."""
    changed_again: tuple[str, ...] = ()
    """Paths that changed since then."""
    waived: tuple[str, ...] = ()

    @property
    def previous(self) -> tuple[Finding, ...]:
        """What was open in the round before."""
        return self.earlier.findings if self.earlier else ()

    def was_read_by(self, lens: str) -> bool:
        """Has the lens read the whole change in the round before? Then only what changed since is left to it."""
        sources = [source for source in self.earlier.sources if source.is_lens(lens)] if self.earlier else []
        return bool(sources) and all(source.state is SourceState.OK for source in sources)

    def file(self, path: str) -> ScopedFile | None:
        return next((file for file in self.files if file.path == path), None)


class Task(Record):
    """What one activity runs: an analyser, all checks of the panel, or a lens on one slice."""

    kind: str
    """`analyser`, `checks`, `own` (an analyser of the repository) or `concern` (a lens): the node that runs it."""
    name: str
    names: tuple[str, ...] = ()
    """Of the checks that run in one process."""
    slice: int = 0
    """Which slice, counted from 0."""
    slices: int = 1
    again: bool = False
    """Of what changed since the round before, not of the whole."""

    @property
    def label(self) -> str:
        """As it stands in summaries and reports, such as `bandit` or `correctness 2/3`."""
        if self.names:
            return ", ".join(self.names)
        return self.name if self.slices == 1 else f"{self.name} {self.slice + 1}/{self.slices}"


class ScopeRef(Record):
    """What the state of the graph carries of the scope."""

    panel: Panel
    head_sha: str
    document: ArtifactRef
    tasks: tuple[Task, ...] = ()
    started: float = 0.0
    """Unix time, for the report's `seconds`."""


def scoped_file(diff: FileDiff, file: ChangedFile, unread: str, hidden: str = "") -> ScopedFile:
    return ScopedFile(
        path=diff.path,
        old_path=diff.old_path,
        status=file.status,
        mode="" if file.status == "D" else file.mode,
        old_mode=file.old_mode,
        added=ranges(diff.added_lines()),
        near=ranges(diff.near_lines()),
        unread=unread,
        hidden=hidden,
        cut=diff.has_cut_lines,
    )


@dataclass(frozen=True)
class _Part:
    file: FileDiff
    text: str


def cut_to_slices(diffs: Sequence[FileDiff]) -> tuple[list[tuple[str, tuple[str, ...]]], tuple[str, ...]]:
    """The diffs as (text, files) slices of at most `SLICE_CHARS`, and the files that did not fit altogether.

    A file stays in one slice where it can; a large one goes on in the next, with its header again.
    """
    slices: list[list[_Part]] = [[]]
    used = 0
    for diff in diffs:
        parts = [_Part(diff, part) for part in diff.parts()]
        size = sum(len(part.text) + 1 for part in parts) + len(diff.header) + 1
        if used and used + size > SLICE_CHARS:
            slices, used = [*slices, []], 0
        for part in parts:
            if used and used + len(part.text) > SLICE_CHARS:
                slices, used = [*slices, []], 0
            slices[-1].append(part)
            used += len(part.text) + 1 + (len(diff.header) + 1 if len(slices[-1]) == 1 else 0)
    kept, rest = slices[:MOST_SLICES], slices[MOST_SLICES:]
    uncovered = dict.fromkeys(part.file.path for parts in rest for part in parts)
    return [_rendered(parts) for parts in kept if parts], tuple(uncovered)


def _rendered(parts: Sequence[_Part]) -> tuple[str, tuple[str, ...]]:
    return "\n".join(_rows(parts)), tuple(dict.fromkeys(part.file.path for part in parts))


def _rows(parts: Sequence[_Part]) -> Iterator[str]:
    current = ""
    for part in parts:
        if part.file.path != current:
            current = part.file.path
            yield part.file.header
        yield part.text

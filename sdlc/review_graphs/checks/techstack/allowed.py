"""`allowed`: the repository's own lists of the dependencies that a change may bring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from sdlc.review_graphs.checks.base import Raised, Trees
from sdlc.review_graphs.checks.techstack.declared import Dependency, python_name
from sdlc.review_graphs.checks.techstack.manifests import added, is_manifest


class Allowed:
    """Holds new dependencies against `review.dependencies` of the base's `.sdlc.yml`."""

    name = "allowed"
    required = True

    def looks_at(self, path: str) -> bool:
        return is_manifest(path)

    def run(self, trees: Trees) -> Iterator[Raised]:
        rules = trees.rules.get("dependencies", {})
        allow, deny = rules.get("allow", ()), rules.get("deny", ())
        if not allow and not deny:
            return
        for item in added(trees):
            if _is_among(item, deny):
                yield Raised(
                    "denied",
                    item.file,
                    item.line,
                    "blocker",
                    f"{item.name} is among the dependencies that `.sdlc.yml` denies (review.dependencies.deny). Do "
                    "without it, or have the list changed first.",
                )
            elif allow and not _is_among(item, allow):
                yield Raised(
                    "not-allowed",
                    item.file,
                    item.line,
                    "major",
                    f"{item.name} is not among the dependencies that `.sdlc.yml` allows (review.dependencies.allow). "
                    "Use one of these, or have the list changed first.",
                )


def _is_among(item: Dependency, names: Sequence[str]) -> bool:
    """Is it one of the names or patterns, compared as its ecosystem compares names?"""
    if item.ecosystem == "python":
        return any(fnmatchcase(item.name, python_name(name)) for name in names)
    return any(fnmatchcase(item.name, name.strip()) for name in names)

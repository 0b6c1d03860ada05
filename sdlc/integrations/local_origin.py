"""The repository that a person gave, as the local forge needs to know it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdlc.errors import RepositoryInvalid
from sdlc.integrations.git import Git, OriginFacts, inspect_origin
from sdlc.integrations.git.failures import shown


@dataclass(frozen=True)
class Origin:
    address: str
    """In full, as git takes it; may hold credentials, so it is never shown."""
    shown: str
    name: str
    """For people: the folder's name, or the last two parts of a URL."""
    base_branch: str
    warnings: tuple[str, ...]


async def origin_of(git: Git, given: str, base_branch: str) -> Origin:
    """Look at what was given, changing nothing. Raises RepositoryInvalid with the mend."""
    facts = await inspect_origin(given, git=git)
    base = base_branch or facts.default_branch
    told = shown(facts.origin)
    known = ", ".join(sorted(facts.branches)[:10]) or "none"
    if not base:
        raise RepositoryInvalid(f"{told} has no default branch; name the one to start from (it has {known}).")
    if base not in facts.branches:
        raise RepositoryInvalid(f"{told} has no branch {base}; name one that it has ({known}).")
    return Origin(
        address=facts.origin,
        shown=told,
        name=_name(facts),
        base_branch=base,
        warnings=tuple(_warnings(facts, base, told)),
    )


def _name(facts: OriginFacts) -> str:
    if facts.kind == "path":
        path = Path(facts.origin)
        return (path.parent if path.name == ".git" else path).name.removesuffix(".git") or "repository"
    plain = shown(facts.origin).rstrip("/").removesuffix(".git")
    tail = plain.split("://", 1)[-1].replace(":", "/").split("/")[1:]
    return "/".join(part for part in tail[-2:] if part) or "repository"


def _warnings(facts: OriginFacts, base: str, told: str) -> list[str]:
    said = []
    if facts.dirty:
        said.append(f"{told} has changes that are not committed; only commits are used, they are left out.")
    if facts.kind == "path" and not facts.is_bare and facts.current_branch != base:
        on = facts.current_branch or "no branch"
        said.append(f"{told} is on {on}; the work starts from {base} ({facts.branches[base][:10]}).")
    if facts.has_submodules:
        said.append(f"{told} has submodules; they are not fetched, their folders stay empty.")
    if facts.uses_lfs:
        said.append(f"{told} uses Git LFS; its files stay pointers.")
    if facts.is_shallow:
        said.append(f"{told} is a shallow clone; what lies before its oldest commit is not known.")
    return said

"""Dependencies of a pyproject.toml or a Pipfile: PEP 621, PEP 735, Poetry, uv, PDM, Hatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sdlc.review_graphs.checks.techstack.declared import (
    Dependency,
    Kind,
    Manifest,
    Source,
    dev_group,
    python_name,
)
from sdlc.review_graphs.checks.techstack.documents import read_toml, strings, table
from sdlc.review_graphs.checks.techstack.lines import TomlLines


def requirement(text: str, *, file: str, line: int, kind: Kind = "main", group: str = "") -> Dependency | None:
    """A requirement in the words of PEP 508; None for what is none."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(text)
    except (InvalidRequirement, ValueError):
        return None
    return Dependency(
        name=python_name(parsed.name),
        ecosystem="python",
        file=file,
        line=line,
        kind=kind,
        group=group,
        spec=str(parsed.specifier),
        source=source_of_url(parsed.url) if parsed.url else None,
        marker=str(parsed.marker or ""),
        extras=tuple(sorted(parsed.extras)),
    )


def source_of_url(url: str) -> Source:
    """What an address of PEP 508 or of pip points at."""
    if url.startswith(("git+", "hg+", "svn+", "bzr+")):
        where, _, _ = url.partition("#")
        head, at, ref = where.rpartition("@")
        # `git@host` has an @ of its own, which no slash precedes.
        has_ref = bool(at) and "/" in head.partition("://")[2] and ":" not in ref
        return Source("git", head if has_ref else where, ref if has_ref else "")
    if url.startswith("file:") or "://" not in url:
        return Source("path", url.removeprefix("file://").removeprefix("file:"))
    return Source("url", url)


def read_pyproject(path: str, text: str) -> Manifest:
    """What a pyproject.toml declares."""
    document = read_toml(text)
    if document is None:
        return Manifest(path, "python", is_complete=False)
    lines = TomlLines(text)
    project, poetry = table(document, "project"), table(document, "tool", "poetry")
    dynamic = strings(project.get("dynamic"))
    from_files = table(document, "tool", "setuptools", "dynamic", "dependencies")
    found = [*_pep621(path, document, lines), *_poetry(path, poetry, lines), *_tools(path, document, lines)]
    requires, dialect = project.get("requires-python"), "pep440"
    line = lines.key("project", "requires-python")
    if not requires and isinstance(table(poetry, "dependencies").get("python"), str):
        requires, dialect = table(poetry, "dependencies")["python"], "poetry"
        line = lines.key("tool.poetry.dependencies", "python")
    return Manifest(
        path=path,
        ecosystem="python",
        dependencies=tuple(_with_sources(found, document, lines)),
        declares=bool(project or poetry or found),
        is_complete="dependencies" not in dynamic or bool(from_files.get("file")),
        own_name=python_name(str(project.get("name") or poetry.get("name") or "")),
        requires=requires if isinstance(requires, str) else "",
        requires_line=line or 1,
        requires_dialect="poetry" if dialect == "poetry" else "pep440",
        is_package=bool(project and "build-system" in document) or (bool(poetry) and poetry.get("package-mode", True)),
        classifiers=tuple(strings(project.get("classifiers"))),
        version=str(project.get("version") or poetry.get("version") or ""),
    )


def read_pipfile(path: str, text: str) -> Manifest:
    """What a Pipfile declares."""
    document = read_toml(text)
    if document is None:
        return Manifest(path, "python", is_complete=False)
    lines = TomlLines(text)
    found: list[Dependency] = []
    kinds: dict[str, Kind] = {"packages": "main", "dev-packages": "dev"}
    for name, kind in kinds.items():
        found += _poetry_table(path, table(document, name), lines, name, kind)
    version = table(document, "requires").get("python_version")
    return Manifest(
        path,
        "python",
        tuple(found),
        requires=f"=={version}.*" if isinstance(version, str) else "",
        requires_line=lines.key("requires", "python_version") or 1,
    )


def _pep621(path: str, document: Mapping[str, Any], lines: TomlLines) -> Iterator[Dependency]:
    project = table(document, "project")
    yield from _listed(path, project.get("dependencies"), lines, "project", "dependencies", "main")
    for group, items in table(project, "optional-dependencies").items():
        kind: Kind = "dev" if dev_group(group) else "optional"
        yield from _listed(path, items, lines, "project.optional-dependencies", group, kind)
    for group, items in table(document, "dependency-groups").items():
        yield from _listed(path, items, lines, "dependency-groups", group, "dev")
    yield from _listed(
        path, table(document, "build-system").get("requires"), lines, "build-system", "requires", "build"
    )


def _tools(path: str, document: Mapping[str, Any], lines: TomlLines) -> Iterator[Dependency]:
    yield from _listed(
        path, table(document, "tool", "uv").get("dev-dependencies"), lines, "tool.uv", "dev-dependencies", "dev"
    )
    for group, items in table(document, "tool", "pdm", "dev-dependencies").items():
        yield from _listed(path, items, lines, "tool.pdm.dev-dependencies", group, "dev")
    for name, environment in table(document, "tool", "hatch", "envs").items():
        for key in ("dependencies", "extra-dependencies"):
            items = table({"it": environment}, "it").get(key)
            yield from _listed(path, items, lines, f"tool.hatch.envs.{name}", key, "dev")


def _listed(path: str, items: object, lines: TomlLines, where: str, key: str, kind: Kind) -> Iterator[Dependency]:
    for text in strings(items):
        line = lines.text(where, key, text)
        found = requirement(text, file=path, line=line, kind=kind, group=f"{where}.{key}")
        if found:
            yield found


def _poetry(path: str, poetry: Mapping[str, Any], lines: TomlLines) -> Iterator[Dependency]:
    where = "tool.poetry.dependencies"
    yield from _poetry_table(path, table(poetry, "dependencies"), lines, where, "main")
    where = "tool.poetry.dev-dependencies"
    yield from _poetry_table(path, table(poetry, "dev-dependencies"), lines, where, "dev")
    for name in table(poetry, "group"):
        where = f"tool.poetry.group.{name}.dependencies"
        kind: Kind = "main" if name == "main" else "dev"
        yield from _poetry_table(path, table(poetry, "group", name, "dependencies"), lines, where, kind)


def _poetry_table(
    path: str, declared: Mapping[str, Any], lines: TomlLines, where: str, kind: Kind
) -> Iterator[Dependency]:
    for name, value in declared.items():
        if name == "python":
            continue
        for one in value if isinstance(value, list) else [value]:
            about = one if isinstance(one, dict) else {"version": one}
            yield Dependency(
                name=python_name(name),
                ecosystem="python",
                file=path,
                line=lines.key(where, name) or 1,
                kind="optional" if about.get("optional") and kind == "main" else kind,
                group=where,
                spec=str(about.get("version") or ""),
                dialect="poetry",
                source=source_of_table(about),
                marker=str(about.get("markers") or about.get("python") or about.get("platform") or ""),
                extras=tuple(strings(about.get("extras"))),
            )


def source_of_table(about: Mapping[str, Any]) -> Source | None:
    """What `{git = …, rev = …}` of Poetry, uv, Pipenv or Cargo points at; None if it names no source."""
    if about.get("workspace") is True:
        return Source("workspace", "")
    for key in ("git", "path", "file", "url"):
        where = about.get(key)
        if isinstance(where, str):
            ref = next((str(about[name]) for name in ("rev", "ref", "tag", "branch") if about.get(name)), "")
            return Source("git" if key == "git" else "url" if key == "url" else "path", where, ref)
    return None


def _with_sources(found: list[Dependency], document: Mapping[str, Any], lines: TomlLines) -> Iterator[Dependency]:
    """`[tool.uv.sources]` says of dependencies that are listed elsewhere where they come from."""
    sources: dict[str, tuple[Source, int]] = {}
    for name, value in table(document, "tool", "uv", "sources").items():
        source = source_of_table(value) if isinstance(value, dict) else None
        if source:
            sources[python_name(name)] = (source, lines.key("tool.uv.sources", name))
    for dependency in found:
        if dependency.source is None and dependency.name in sources:
            source, line = sources[dependency.name]
            yield replace(dependency, source=source, line=line or dependency.line)
        else:
            yield dependency

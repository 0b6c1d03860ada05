"""`versions`: does what the change writes, declares and builds on fit the versions that the project supports?"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Tree, Trees, is_test
from sdlc.review_graphs.checks.techstack import ranges
from sdlc.review_graphs.checks.techstack.ci_versions import Runtime, is_workflow, tested
from sdlc.review_graphs.checks.techstack.declared import Ecosystem, Manifest
from sdlc.review_graphs.checks.techstack.features import Feature, features, unparsed
from sdlc.review_graphs.checks.techstack.manifests import ChangedManifest, changed_manifests, governing, is_manifest
from sdlc.review_graphs.checks.techstack.runtimes import (
    END_OF_LIFE,
    compose_images,
    ended,
    images,
    is_compose,
    is_dockerfile,
)

MOST_FILES = 300
"""Modules that are read when the oldest supported Python becomes an older one."""
_FILES: dict[str, Runtime] = {".python-version": "python", ".nvmrc": "node", ".node-version": "node"}
_ECOSYSTEM: dict[str, Ecosystem] = {"python": "python", "node": "npm"}
_OTHERWISE_RUN = re.compile(
    r"(^|/)(scripts?|tools?|docs?|examples?|benchmarks?|tasks|ci|\.github|dev|notebooks?)/|(^|/)(noxfile|tasks|conf)\.py$"
    r"|(^|/)[^/]*(compat|py3?\d\d)[^/]*\.py$"
)
"""By those who work on the project with a Python of their choice, or behind a question for the version."""
_CHANGELOG = re.compile(
    r"(^|/)(CHANGE|HISTORY|NEWS|RELEASE|MIGRAT|UPGRAD)|(^|/)(changelog|news)\.d/|(^|/)newsfragments/", re.IGNORECASE
)
_UNQUOTED = re.compile(
    r"^\s*(?:-\s*)?(?:python-version|python)\s*:\s*(?:\[(?:[^\]#]*,)?\s*)?(3\.[1-9]0)\s*(?:[,\]]|$|#)"
)


_ITEM = re.compile(r"\s*-\s*(3\.[1-9]0)\s*(?:$|#)")
_KEY = re.compile(r"\s*(?:python-version|python_version|python|py)s?\s*:\s*$")


@dataclass(frozen=True)
class Versions:
    """Uses vermin for the language, and small tables for the rest."""

    name: str = "versions"
    required: bool = True
    today: date = field(default_factory=date.today)

    def looks_at(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        images_in = is_dockerfile(path) or is_compose(path)
        return path.endswith(".py") or is_manifest(path) or images_in or is_workflow(path) or name in _FILES

    def run(self, trees: Trees) -> Iterator[Raised]:
        for file in trees.present:
            if file.path.endswith(".py"):
                yield from _language(trees, file)
            elif is_dockerfile(file.path) or is_compose(file.path):
                yield from _images(trees, file, self.today)
            elif file.path.rpartition("/")[2] in _FILES:
                yield from _version_file(trees, file, self.today)
            elif is_workflow(file.path):
                yield from _workflow(trees, file)
        for changed in changed_manifests(trees):
            if changed.base and changed.head.requires and changed.base.requires != changed.head.requires:
                yield from _requirement(trees, changed, self.today)


def _nearest(tree: Tree, path: str, ecosystem: Ecosystem) -> Manifest | None:
    """The manifest that says which version a file runs on."""
    said = [manifest for manifest in governing(tree, path, ecosystem) if manifest.requires]
    above = [one for one in said if not one.folder or path.startswith(f"{one.folder}/")]
    return max(above, key=lambda manifest: len(manifest.folder), default=None)


def _language(trees: Trees, file: ChangedPath) -> Iterator[Raised]:
    if not file.added or _OTHERWISE_RUN.search(file.path):
        return
    manifest = _nearest(trees.head, file.path, "python")
    oldest = ranges.lowest(manifest.requires, manifest.requires_dialect) if manifest else None
    if manifest is None or oldest is None or oldest[0] != 3:
        return
    text = trees.head.text(file.path) or ""
    found = features(text, file.added_lines)
    newer = [one for one in found if one.python > oldest and file.has_added(one.line)]
    line = unparsed(text)
    if line and file.has_added(line) and sys.version_info[:2] >= oldest:
        newer.append(Feature(line, (3, sys.version_info.minor + 1), "this syntax"))
    before = {(one.python, one.text) for one in features(trees.before(file) or "")} if newer else set()
    for one in newer:
        if (one.python, one.text) in before:
            continue
        before.add((one.python, one.text))
        needed, lowest = _dotted(one.python), _dotted(oldest)
        yield Raised(
            "too-new",
            file.path,
            one.line,
            "minor" if is_test(file.path) else "major",
            f"{one.text[0].upper()}{one.text[1:]} needs Python {needed}, and {manifest.path} supports {lowest}: there "
            "this fails. Do it in a way that the older version knows, ask for the version first, or raise the "
            "requirement.",
        )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _version_of(image_or_text: str) -> tuple[int, int]:
    parts = [int(part) for part in image_or_text.split(".")[:2]]
    return parts[0], parts[1] if len(parts) > 1 else 0


def _images(trees: Trees, file: ChangedPath, today: date) -> Iterator[Raised]:
    read = images if is_dockerfile(file.path) else compose_images
    before = read(trees.before(file) or "")
    known = {image.text for image in before}
    brought = {runtime for image in before for runtime in image.runtimes}
    for image in read(trees.head.text(file.path) or ""):
        if not file.has_added(image.line) or image.text in known:
            continue
        if not image.is_digest and image.tag in ("", "latest"):
            yield Raised(
                "image-latest",
                file.path,
                image.line,
                "minor",
                f"The image {image.name} has no version{' but `latest`' if image.tag else ''}: the same file brings "
                "something else after its next release. Give the version that it was tried with.",
            )
        for runtime, version in image.runtimes:
            if (runtime, version) not in brought:
                yield from _ended(file.path, image.line, runtime, version, today)
            if read is images:
                yield from _refused(trees.head, file.path, image.line, runtime, version)


def _ended(path: str, line: int, runtime: str, version: str, today: date) -> Iterator[Raised]:
    end = ended(runtime, version, today)
    if end:
        name = {"python": "Python", "node": "Node"}.get(runtime, runtime.capitalize())
        yield Raised(
            "end-of-life",
            path,
            line,
            "minor",
            f"{name} {version} gets no fixes any more since {end.isoformat()}: holes that are found now stay open. "
            "Take a version that is maintained.",
        )


def _refused(head: Tree, path: str, line: int, runtime: str, version: str) -> Iterator[Raised]:
    """A version that the project itself says it does not run on."""
    ecosystem = _ECOSYSTEM.get(runtime)
    manifest = _nearest(head, path, ecosystem) if ecosystem else None
    if manifest is None or _accepts(manifest, version):
        return
    yield Raised(
        "unsupported-version",
        path,
        line,
        "major" if runtime == "python" else "minor",
        f"{'Python' if runtime == 'python' else 'Node'} {version} is not a version that {manifest.path} accepts "
        f"({manifest.requires}): the project can't be installed on it. Let the two agree.",
    )


def _accepts(manifest: Manifest, version: str) -> bool:
    """Does a manifest accept some release of a version of Python, or of Node?"""
    releases = (
        [f"{version}.{n}" for n in (0, 5, 99)] if "." in version else [f"{version}.{n}.0" for n in (0, 5, 12, 99)]
    )
    return any(ranges.accepts(manifest.requires, manifest.requires_dialect, release) for release in releases)


def _version_file(trees: Trees, file: ChangedPath, today: date) -> Iterator[Raised]:
    runtime = _FILES[file.path.rpartition("/")[2]]

    def version(text: str | None) -> str:
        found = re.match(r"\s*v?(\d+)\.?(\d+)?", text or "")
        return "" if not found else found[1] if runtime == "node" else f"{found[1]}.{found[2] or 0}"

    now = version(trees.head.text(file.path))
    if now and now != version(trees.before(file)):
        yield from _ended(file.path, file.first_added, runtime, now, today)
        yield from _refused(trees.head, file.path, file.first_added, runtime, now)


def _workflow(trees: Trees, file: ChangedPath) -> Iterator[Raised]:
    """YAML reads 3.10 as the number 3.1."""
    lines = (trees.head.text(file.path) or "").split("\n")
    for number in sorted(file.added_lines):
        line = lines[number - 1] if number <= len(lines) else ""
        found = _UNQUOTED.match(line)
        item = _ITEM.match(line)
        if item and _KEY.match(_above(lines, number - 1)):
            found = item
        if found:
            yield Raised(
                "unquoted-version",
                file.path,
                number,
                "major",
                f"YAML reads {found[1]} as the number {found[1].rstrip('0')}, so that the job sets up Python "
                f"{found[1].rstrip('0')}. Put it in quotes.",
            )


def _above(lines: Sequence[str], index: int) -> str:
    """The key in whose list a line stands."""
    while index > 0 and re.match(r"\s*(-|#|$)", lines[index]):
        index -= 1
    return lines[index]


def _requirement(trees: Trees, changed: ChangedManifest, today: date) -> Iterator[Raised]:
    """A changed `requires-python` or `engines.node`: what of the repository does not follow?"""
    head, base = changed.head, changed.base
    runtime: Runtime = "python" if head.ecosystem == "python" else "node"
    now = ranges.lowest(head.requires, head.requires_dialect)
    was = ranges.lowest(base.requires, base.requires_dialect) if base and base.requires else None
    if now is None or head.ecosystem not in ("python", "npm"):
        return
    if runtime == "node":
        # A job or an image of Node 12 runs on its last release.
        now, was = (now[0], 0), (was[0], 0) if was else None
    yield from _left_behind(trees, changed, runtime, now)
    if was and now > was:
        yield from _dropped(trees, changed, runtime, was, now, today)
    elif was and now < was:
        yield from _lowered(trees, changed, runtime, now)


def _left_behind(trees: Trees, changed: ChangedManifest, runtime: Runtime, now: tuple[int, int]) -> Iterator[Raised]:
    """Jobs, classifiers and images of versions that are no longer accepted."""
    head, name = changed.head, "Python" if runtime == "python" else "Node"
    old = [one for one in tested(trees.head, runtime) if one.version < now]
    if old:
        yield Raised(
            "ci-not-updated",
            changed.file.path,
            head.requires_line,
            "minor",
            f"{name} {head.requires} is required here, and {old[0].path} still tests {old[0].text}: that job can no "
            "longer install the project. Take the version out there.",
        )
    classified = [
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text.strip()) for text in head.classifiers
    ]
    stale = [found[1] for found in classified if found and _version_of(found[1]) < now]
    if stale and runtime == "python":
        yield Raised(
            "classifier-not-updated",
            changed.file.path,
            head.requires_line,
            "minor",
            f"Python {head.requires} is required here, and the classifiers still name {', '.join(stale)}: the index "
            "shows what no longer holds. Take them out.",
        )
    for path in trees.head.paths:
        if not is_dockerfile(path) or trees.file(path) or _nearest(trees.head, path, head.ecosystem) != head:
            continue
        for image in images(trees.head.text(path) or ""):
            refused = [version for kind, version in image.runtimes if kind == runtime and not _accepts(head, version)]
            if refused and changed.base and _accepts(changed.base, refused[0]):
                yield Raised(
                    "unsupported-version",
                    changed.file.path,
                    head.requires_line,
                    "major" if runtime == "python" else "minor",
                    f"{name} {head.requires} is required here, and {path}:{image.line} builds on {refused[0]}: the "
                    "project can't be installed there any more. Let the two agree.",
                )


def _dropped(
    trees: Trees, changed: ChangedManifest, runtime: Runtime, was: tuple[int, int], now: tuple[int, int], today: date
) -> Iterator[Raised]:
    """Users of a version that is still maintained are left behind, and nobody tells them."""
    if not changed.head.is_package or any(_CHANGELOG.search(file.path) for file in trees.files):
        return
    base = changed.base
    if base and base.version.partition(".")[0] != changed.head.version.partition(".")[0]:
        return
    versions = [text for text in END_OF_LIFE[runtime] if was <= _version_of(text) < now]
    alive = [text for text in versions if not ended(runtime, text, today)]
    if alive:
        name = "Python" if runtime == "python" else "Node"
        yield Raised(
            "support-dropped",
            changed.file.path,
            changed.head.requires_line,
            "minor",
            f"{name} {', '.join(alive)} {'is' if len(alive) == 1 else 'are'} no longer supported, though maintained: "
            "who runs it gets no new version any more, fixes included. Say so in the changelog, or keep it.",
            confidence=0.6,
        )


def _lowered(trees: Trees, changed: ChangedManifest, runtime: Runtime, now: tuple[int, int]) -> Iterator[Raised]:
    """An older version is promised than anything is tested with, or than the code runs on."""
    head = changed.head
    if runtime == "python" and now[0] == 3:
        place = _needing_newer(trees, head, now)
        if place:
            path, one = place
            yield Raised(
                "too-new",
                changed.file.path,
                head.requires_line,
                "major",
                f"Python {_dotted(now)} is supported from here on, and {path}:{one.line} needs {_dotted(one.python)} "
                f"({one.text}): there the import of that module fails. Keep the requirement, or change the code.",
            )
            return
    versions = tested(trees.head, runtime)
    if versions and versions[0].version > now:
        yield Raised(
            "untested-version",
            changed.file.path,
            head.requires_line,
            "minor",
            f"{'Python' if runtime == 'python' else 'Node'} {head.requires} is promised here, and the oldest version "
            f"that {versions[0].path} tests is {versions[0].text}. Test the oldest one too, or keep the requirement.",
            confidence=0.8,
        )


def _needing_newer(trees: Trees, manifest: Manifest, oldest: tuple[int, int]) -> tuple[str, Feature] | None:
    paths = [
        path
        for path in trees.head.paths
        if path.endswith(".py") and not is_test(path) and not _OTHERWISE_RUN.search(path)
    ]
    for path in paths[:MOST_FILES]:
        if _nearest(trees.head, path, "python") == manifest:
            found = [one for one in features(trees.head.text(path) or "") if one.python > oldest]
            if found:
                return path, found[0]
    return None

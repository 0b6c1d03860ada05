"""`undeclared`: an import that no manifest declares, or that only the development group does."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Tree, Trees, is_python, is_test
from sdlc.review_graphs.checks.techstack import imports, javascript, providers
from sdlc.review_graphs.checks.techstack.declared import Dependency, Manifest, dev_group, python_name
from sdlc.review_graphs.checks.techstack.documents import read_toml, strings
from sdlc.review_graphs.checks.techstack.imports import Import
from sdlc.review_graphs.checks.techstack.javascript import JsImport
from sdlc.review_graphs.checks.techstack.locks import LOCKS, read_lock
from sdlc.review_graphs.checks.techstack.manifests import (
    ChangedManifest,
    changed_manifests,
    governing,
    is_manifest,
    manifests,
)
from sdlc.review_graphs.checks.techstack.pyproject import requirement
from sdlc.review_graphs.checks.techstack.stack_names import NAMESPACES, PROVIDED, words

_STDLIB = sys.stdlib_module_names | words("""
    annotationlib asynchat asyncore cgi cgitb chunk compression crypt distutils imghdr imp lib2to3 mailcap msilib nis
    nntplib ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib
""")
"""Of all versions of Python; `replaced` speaks of those modules that are gone."""
_GENERATED = re.compile(r"^_|_pb2(_grpc)?$|^_?version$")
_BESIDE = re.compile(
    r"(^|/)(scripts?|tools?|docs?|examples?|benchmarks?|tasks|ci|\.github|\.circleci|dev|notebooks?)/"
    r"|(^|/)(conftest|manage|build)\.py$"
)
"""For those who work on the project."""
_OF_TOOLS = re.compile(r"(^|/)(setup|noxfile|fabfile|tasks|dodo|conanfile|locustfile|conf|gunicorn\.conf)\.py$")
"""Read by a program that brings what they import."""
_INSTALLERS = re.compile(
    r"(^|/)(Dockerfile[^/]*|[^/]*\.[dD]ockerfile|Makefile|justfile|tox\.ini|noxfile\.py|environment[^/]*\.ya?ml|[^/]*\.sh"
    r"|\.pre-commit-config\.yaml|\.gitlab-ci\.yml|\.readthedocs\.ya?ml|conda[^/]*\.ya?ml|meta\.ya?ml|[^/]*\.nix|Vagrantfile)$"
    r"|^\.github/workflows/"
)
MOST_PLACES = 20
"""Imports of one module on the base that are looked at."""
_SCRIPT = re.compile(r"^# /// script\s*$(.*?)^# ///\s*$", re.MULTILINE | re.DOTALL)


class Undeclared:
    """Compares what files import with what the manifests of the head declare."""

    name = "undeclared"
    required = True

    def looks_at(self, path: str) -> bool:
        return is_python(path) or javascript.is_javascript(path) or is_manifest(path)

    def run(self, trees: Trees) -> Iterator[Raised]:
        for file in trees.present:
            if file.path.endswith(".py"):
                yield from _python(trees, file)
            elif javascript.is_javascript(file.path):
                yield from _javascript(trees, file)
        yield from _removed(trees)


def _python(trees: Trees, file: ChangedPath) -> Iterator[Raised]:
    text = trees.head.text(file.path) or ""
    lines = text.split("\n")
    if _OF_TOOLS.search(file.path) or not any("import" in lines[n - 1] for n in file.added_lines if n <= len(lines)):
        return
    seen: set[str] = set()
    for one in imports.imports_in(text):
        if not file.has_added(one.line) or one.is_optional or one.top in seen:
            continue
        if one.top in _STDLIB or one.top in PROVIDED or _GENERATED.search(one.top):
            continue
        seen.add(one.top)
        if not _is_own(trees.head, one, file.path, text):
            found = _judged(trees, one, file, text)
            if found:
                yield found


def _is_own(head: Tree, one: Import, path: str, text: str) -> bool:
    """A module of the repository, or of a path that the file itself puts where modules are looked for."""
    if not providers.is_known(one.top) and re.search(r"sys\.path(\.(insert|append|extend)|\s*[+=])", text):
        return True
    own = {manifest.own_name.replace("-", "_") for manifest in manifests(head)}
    return (
        one.top.lower() in own
        or imports.is_first_party(head, one.top, path)
        or one.top.lower() in {part.lower() for part in imports.submodules(head)}
    )


def _judged(trees: Trees, one: Import, file: ChangedPath, text: str) -> Raised | None:
    """What is to be said of an import that is neither of the standard library nor of the repository."""
    here = governing(trees.head, file.path, "python")
    if not any(manifest.declares for manifest in here) or not all(manifest.is_complete for manifest in here):
        return None
    declared = _declared(here)
    if providers.likely(one.top, declared):
        return _misplaced(trees, one, file, declared)
    if one.is_typing or _in_script(one.top, text) or _mentioned(trees.head, one.top):
        return None
    if _on_base(trees.base, one.top, is_test(file.path)):
        return None
    is_shared = one.top in NAMESPACES
    named = f"the distribution of `{one.module}`" if is_shared else providers.distributions(one.top)[0]
    known = f" ({named})" if named != python_name(one.top) and not is_shared else ""
    through = providers.brought(one.top, declared) or _locked(trees.head, one.top, here)
    where = _nearest(here)
    if through:
        return Raised(
            "transitive",
            file.path,
            one.line,
            "minor",
            f"`{one.top}`{known} is imported and not declared; it is there only because {through} brings it along, and "
            f"is gone when that no longer does. Add {named} to {where}.",
            confidence=0.8,
        )
    tests = is_test(file.path)
    return Raised(
        "undeclared",
        file.path,
        one.line,
        "minor" if tests or _BESIDE.search(file.path) else "major",
        f"`{one.top}`{known} is imported and no manifest declares it: in a fresh installation this fails with "
        f"ModuleNotFoundError. Add {named} to {where}, or import something that is declared.",
        confidence=0.8 if one.is_inner or not providers.is_known(one.top) else 1.0,
    )


def _declared(here: list[Manifest]) -> list[Dependency]:
    """What people have declared; what a resolver has written counts where nobody has."""
    lists = [manifest for manifest in here if manifest.declares]
    chosen = [manifest for manifest in lists if not manifest.is_compiled] or lists
    return [item for manifest in chosen for item in manifest.dependencies]


def _on_base(base: Tree, module: str, for_test: bool) -> bool:
    """Does the base import the module already, without a guard and from code of the same kind?"""
    places = [place for place in imports.imported(base).get(module, ()) if for_test or not is_test(place[0])]
    return any(
        one.top == module and one.line == line and not one.is_optional
        for path, line in places[:MOST_PLACES]
        for one in imports.imports_in(base.text(path) or "")
    )


def _misplaced(trees: Trees, one: Import, file: ChangedPath, declared: list[Dependency]) -> Raised | None:
    """Something that only those have who work on the project, imported by what users run."""
    if one.is_typing or one.is_inner or is_test(file.path) or _BESIDE.search(file.path):
        return None
    if any(item.kind not in ("dev", "build") for item in providers.likely(one.top, declared)):
        return None
    found = [item for item in providers.exact(one.top, declared) if item.kind in ("dev", "build")]
    if not found or not _is_shipped(trees.head, file.path) or providers.brought(one.top, _main(declared)):
        return None
    if not any(item.kind == "main" for item in declared) and not any(
        manifest.is_package for manifest in governing(trees.head, file.path, "python")
    ):
        return None
    if _on_base(trees.base, one.top, for_test=False):
        return None
    item = found[0]
    return Raised(
        "misplaced",
        file.path,
        one.line,
        "major",
        f"`{one.top}` is imported by code that users run, and {item.name} is declared for "
        f"{'the build' if item.kind == 'build' else 'development'} only ({item.file}, {item.group}): for whoever "
        "installs the package the import fails. Move it to the main dependencies.",
    )


def _main(declared: list[Dependency]) -> list[Dependency]:
    return [item for item in declared if item.kind in ("main", "optional", "peer")]


def _is_shipped(head: Tree, path: str) -> bool:
    """Does a file lie in a package, and not in a folder for those who work on the project?"""
    folders = path.split("/")[:-1]
    if any(dev_group(folder) for folder in folders):
        return False
    return bool(folders) and (folders[0] == "src" or head.text("/".join([*folders, "__init__.py"])) is not None)


def _in_script(module: str, text: str) -> bool:
    """Does the file bring its own list of dependencies (PEP 723)?"""
    found = _SCRIPT.search(text)
    if not found:
        return False
    document = read_toml("\n".join(line[1:].removeprefix(" ") for line in found[1].split("\n"))) or {}
    listed = [requirement(item, file="", line=1) for item in strings(document.get("dependencies"))]
    return bool(providers.likely(module, [item for item in listed if item]))


def _mentioned(head: Tree, module: str) -> bool:
    """Does something that installs programs name the distribution?"""
    known = "|".join(re.escape(name).replace(r"\-", "[-_.]") for name in providers.distributions(module))
    pattern = re.compile(rf"(?<![\w-])({known})(?![\w-])", re.IGNORECASE)
    return any(pattern.search(head.text(path) or "") for path in head.paths if _INSTALLERS.search(path))


def _locked(head: Tree, module: str, here: list[Manifest]) -> str:
    """The lock file that has the distribution; empty if none has."""
    wanted = set(providers.distributions(module))
    for path in head.paths:
        if LOCKS.get(path.rpartition("/")[2]) == "python":
            lock = read_lock(head, path)
            if lock and wanted & set(lock.versions):
                return f"another dependency (it is in {path})"
    for manifest in here:
        if manifest.is_compiled and wanted & {item.name for item in manifest.dependencies}:
            return f"another dependency (it is in {manifest.path})"
    return ""


def _nearest(here: list[Manifest]) -> str:
    chosen = [manifest for manifest in here if manifest.declares and not manifest.is_compiled] or here
    return max(chosen, key=lambda manifest: (manifest.folder.count("/"), len(manifest.dependencies))).path


def _javascript(trees: Trees, file: ChangedPath) -> Iterator[Raised]:
    here = governing(trees.head, file.path, "npm")
    if not here or not all(manifest.is_complete for manifest in here):
        return
    declared = {item.name for manifest in here for item in manifest.dependencies}
    own = {manifest.own_name for manifest in manifests(trees.head)}
    seen: set[str] = set()
    for one in javascript.imports_in(trees.head.text(file.path) or ""):
        if not file.has_added(one.line) or one.is_optional or one.package in seen:
            continue
        if one.package in declared or one.package in own or _types(one.package) in declared:
            continue
        seen.add(one.package)
        if not javascript.is_alias(trees.head, one.package) and not javascript.imported(trees.base, one.package):
            yield _js_raised(trees.head, one, file, here)


def _types(package: str) -> str:
    return f"@types/{package.removeprefix('@').replace('/', '__')}"


def _js_raised(head: Tree, one: JsImport, file: ChangedPath, here: list[Manifest]) -> Raised:
    where = max(here, key=lambda manifest: manifest.folder.count("/")).path
    for path in head.paths:
        if LOCKS.get(path.rpartition("/")[2]) == "npm":
            lock = read_lock(head, path)
            if lock and one.package in lock.versions:
                return Raised(
                    "transitive",
                    file.path,
                    one.line,
                    "minor",
                    f"`{one.package}` is imported and not declared; it is there only because another dependency brings "
                    f"it along ({path}), and is gone when that no longer does. Add it to {where}.",
                    confidence=0.8,
                )
    return Raised(
        "undeclared",
        file.path,
        one.line,
        "minor" if is_test(file.path) or one.is_typing else "major",
        f"`{one.package}` is imported and {where} does not declare it: after a fresh installation the module is not "
        "found. Add it to the dependencies, or import something that is declared.",
    )


def _removed(trees: Trees) -> Iterator[Raised]:
    """Main dependencies that the change takes out of a manifest, and that the head imports all the same."""
    for changed in changed_manifests(trees):
        if not changed.base or changed.head.is_compiled or not changed.head.is_complete:
            continue
        kept = {item.name for item in changed.head.dependencies if item.kind != "dev"}
        left = {item.name: item for item in changed.head.dependencies if item.kind == "dev"}
        gone = {item.name: item for item in changed.base.dependencies if item.name not in kept and item.kind == "main"}
        for item in gone.values():
            if item.ecosystem == "npm" and item.name not in left:
                yield from _js_removed(trees, item, changed)
            elif item.ecosystem == "python":
                yield from _python_removed(trees, item, changed, left.get(item.name))


def _js_removed(trees: Trees, item: Dependency, changed: ChangedManifest) -> Iterator[Raised]:
    place = javascript.imported(trees.head, item.name)
    others = {one.name for manifest in manifests(trees.head) for one in manifest.dependencies}
    if place and item.name not in others and not javascript.is_alias(trees.head, item.name):
        yield _removed_raised(item, item.name, place, changed, is_there=False)


def _python_removed(
    trees: Trees, item: Dependency, changed: ChangedManifest, left: Dependency | None
) -> Iterator[Raised]:
    for module, places in imports.imported(trees.head).items():
        if item.name not in providers.distributions(module):
            continue
        for place in places:
            path = place[0]
            here = governing(trees.head, path, "python")
            if not _is_needed(trees.head, module, place, here):
                continue
            declared = [one for one in _declared(here) if one.kind != "dev" or left is None]
            if providers.likely(module, declared):
                continue
            if left is None:
                is_there = bool(providers.brought(module, declared) or _locked(trees.head, module, here))
                yield _removed_raised(item, module, place, changed, is_there)
                return
            if not is_test(path) and not _BESIDE.search(path) and _is_shipped(trees.head, path):
                yield Raised(
                    "misplaced",
                    changed.file.path,
                    left.line,
                    "major",
                    f"{item.name} is declared for development only now, and {path}:{place[1]} imports `{module}`: for "
                    "whoever installs the package the import fails. Leave it among the main dependencies.",
                )
                return


def _is_needed(head: Tree, module: str, place: tuple[str, int], here: list[Manifest]) -> bool:
    """Does the import at a place fail without what provides the module?"""
    path, line = place
    if not all(manifest.is_complete for manifest in here):
        return False
    found = [one for one in imports.imports_in(head.text(path) or "") if one.line == line and one.top == module]
    return any(not one.is_optional and not one.is_typing for one in found) and not _is_own(head, found[0], path, "")


def _removed_raised(
    item: Dependency, module: str, place: tuple[str, int], changed: ChangedManifest, is_there: bool
) -> Raised:
    path, line = place
    near = sorted((one.group != item.group, abs(one.line - item.line), one.line) for one in changed.head.dependencies)
    outcome = "is left to chance, as another dependency brings it" if is_there else "fails in a fresh installation"
    return Raised(
        "removed",
        changed.file.path,
        near[0][2] if near else changed.file.first_added,
        "minor" if is_there or is_test(path) else "major",
        f"{item.name} is no longer declared here, and {path}:{line} still imports `{module}`, which "
        f"{outcome}. Keep the dependency, or take the import out as well.",
        confidence=0.7 if is_there else 1.0,
    )

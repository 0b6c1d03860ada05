"""The import graph of one tree, made with grimp from the files alone.

grimp and the programs around it look packages up on `sys.path`, where a package of the repository may be hidden by
one of ours, and where the look-up of a subpackage imports its parent. So grimp is told where everything is.
"""

from __future__ import annotations

import io
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.review_graphs.checks.architecture.modules import Package, parents
from sdlc.review_graphs.checks.base import NotRun, Tree

if TYPE_CHECKING:
    from grimp import ImportGraph
    from grimp.application.ports.filesystem import AbstractFileSystem
    from grimp.application.ports.modulefinder import FoundPackage

MOST_BROKEN = 20
"""Modules that may not parse. Beyond that the repository is written for another Python than grimp reads."""


def import_graph(
    tree: Tree,
    packages: Sequence[Package],
    *,
    wanted: Callable[[str], bool] = lambda path: True,
    external: bool = False,
    type_checking: bool = False,
) -> ImportGraph:
    """Who imports whom among these packages. Modules that don't parse are in it without imports of their own.

    `wanted` says by path which modules count; `type_checking` whether imports for type checkers alone do.
    """
    import grimp
    from grimp.exceptions import SourceSyntaxError

    broken: set[str] = set()
    known = -1

    def readable(path: str) -> bool:
        return wanted(path) and path not in broken

    while known < len(broken) <= MOST_BROKEN:
        known = len(broken)
        try:
            with _told(tree, packages, readable):
                graph = grimp.build_graph(
                    *dict.fromkeys(package.name for package in packages),
                    include_external_packages=external,
                    exclude_type_checking_imports=not type_checking,
                    cache_dir=None,
                )
        except SourceSyntaxError as error:
            broken.add(Path(error.filename).relative_to(tree.root.absolute()).as_posix())
        except UnicodeError:
            broken |= {path for package in packages for path in package.modules.values() if not _decodes(tree, path)}
        else:
            for package in packages:
                for name in (name for name, path in package.modules.items() if path in broken):
                    graph.add_module(name)
            return graph
    raise NotRun(f"{len(broken)} modules can't be read as Python 3, so imports can't be followed; mend or exclude them")


@contextmanager
def _told(tree: Tree, packages: Sequence[Package], wanted: Callable[[str], bool]) -> Iterator[None]:
    from grimp.application.config import settings
    from grimp.application.ports.modulefinder import AbstractModuleFinder, FoundPackage, ModuleFile
    from grimp.application.ports.packagefinder import AbstractPackageFinder
    from grimp.domain.valueobjects import Module

    root = tree.root.absolute()
    by_folder = {str(root / package.folder): package for package in packages}

    class Finder(AbstractPackageFinder, AbstractModuleFinder):
        def determine_package_directories(self, package_name: str, file_system: AbstractFileSystem) -> set[str]:
            return {folder for folder, package in by_folder.items() if package.name == package_name}

        def find_package(
            self, package_name: str, package_directory: str, file_system: AbstractFileSystem
        ) -> FoundPackage:
            modules = {name: path for name, path in by_folder[package_directory].modules.items() if wanted(path)}
            above = {parent for name in modules for parent in parents(name)} - {*modules}
            return FoundPackage(
                name=package_name,
                directory=package_directory,
                module_files=frozenset(ModuleFile(Module(name), 0.0) for name in modules),
                namespace_packages=frozenset(above),
            )

    before = settings.copy()
    finder = Finder()
    settings.configure(PACKAGE_FINDER=finder, MODULE_FINDER=finder)
    try:
        yield
    finally:
        settings.configure(PACKAGE_FINDER=before.PACKAGE_FINDER, MODULE_FINDER=before.MODULE_FINDER)


def _decodes(tree: Tree, path: str) -> bool:
    content = tree.content(path)
    if content is None:
        return False
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        content.decode(encoding)
    except (SyntaxError, UnicodeError, LookupError):
        return False
    return True

"""YAML with the lines that things stand on: nodes as PyYAML composes them, nothing constructed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LARGEST = 200_000
"""Characters. No pipeline is that long, and reading takes a second for each 100 kB."""
DEEPEST = 40


@dataclass(frozen=True)
class Node:
    """A value and its place. `at` of what is not there, or of another kind, is an empty node."""

    raw: Any = None
    """A `yaml.Node`, or None."""

    @property
    def line(self) -> int:
        """Of the head, counted from 1; 0 for an empty node."""
        return int(self.raw.start_mark.line) + 1 if self.raw is not None else 0

    @property
    def text(self) -> str:
        """Of a scalar; empty for anything else."""
        return str(self.raw.value) if self.raw is not None and self.raw.id == "scalar" else ""

    def lines(self) -> Iterator[tuple[int, str]]:
        """(line of the file, text) of a scalar that is a script. Of a folded one all stands on its first line."""
        if self.raw is None or self.raw.id != "scalar":
            return
        first = self.line + 1 if self.raw.style in ("|", ">") else self.line
        for offset, text in enumerate(self.text.split("\n")):
            yield first + offset if self.raw.style == "|" else first, text

    @property
    def is_true(self) -> bool:
        return self.text.lower() in ("true", "yes", "on")

    def __bool__(self) -> bool:
        return self.raw is not None

    def items(self) -> Iterator[tuple[Node, Node]]:
        """(key, value) of a mapping; what is merged in (`<<`) comes where it stands."""
        yield from self._items(0)

    def _items(self, depth: int) -> Iterator[tuple[Node, Node]]:
        if self.raw is None or self.raw.id != "mapping" or depth > 4:
            return
        for key, value in self.raw.value:
            if key.id == "scalar" and key.value == "<<":
                for merged in [value] if value.id == "mapping" else list(value.value) if value.id == "sequence" else []:
                    yield from Node(merged)._items(depth + 1)
            else:
                yield Node(key), Node(value)

    def elements(self) -> Iterator[Node]:
        """Of a sequence; of a scalar itself, for `needs: a` and `needs: [a]` are the same."""
        if self.raw is not None and self.raw.id == "sequence":
            yield from (Node(element) for element in self.raw.value)
        elif self.text:
            yield self

    def key(self, name: str) -> Node:
        return next((key for key, _ in self.items() if key.text == name), Node())

    def at(self, *names: str) -> Node:
        node = self
        for name in names:
            node = next((value for key, value in node.items() if key.text == name), Node())
        return node

    def scalars(self) -> Iterator[Node]:
        """All scalars below, values and not keys, each once."""
        seen: set[int] = set()
        waiting = [(self, 0)]
        while waiting:
            node, depth = waiting.pop()
            if node.raw is None or id(node.raw) in seen or depth > DEEPEST:
                continue
            seen.add(id(node.raw))
            if node.raw.id == "scalar":
                yield node
            below = [value for _, value in node.items()] if node.raw.id == "mapping" else list(node.elements())
            waiting += [(value, depth + 1) for value in reversed(below)]


def read_yaml(text: str | None) -> Node:
    """The first document; an empty node where there is none."""
    return next(iter(read_documents(text)), Node())


def read_documents(text: str | None) -> list[Node]:
    """All documents; none for what is no YAML or too large. The file's own checkers tell of errors."""
    if not text or len(text) > LARGEST:
        return []
    import yaml

    try:
        return [Node(raw) for raw in yaml.compose_all(text, Loader=yaml.SafeLoader) if raw is not None]
    except (yaml.YAMLError, RecursionError, ValueError):
        return []

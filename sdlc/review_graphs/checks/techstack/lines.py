"""Where something stands in a text, of which the parsers of TOML and JSON tell nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")


class TomlLines:
    """Looks up tables, keys and strings in the lines of a document."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")

    @cached_property
    def _headers(self) -> list[tuple[int, str]]:
        found = []
        for number, line in enumerate(self.lines):
            match = _HEADER.match(line)
            if match and match[1][0] not in "'\"{":  # else a line of an array of arrays
                found.append((number, re.sub(r"\s*\.\s*", ".", match[1]).replace('"', "").replace("'", "")))
        return found

    def table(self, name: str) -> int:
        """The line of a table's header; 0 if it has none."""
        return next((number + 1 for number, header in self._headers if header == name), 0)

    def table_at(self, line: int) -> str:
        """The name of the table in which a line stands; empty above the first."""
        return next((header for number, header in reversed(self._headers) if number < line), "")

    def _body(self, table: str) -> Iterator[tuple[int, int]]:
        """First and last index (excluded) of what stands below the headers of a table."""
        ends = [number for number, _ in self._headers[1:]] + [len(self.lines)]
        for (number, header), end in zip(self._headers, ends, strict=False):
            if header == table:
                yield number + 1, end

    def key(self, table: str, key: str) -> int:
        """The line of a key of a table, be it written below the table's header, as a dotted key or as a table."""
        own = self.table(f"{table}.{key}")
        if own:
            return own
        word = rf"""["']?{re.escape(key)}["']?"""
        for first, last in self._body(table):
            for number in range(first, last):
                if re.match(rf"\s*{word}\s*[=.]", self.lines[number]):
                    return number + 1
        *parents, last_part = table.split(".")
        if parents:  # `group = { key = … }`, or `group.key = …`, in the table above
            for first, last in self._body(".".join(parents)):
                for number in range(first, last):
                    line = self.lines[number]
                    if re.match(rf"\s*{re.escape(last_part)}\s*[.=]", line) and re.search(rf"{word}\s*=", line):
                        return number + 1
        return self.table(table)

    def text(self, table: str, key: str, text: str) -> int:
        """The line of a string in the array of a key; the key's own where the string is written with escapes."""
        start = self.key(table, key)
        quoted = (f'"{text}"', f"'{text}'")
        end = next((number for number, _ in self._headers if number >= start), len(self.lines))
        for number in range(max(start - 1, 0), end):
            if any(form in self.lines[number] for form in quoted):
                return number + 1
        return start or next(
            (number + 1 for number, line in enumerate(self.lines) if any(form in line for form in quoted)), 1
        )


def json_line(text: str, *keys: str) -> int:
    """The line of a key in nested objects, found by the first place of each key after the one before; at least 1."""
    at = 0
    for key in keys:
        found = re.compile(rf'"{re.escape(key)}"\s*:').search(text, at)
        if not found:
            break
        at = found.start() + 1
    return text.count("\n", 0, at) + 1

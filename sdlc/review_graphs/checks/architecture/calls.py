"""Whether a call that one signature takes is taken by another, with each value where it was meant to go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Given:
    """What a call gives: how many values by position, and which by name."""

    by_position: int
    by_name: tuple[str, ...] = ()

    def taken_by(self, signature: Signature) -> Mapping[int | str, str] | str:
        """Position or name of each value → the parameter that takes it; or why the call fails."""
        try:
            bound = signature.bind(*range(self.by_position), **{name: name for name in self.by_name})
        except TypeError as error:
            return str(error)
        return {value: name for name, value in bound.arguments.items() if isinstance(value, int | str)}


def misfit(given: Given, before: Signature, now: Signature) -> str:
    """What goes wrong with a call that was right before; empty if nothing does."""
    was, is_now = given.taken_by(before), given.taken_by(now)
    if isinstance(was, str):
        return ""
    if isinstance(is_now, str):
        return f"TypeError, {is_now}"
    for value, name in was.items():
        if isinstance(value, int) and is_now.get(value, name) != name and name in now.parameters:
            return f"what it gives for `{name}` is taken for `{is_now[value]}`"
    return ""


def all_fit(before: Signature, now: Signature) -> bool:
    """Is every call that was right before still right?"""
    return not any(misfit(given, before, now) for given in _calls(list(before.parameters.values())))


def _calls(parameters: Sequence[Parameter]) -> Iterator[Given]:
    """One of each kind: so many values by position, the rest by name, with what may be left out and without."""
    positional = [item for item in parameters if item.kind in _BY_POSITION]
    for count in range(len(positional) + 1):
        rest = [item for item in parameters if item not in positional[:count] and item.kind in _BY_NAME]
        yield Given(count, tuple(item.name for item in rest if item.default is Parameter.empty))
        for item in rest:
            needed = {other.name for other in rest if other.default is Parameter.empty}
            yield Given(count, tuple(sorted(needed | {item.name})))

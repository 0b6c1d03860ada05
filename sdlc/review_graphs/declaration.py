"""What a panel is made of. The graph is the same for all; panels differ in their analysers and lenses alone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from sdlc.domain import Panel
from sdlc.review_graphs.analyzers.base import Analyser
from sdlc.review_graphs.checks.base import Check


@dataclass(frozen=True)
class Lens:
    """One concern that a model is asked about."""

    name: str
    """Stands in rules (`lens:<name>`) and in the first line of the prompt."""
    prompt: str
    """File in `prompts/` that says what to look for and what to leave alone."""

    def text(self) -> str:
        return prompt_text(self.prompt)


@dataclass(frozen=True)
class PanelDeclaration:
    panel: Panel
    analysers: tuple[Analyser, ...] = ()
    """Programs of others."""
    checks: tuple[Check, ...] = ()
    """Our own, all of them in one process."""
    lenses: tuple[Lens, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Of all sources of the panel."""
        programs = [*(analyser.name for analyser in self.analysers), *(check.name for check in self.checks)]
        return frozenset([*programs, *(lens.name for lens in self.lenses)])

    def analyser(self, name: str) -> Analyser:
        """Raises KeyError for a name that the panel does not have."""
        return {analyser.name: analyser for analyser in self.analysers}[name]

    def lens(self, name: str) -> Lens:
        """Raises KeyError for a name that the panel does not have."""
        return {lens.name: lens for lens in self.lenses}[name]


def lenses(panel: Panel, *names: str) -> tuple[Lens, ...]:
    """Lenses whose prompts are `prompts/<panel>_<name>.md`."""
    return tuple(Lens(name, f"{panel.value}_{name}.md") for name in names)


def prompt_text(name: str) -> str:
    """A prompt of `prompts/`, without the white space at its ends."""
    return resources.files("sdlc.review_graphs").joinpath("prompts", name).read_text(encoding="utf-8").strip()

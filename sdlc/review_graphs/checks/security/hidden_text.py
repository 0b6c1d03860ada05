"""Text that shows something else than it is: characters that reorder, hide or imitate, and words to a reviewing model.

The attacks are known as Trojan Source (CVE-2021-42574) and homoglyphs (CVE-2021-42694).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Level, Raised, Trees, is_test
from sdlc.review_graphs.checks.security.added import added_lines, is_document, is_made_up, texts_of_base
from sdlc.review_graphs.checks.security.instructions import instructions

_TRANSLATION = re.compile(
    r"\.(po|pot|arb|xliff?|strings|resx|ftl|lproj)$|(^|/)(locales?|i18n|l10n|translations?|lang|langs|messages)/"
    r"|(^|/)(messages|strings)[\w.-]*\.(json|ya?ml|properties|xml)$",
    re.IGNORECASE,
)
_PROSE = re.compile(r"\.(csv|tsv|log|svg|xml|vtt|srt|json[l5]?|ipynb)$", re.IGNORECASE)
"""Data that may well be text for people."""

_BIDI = "\u202a-\u202e\u2066-\u2069"
_OPENERS, _CLOSERS = "\u202a\u202b\u202d\u202e\u2066\u2067\u2068", "\u202c\u2069"
_OVERRIDES = "\u202d\u202e"
_HAS_BIDI = re.compile(f"[{_BIDI}]")
_REVERSED_LATIN = re.compile("\u202e[^\u202c\n]*[A-Za-z]{2}")
_TURNED_LATIN = re.compile("[\u202b\u2067][^\u202c\u2069\n]*[A-Za-z]{2}")

_JOINED = re.compile(r"[A-Za-z0-9_][\u200b-\u200d\u2060-\u2064\u180e\ufeff\u034f]+[A-Za-z0-9_]")
_FILLER = re.compile(r"[\u3164\uffa0\u115f\u1160]")
_HANGUL = re.compile(r"[\u1100-\u115e\u1161-\u11ff\u3130-\u3163\u3165-\u318f\uac00-\ud7af\uffa1-\uffdc]")
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
"""England, Scotland and Wales: the only flags that are spelled with tags."""
_TAGS = re.compile("[\U000e0000-\U000e007f]")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
"""One belongs to the character before it; a row of them is a message in bytes that nobody sees."""

_LOOK_LIKE_ASCII = frozenset("аеорсухіјѕԁԛԝһАВЕКМНОРСТХІЈЅοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")
_WORD = re.compile(r"[^\W\d]\w+")
_COMMENT = re.compile(r"(^|\s)(#|//|--\s).*$|^\s*(\*|/\*).*$")


class HiddenText:
    name = "hidden-text"
    required = True

    def looks_at(self, path: str) -> bool:
        return True

    def run(self, trees: Trees) -> Iterable[Raised]:
        old = texts_of_base(trees)
        for file in trees.present:
            is_code = not (is_document(file.path) or _TRANSLATION.search(file.path) or _PROSE.search(file.path))
            said = not is_made_up(file.path)
            for number, line in added_lines(trees, file):
                if not line.isascii() and not any(line.strip() in text for text in old):
                    yield from _characters(file, number, line, is_code)
            for number, text in instructions(file.path, trees.head.text(file.path) or "") if said else ():
                if file.has_added(number) and not any(text in before for before in old):
                    yield Raised(
                        rule="instruction-to-reviewer",
                        file=file.path,
                        line=number,
                        severity="major",
                        message=(
                            "A comment that readers do not look at tells a reviewing model what to find or to approve."
                            " Take it out: what is under review has no say in its review."
                        ),
                        confidence=0.8,
                    )


def _characters(file: ChangedPath, number: int, line: str, is_code: bool) -> Iterator[Raised]:
    def raised(rule: str, severity: Level, message: str, confidence: float = 0.9) -> Raised:
        return Raised(rule, file.path, number, severity, message, confidence=confidence)

    grave: Level = "blocker" if is_code and not is_test(file.path) else "major"
    if _HAS_BIDI.search(line) and _is_reordered(line, is_code):
        yield raised(
            "bidi-control",
            grave,
            "Control characters show this line in another order than the one in which it runs or is read."
            " Take them out, or write them as escapes (`\\u202e`).",
        )
    if _TAGS.search(_FLAG.sub("", line)) or _SELECTORS.search(line):
        yield raised(
            "invisible-text",
            grave,
            "Characters that nobody sees spell a text on this line, which models and programs do read. Take them out.",
        )
    if not is_code:
        return
    if _FILLER.search(line) and not _HANGUL.search(line):
        yield raised(
            "invisible-name",
            grave,
            "A letter that is not shown (a Hangul filler) stands on this line: it can be a name, an argument or a key"
            " that no reader sees. Take it out, or write it as an escape.",
        )
    if _JOINED.search(line) and not is_test(file.path):
        yield raised(
            "zero-width",
            "major",
            "A character without width stands within a word, which is therefore not the word that it looks like: it is"
            " not equal to it and not found by it. Take it out, or write it as an escape.",
            0.8,
        )
    imitation = next(_imitations(_COMMENT.sub("", line)), "") if not is_test(file.path) else ""
    if imitation:
        letters = ", ".join(f"U+{ord(char):04X}" for char in dict.fromkeys(imitation) if not char.isascii())
        yield raised(
            "homoglyph",
            "major",
            f"A word of Latin letters has others in it that only look so ({letters}), so it is another word than the"
            " one that readers take it for. Write it in one alphabet.",
        )


def _is_reordered(line: str, is_code: bool) -> bool:
    is_right_to_left = any(unicodedata.bidirectional(char) in ("R", "AL") for char in line)
    if not is_code:
        return bool(_REVERSED_LATIN.search(line) or (not is_right_to_left and _TURNED_LATIN.search(line)))
    # Hebrew or Arabic words in a string, set apart from what stands around them, are what these characters are for.
    return not is_right_to_left or any(char in line for char in _OVERRIDES) or not _is_closed(line)


def _is_closed(line: str) -> bool:
    depth = 0
    for char in line:
        depth += (char in _OPENERS) - (char in _CLOSERS)
        if depth < 0:
            return False
    return depth == 0


def _imitations(line: str) -> Iterator[str]:
    for match in _WORD.finditer(line):
        foreign = {char for char in match[0] if not char.isascii()}
        if foreign and foreign <= _LOOK_LIKE_ASCII and any("a" <= char.lower() <= "z" for char in match[0]):
            yield match[0]

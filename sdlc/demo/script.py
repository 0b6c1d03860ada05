"""The canned words of the demo's model, for the bundled repository and ticket.

Only the words are canned: each command, edit, test and review that they ask for is carried out.
The first version has a fault that reviewers often see, a mutable default argument, so that the
quality panel finds something real and the fix loop has something to mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdlc.demo.conversation import (
    STANDS,
    AddedLine,
    ChatRequest,
    Reply,
    Script,
    ToolCall,
    added_lines,
    edit,
    plan,
    say,
    shell,
    submit,
)

RUN_TESTS = shell("python -m pytest -q")

# --- the first round ----------------------------------------------------------------------

_PRICE_BEFORE = '''\
    def price(self, grams: int) -> int:
        """What a parcel of this charged weight costs, in cents."""
        return next(tier.cents for tier in self.tiers if grams < tier.up_to_grams)
'''

_PRICE_FIRST = '''\
    def price(self, grams: int, notes: list[str] = []) -> int:
        """What a parcel of this charged weight costs, in cents.

        Above the last tier each started kilogram costs `overweight_cents`. A line about it
        is added to `notes`.
        """
        for tier in self.tiers:
            if grams <= tier.up_to_grams:
                return tier.cents
        last = self.tiers[-1]
        started = -(-(grams - last.up_to_grams) // 1_000)
        notes.append(f"{_kg(grams)}: {started} started kg above {_kg(last.up_to_grams)}")
        return last.cents + started * self.overweight_cents


def _kg(grams: int) -> str:
    return f"{grams / 1000:.3f} kg"
'''

_SOURCE_EDITS = (
    edit("parcel/tariff.py", _PRICE_BEFORE, _PRICE_FIRST),
    edit(
        "parcel/tariff.py",
        '"""Everything up to this weight costs this much."""',
        '"""Everything up to this weight, the limit included, costs this much."""',
    ),
    edit(
        "parcel/quotes.py",
        "    discount_cents: int = 0\n\n    @property",
        '    discount_cents: int = 0\n    notes: tuple[str, ...] = ()\n    """What customer service should know, '
        'a line each."""\n\n    @property',
    ),
    edit(
        "parcel/quotes.py",
        """\
    lines = tuple(
        Line(parcel, parcel.charged_grams, tariff.price(parcel.charged_grams)) for parcel in parcels
    )
""",
        """\
    notes: list[str] = []
    lines = tuple(
        Line(parcel, parcel.charged_grams, tariff.price(parcel.charged_grams, notes))
        for parcel in parcels
    )
""",
    ),
    edit(
        "parcel/quotes.py",
        "    return Quote(zone, lines, discount)\n",
        "    return Quote(zone, lines, discount, tuple(notes))\n",
    ),
    edit(
        "parcel/__main__.py",
        '    return "\\n".join(rows)\n',
        '    return "\\n".join([*rows, *offer.notes])\n',
    ),
)

_TEST_EDITS = (
    edit(
        "tests/test_tariff.py",
        "def test_every_zone_charges_more_for_more() -> None:\n",
        """\
@pytest.mark.parametrize(
    ("zone", "prices"),
    [
        ("domestic", [490, 590, 790, 1_090, 1_890]),
        ("europe", [1_190, 1_490, 1_790, 2_190, 2_590]),
        ("world", [1_990, 2_990, 4_490, 6_990, 11_990]),
    ],
)
def test_a_tier_includes_its_limit(zone: str, prices: list[int]) -> None:
    limits = (1_000, 2_000, 5_000, 10_000, 31_500)
    assert [RATE_CARD[zone].price(limit) for limit in limits] == prices


@pytest.mark.parametrize(
    ("zone", "grams", "cents"),
    [
        ("domestic", 31_501, 2_010),
        ("domestic", 32_500, 2_010),
        ("domestic", 33_200, 2_130),
        ("europe", 33_200, 3_070),
        ("world", 40_000, 17_840),
    ],
)
def test_each_started_kilogram_above_the_last_tier_is_charged(
    zone: str, grams: int, cents: int
) -> None:
    assert RATE_CARD[zone].price(grams) == cents


def test_every_zone_charges_more_for_more() -> None:
""",
    ),
    edit(
        "tests/test_quotes.py",
        "def test_an_empty_shipment_is_refused() -> None:\n",
        """\
def test_only_overweight_parcels_are_noted() -> None:
    offer = quote([Parcel(31_500), Parcel(33_200)], "DE")
    assert offer.notes == ("33.200 kg: 2 started kg above 31.500 kg",)
    assert offer.total_cents == 1_890 + 2_130


def test_each_quote_has_its_own_notes() -> None:
    first, second = (quote([Parcel(grams)], "FR") for grams in (32_000, 40_000))
    assert len(first.notes) == len(second.notes) == 1


def test_an_empty_shipment_is_refused() -> None:
""",
    ),
    edit(
        "tests/test_command.py",
        "def test_a_wrong_parcel_is_told_without_a_traceback(",
        """\
def test_notes_stand_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["DE", "33200"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        " 33.200 kg       21.30",
        "total            21.30",
        "33.200 kg: 2 started kg above 31.500 kg",
    ]


def test_a_wrong_parcel_is_told_without_a_traceback(""",
    ),
    edit(
        "CHANGELOG.md",
        "## Unreleased\n",
        """\
## Unreleased

- A parcel that weighs exactly a tier's limit is charged that tier's price.
- Parcels above the last tier are charged for each started kilogram, and the quote says so.
""",
    ),
)

_FIRST_SUMMARY = (
    "A tier includes its limit, and heavy parcels are charged and noted as overweight.\n\n"
    "The limit of a tier now belongs to it (`<=` in `Tariff.price`), and above the last tier each started kilogram "
    "costs the zone's overweight rate. `Quote.notes` has a line for each overweight parcel, which the command prints "
    "below the table. Tests with the rate card's own numbers, and two lines in the changelog.\n\n"
    "Criterion 1: tests/test_tariff.py::test_a_tier_includes_its_limit\n"
    "Criterion 2: tests/test_tariff.py::test_each_started_kilogram_above_the_last_tier_is_charged\n"
    "Criterion 3: tests/test_quotes.py::test_only_overweight_parcels_are_noted, "
    "tests/test_command.py::test_notes_stand_below_the_table"
)
_FIRST_PLAN = (
    "Reproduce both complaints",
    "Let a tier include its limit, and charge started kilograms above the last one",
    "Carry a note per overweight parcel from the tariff to the quote and the command",
    "Tests with the rate card's numbers; changelog",
)

# --- mending what the quality panel found --------------------------------------------------

_FAULT = "notes: list[str] = []) -> int"
_MEND = (
    edit("parcel/tariff.py", _FAULT, "notes: list[str] | None = None) -> int"),
    edit(
        "parcel/tariff.py",
        '        notes.append(f"{_kg(grams)}: {started} started kg above {_kg(last.up_to_grams)}")\n',
        "        if notes is not None:\n"
        '            notes.append(f"{_kg(grams)}: {started} started kg above {_kg(last.up_to_grams)}")\n',
    ),
    edit("parcel/tariff.py", "is added to `notes`.", "is added to `notes`, if given."),
)
_MEND_SUMMARY = (
    "No list is shared between two calls of `Tariff.price` any more.\n\n"
    "`Tariff.price` no longer has a mutable default argument: without `notes` nothing is kept, where before one list "
    "was shared by all calls of the process."
)

# --- a small extra for a reviewer ----------------------------------------------------------

_README_HEADING = "### Above the last tier"
_README_EXTRA = edit(
    "README.md",
    "## Work on it\n",
    f"""\
{_README_HEADING}

Heavier than 31.5 kg costs the last tier's price and the zone's rate for each started kilogram. The quote notes it:

```console
$ python -m parcel DE 33200
 33.200 kg       21.30
total            21.30
33.200 kg: 2 started kg above 31.500 kg
```

## Work on it
""",
)
_DOCSTRING_MARK = "31 500 g are still in the last tier"
_DOCSTRING_EXTRA = edit(
    "parcel/tariff.py",
    '"""For each started kilogram above the last tier."""',
    f'''\
"""For each started kilogram above the last tier.

    {_DOCSTRING_MARK}, 31 501 g start a kilogram.
    """''',
)
_NO_MORE = (
    "I have nothing to add: the demo's model is scripted and knows two answers to a reviewer. "
    "Set OPENAI_BASE_URL and SDLC_MODEL to work with a real one."
)


def _look(request: ChatRequest) -> Reply:
    del request
    return say(
        "I'll look at where the change stands before I touch it.",
        shell("cat parcel/tariff.py && grep -n '^#' README.md && head -n 12 CHANGELOG.md"),
    )


def _act(request: ChatRequest) -> Reply:
    """What to do follows from what the files say, not from the number of the round."""
    seen = request.last_outputs
    if "next(tier.cents" in seen:
        return say("Nothing is done yet. The code first, then its tests.", *_SOURCE_EDITS, *_TEST_EDITS)
    if _FAULT in seen:
        return say("The default list is made once and shared by every call. `None` is the way out.", *_MEND)
    if _README_HEADING not in seen:
        return say("The reviewer has a point; the README should show the rule with an example.", _README_EXTRA)
    if _DOCSTRING_MARK not in seen:
        return say("The reviewer has a point; the tariff should say where exactly a kilogram starts.", _DOCSTRING_EXTRA)
    return say(_NO_MORE, shell("tail -n 12 README.md"))


def _conclude(request: ChatRequest) -> Reply:
    calls = request.calls
    if any(call.get("old_text") == _FAULT for call in calls):
        return say("", submit(_MEND_SUMMARY, "Replace the mutable default argument", "Run the tests"))
    if any(call.get("path") == "README.md" for call in calls):
        return say("", submit("The README now shows what a parcel above the last tier costs, with an example."))
    if any(_DOCSTRING_MARK in str(call.get("new_text")) for call in calls):
        return say("", submit("The tariff's documentation now says where exactly a kilogram starts."))
    if any(call.get("path") == "parcel/quotes.py" for call in calls):
        return say("", submit(_FIRST_SUMMARY, *_FIRST_PLAN))
    return say("", submit(_NO_MORE))


# --- the lenses ---------------------------------------------------------------------------

CLEAN: Mapping[str, Any] = {"findings": [], "summary": "Nothing to report."}


def _correctness(request: ChatRequest) -> Mapping[str, Any]:
    """One minor finding, if the diff in the request has the line that it is about."""
    line = next((line for line in added_lines(request.user_text) if "notes.append(" in line.code), None)
    return CLEAN if line is None else {"findings": [_weight_of_bulky_parcels(line)], "summary": "One rare case."}


def _weight_of_bulky_parcels(line: AddedLine) -> Mapping[str, Any]:
    return {
        "rule": "wrong-weight-shown",
        "severity": "minor",
        "confidence": 0.8,
        "file": line.file,
        "line": line.line,
        "end_line": line.line,
        "message": (
            "For a bulky parcel the note shows the weight that its volume stands for, as if the parcel weighed that. "
            "The customer put something else on the scales; say that it is the charged weight."
        ),
        "evidence": f"A parcel of 0.8 kg and 100 x 60 x 60 cm is noted as 72.000 kg:\n{line.code}",
        "suggestion": "",
    }


_NO_TIERS = "A tariff without tiers ends in an IndexError here"


def _edge_cases(request: ChatRequest) -> Mapping[str, Any]:
    """A finding that is wrong, as reviewers' findings sometimes are: the second look has something to refute."""
    line = next((line for line in added_lines(request.user_text) if "self.tiers[-1]" in line.code), None)
    return CLEAN if line is None else {"findings": [_a_tariff_without_tiers(line)], "summary": "One case."}


def _a_tariff_without_tiers(line: AddedLine) -> Mapping[str, Any]:
    return {
        "rule": "empty-tiers",
        "severity": "major",
        "confidence": 0.7,
        "file": line.file,
        "line": line.line,
        "end_line": line.line,
        "message": f"{_NO_TIERS}, and the quote is lost. Refuse such a tariff with a message.",
        "evidence": f'Tariff("x", (), 0).price(1):\n{line.code}',
        "suggestion": "",
    }


def _second_look(request: ChatRequest) -> Mapping[str, Any]:
    if _NO_TIERS not in request.user_text:
        return STANDS
    why = "`Tariff.__post_init__` refuses a tariff without tiers (`not limits`), so there is always a last one."
    return {"refuted": True, "why": why, "confidence": 0.95}


def demo_script() -> Script:
    """The whole script of the demo."""
    source, tests = _SOURCE_EDITS, _TEST_EDITS
    return (
        Script("demo")
        .round(
            0,
            say("I'll look at the package and its house rules first.", shell("ls -R parcel tests && cat AGENTS.md")),
            say(
                "The price comes from the tariff; let me read it, and who calls it.",
                shell("cat parcel/tariff.py parcel/quotes.py"),
                shell("grep -rn 'price(' parcel tests"),
            ),
            say("Both complaints should show before I change anything.", plan(*_FIRST_PLAN), *_reproduction()),
            say("`<` leaves the limit out, and `next` has nothing to give above the last tier.", *source),
            say(
                "Now tests with the rate card's own numbers, as the house rules ask, and the changelog.",
                plan(*_FIRST_PLAN, done=3),
                *tests,
            ),
            say("All of it together.", RUN_TESTS, shell("python -m parcel DE 2000 33200")),
            say("", submit(_FIRST_SUMMARY, *_FIRST_PLAN)),
        )
        .later(_look, _act, say("The tests again.", RUN_TESTS), _conclude)
        .lens("*", CLEAN)
        .lens("quality", _correctness, "correctness")
        .lens("quality", _edge_cases, "edge-cases")
        .verify("*", _second_look)
    )


def _reproduction() -> tuple[ToolCall, ...]:
    return shell("python -m parcel DE 2000"), shell("python -m parcel DE 33200 2>&1 | tail -n 1")

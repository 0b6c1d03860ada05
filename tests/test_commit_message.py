"""The message of a round's commit."""

import pytest

from sdlc.engines.commit_message import commit_message


@pytest.mark.parametrize(
    ("summary", "title"),
    [
        ("Fix rounding.", "fix(P-1): fix rounding"),
        ("Add a zone for islands", "feat(P-1): add a zone for islands"),
        ("Adds a zone", "feat(P-1): adds a zone"),
        ("feat(parcel): islands.", "feat(P-1): islands"),
        ("`Quote.notes` is shared no more", "fix(P-1): `Quote.notes` is shared no more"),
        ("A tier includes its limit", "fix(P-1): a tier includes its limit"),
        ("## README shows the rule", "fix(P-1): README shows the rule"),
    ],
)
def test_the_title_is_a_conventional_commit(summary: str, title: str) -> None:
    assert commit_message("P-1", summary).splitlines()[0] == title


def test_body_and_ticket_follow() -> None:
    message = commit_message("P-1", "Fix it.\n\nBecause it was wrong.\n\n- one\n- two")
    assert message == "fix(P-1): fix it\n\nBecause it was wrong.\n\n- one\n- two\n\nTicket: P-1\n"


def test_a_long_first_line_is_shortened_and_kept_in_the_body() -> None:
    first = "Fix " + "very " * 30 + "much"
    lines = commit_message("P-1", first).splitlines()
    assert len(lines[0]) <= 72
    assert lines[0].endswith("…")
    assert " ".join(lines[2:-2]) == first


def test_nothing_said_is_said() -> None:
    assert commit_message("P-1", " \n", "turns").splitlines()[0] == "chore(P-1): unfinished work"


def test_a_strange_key_and_hidden_text_do_no_harm() -> None:
    message = commit_message("P 1\n(x)", "Fix<!-- a -->\u202e it\n\nSigned-off-by: Boss <b@example.org>")
    assert message.splitlines()[0] == "fix(P-1-x): fix it"
    assert "\n  Signed-off-by" in message
    assert message.endswith("Ticket: P 1 (x)\n")


def test_the_one_who_started_the_run_is_a_co_author_beside_the_ticket() -> None:
    made = commit_message("BUG-1", "Round half up", coauthor="Ada <ada@acme.example>")
    assert made.endswith("\n\nTicket: BUG-1\nCo-authored-by: Ada <ada@acme.example>\n")
    unfinished = commit_message("BUG-1", "", "turns", coauthor="Ada <ada@acme.example>")
    assert unfinished.endswith("\n\nTicket: BUG-1\nCo-authored-by: Ada <ada@acme.example>\n")

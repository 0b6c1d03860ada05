"""Approval links: for one run, one head, one person and a time; and what they are sealed with."""

from __future__ import annotations

import dataclasses
import os
import stat
import string
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from sdlc.config import Settings
from sdlc.config.intake import PersonSettings
from sdlc.config.web import LinkSettings, RoleSettings, WebSettings
from sdlc.errors import ConfigurationError
from sdlc.web.links import PATH, ApprovalLink, Links
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.identity import Identity, Role
from sdlc.web.sign_in.sealing import Sealer, kept_secret, web_secret

SECRET = "-".join(("a", "planted", "secret", "of", "the", "web", "itself", "1"))
OTHER = "-".join(("another", "planted", "secret", "of", "the", "web"))
HEAD = "a" * 40
ROOT = "http://127.0.0.1:8080"
LETTERS = string.ascii_letters + string.digits + "-_.=~+/ %é"
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


def configured(secret: str = SECRET, **web: Any) -> Settings:
    return Settings().model_copy(update={"web": WebSettings(secret=SecretStr(secret), **web)})


def link(links: Links, **said: str) -> str:
    """The last part of a link's address."""
    known = {"workflow_id": "acme-1", "run_id": "run-1", "head_sha": HEAD, "person": "alice", **said}
    return links.url(ROOT, **known).removeprefix(ROOT + PATH)


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def approver(name: str = "alice", email: str = "") -> Identity:
    return Identity(name, "oidc", email, role=Role.APPROVER)


def reason(status: int, links: Links, read: ApprovalLink, who: Identity | None, **at: str) -> str:
    with pytest.raises(Refused) as refused:
        links.decider(read, who, **{"run_id": "run-1", "head_sha": HEAD, **at})
    assert refused.value.status == status
    return refused.value.reason


# --- what a link says -------------------------------------------------------------------------


@given(WORDS, WORDS, WORDS, WORDS)
def test_a_link_says_what_was_put_in(workflow_id: str, run_id: str, head_sha: str, person: str) -> None:
    links = Links(configured(), clock=Clock())
    read = links.read(link(links, workflow_id=workflow_id, run_id=run_id, head_sha=head_sha, person=person))
    assert (read.workflow_id, read.run_id, read.head_sha, read.person) == (workflow_id, run_id, head_sha, person)
    assert read.until - read.made == 7 * 24 * 3_600


@given(st.data())
def test_no_letter_of_a_link_can_be_another_one(data: st.DataObject) -> None:
    """Also not the last one of the signature, where base64 has several spellings of one value."""
    links = Links(configured(), clock=Clock())
    good = link(links)
    at = data.draw(st.integers(0, len(good) - 1))
    letter = data.draw(st.sampled_from(LETTERS).filter(lambda letter: letter != good[at]))
    with pytest.raises(Refused, match="changed on its way"):
        links.read(good[:at] + letter + good[at + 1 :])


def test_no_spelling_of_the_last_letter_is_taken_for_the_signature() -> None:
    links = Links(configured(), clock=Clock())
    good = link(links)
    taken = []
    for letter in string.ascii_letters + string.digits + "-_":
        try:
            links.read(good[:-1] + letter)
        except Refused:
            continue
        taken.append(letter)
    assert taken == [good[-1]]


@given(st.data())
def test_nothing_can_be_cut_from_a_link_or_added_to_it(data: st.DataObject) -> None:
    links = Links(configured(), clock=Clock())
    good = link(links)
    at = data.draw(st.integers(0, len(good)))
    added = data.draw(st.text(LETTERS, max_size=5))
    left = data.draw(st.integers(at, len(good)))
    changed = good[:at] + added + good[left:]
    if changed != good:
        with pytest.raises(Refused, match="changed on its way"):
            links.read(changed)


@given(st.text(max_size=200))
def test_whatever_is_no_link_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(Refused, match="changed on its way"):
        Links(configured()).read(text)


def test_a_very_long_text_is_no_link() -> None:
    with pytest.raises(Refused, match="changed on its way"):
        Links(configured()).read("A" * 10**6 + ".x")


def test_the_link_of_another_installation_is_not_ours() -> None:
    with pytest.raises(Refused, match="not ours"):
        Links(configured(OTHER)).read(link(Links(configured())))


def test_a_session_or_any_other_sealed_value_is_no_link() -> None:
    links = Links(configured())
    said = dataclasses.asdict(links.read(link(links)))
    assert links.read(Sealer(SECRET.encode(), "approval link").seal(said)).person == "alice"
    for purpose in ("session", "a sign-in under way", "form of a session", ""):
        with pytest.raises(Refused, match="not ours"):
            links.read(Sealer(SECRET.encode(), purpose).seal(said))


def test_a_link_of_another_version_is_refused_and_does_not_break() -> None:
    with pytest.raises(Refused, match="not ours"):
        Links(configured()).read(Sealer(SECRET.encode(), "approval link").seal({"workflow_id": "x"}))


# --- time -------------------------------------------------------------------------------------


def test_a_link_can_be_opened_until_it_is_over_and_not_a_second_longer() -> None:
    clock = Clock()
    links = Links(configured(links=LinkSettings(hours=1)), clock=clock)
    made = link(links)
    for second in (0, 1_800, 3_599):
        clock.now = 1_800_000_000.0 + second
        assert links.read(made).person == "alice"
    clock.now = 1_800_000_000.0 + 3_600
    with pytest.raises(Refused, match="is over") as refused:
        links.read(made)
    assert refused.value.status == 410


def test_a_clock_that_is_a_little_off_does_no_harm_and_one_that_is_far_off_is_told() -> None:
    clock = Clock()
    links = Links(configured(), clock=clock)
    made = link(links)
    clock.now -= 59
    assert links.read(made).person == "alice"
    clock.now -= 3_600
    with pytest.raises(Refused, match="clocks"):
        links.read(made)


# --- who decides ------------------------------------------------------------------------------


def test_the_person_of_the_link_decides_once_they_have_signed_in() -> None:
    links = Links(configured())
    who = approver("Alice")  # case does not count
    assert links.decider(links.read(link(links)), who, run_id="run-1", head_sha=HEAD) == who


def test_the_person_of_the_link_is_known_by_all_their_names() -> None:
    alice = PersonSettings(name="Alice Meyer", email="alice@example.org", github="ameyer")
    links = Links(configured().model_copy(update={"people": (alice,)}))
    read = links.read(link(links, person="ameyer"))
    for who in (approver("Alice Meyer"), approver("am", "alice@example.org"), approver("alice@example.org")):
        assert links.decider(read, who, run_id="run-1", head_sha=HEAD) == who
    assert "is for ameyer" in reason(403, links, read, approver("alice"))


def test_another_person_another_head_another_run_and_nobody_don_t() -> None:
    links = Links(configured())
    read = links.read(link(links))
    assert reason(403, links, read, approver("bob")) == "This link is for alice, and you are signed in as bob."
    assert reason(409, links, read, approver(), head_sha="b" * 40).startswith("This link is for aaaaaaaaaa, and")
    assert "an earlier run" in reason(409, links, read, approver(), run_id="run-2")
    assert reason(401, links, read, None) == "Sign in as alice to decide by this link."
    assert reason(401, links, read, Identity("alice", "none")).startswith("Sign in as alice")
    assert "needs the role approver" in reason(403, links, read, Identity("alice", "oidc", role=Role.VIEWER))


def test_where_links_alone_are_enough_the_link_is_who_decides() -> None:
    links = Links(configured(links=LinkSettings(decide_without_sign_in=True)))
    read = links.read(link(links))
    for nobody in (None, Identity("anonymous", "none")):
        who = links.decider(read, nobody, run_id="run-1", head_sha=HEAD)
        assert (who.name, who.via, who.role) == ("alice", "link", Role.APPROVER)
    named = configured(links=LinkSettings(decide_without_sign_in=True), roles=RoleSettings(viewers=("alice",)))
    assert "has no role that lets them decide" in reason(403, Links(named), Links(named).read(link(Links(named))), None)
    assert "is for alice" in reason(403, links, read, approver("bob"))
    assert "moved on" in reason(409, links, read, None, head_sha="b" * 40)


def test_the_address_is_that_of_the_web_and_needs_no_escaping() -> None:
    url = Links(configured(url="https://sdlc.example.org")).url(
        ROOT, workflow_id="acme-1", run_id="r", head_sha=HEAD, person="Zoë & Söhne/<x>"
    )
    assert url.startswith("https://sdlc.example.org/links/")
    assert set(url.rpartition("/")[2]) <= set(string.ascii_letters + string.digits + "-_.")


# --- secrets ----------------------------------------------------------------------------------


def test_two_processes_with_one_data_folder_read_each_other_s_links(settings: Settings) -> None:
    settings = settings.model_copy(update={"web": WebSettings()})
    assert Links(settings).read(link(Links(settings))).person == "alice"


def test_a_secret_that_is_made_is_the_owner_s_alone_and_the_same_next_time(settings: Settings) -> None:
    settings = settings.model_copy(update={"web": WebSettings()})
    made = web_secret(settings)
    file = settings.data_dir / "web" / "secret"
    assert len(made) >= 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) & 0o077 == 0
    assert web_secret(settings) == made
    assert [child.name for child in file.parent.iterdir()] == ["secret"]


def test_many_that_make_a_secret_at_once_get_the_same(tmp_path: Path) -> None:
    found: list[str] = []
    begin = threading.Barrier(8)

    def make() -> None:
        begin.wait(10)
        found.append(kept_secret(tmp_path / "web" / "secret"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_secret_that_others_may_read_is_refused_with_the_mend(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    kept_secret(file)
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"Others may read .*remove it"):
        kept_secret(file)


def test_a_secret_that_leads_elsewhere_or_is_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x" * 40)
    (tmp_path / "secret").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigurationError, match="can't be read or made"):
        kept_secret(tmp_path / "secret")
    os.close(os.open(tmp_path / "empty", os.O_CREAT | os.O_WRONLY, 0o600))
    with pytest.raises(ConfigurationError, match="is empty"):
        kept_secret(tmp_path / "empty")


def test_a_secret_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="32 characters"):
        WebSettings(secret=SecretStr("short"))

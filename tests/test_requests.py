"""What a run is asked to do: which repository, who started it, under which names."""

from __future__ import annotations

import pytest

from sdlc.config import Settings, load
from sdlc.config.github import GitHubSettings
from sdlc.config.intake import IntakeSettings, PersonSettings, RouteSettings
from sdlc.domain import Person, Ticket
from sdlc.errors import ConfigurationError
from sdlc.naming import coauthor_of
from sdlc.people import accounts_of, by_account, by_login, recognised, same
from sdlc.routing import route_of
from sdlc.runtime.intake_starts import named
from sdlc.runtime.requests import request_for

ROUTES = (
    RouteSettings(repository="acme/web", projects=("WEB",)),
    RouteSettings(repository="acme/parcel", base_branch="dev", components=("Parcel", "Rates")),
    RouteSettings(repository="acme/docs", labels=("docs",)),
)
ADA = PersonSettings(name="Ada Lovelace", email="ada@acme.example", github="octo-ada", jira="5b10a")


def a_ticket(key: str = "PAR-1", **more: object) -> Ticket:
    return Ticket.model_validate({"key": key, "title": "Rounds down", **more})


def some_settings(**more: object) -> Settings:
    return Settings(intake=IntakeSettings(repositories=ROUTES), people=(ADA,), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ticket", "repository"),
    [
        (a_ticket("WEB-7"), "acme/web"),
        (a_ticket("web-7"), "acme/web"),
        (a_ticket("WEB-X-7"), None),
        (a_ticket(components=("rates",)), "acme/parcel"),
        (a_ticket(labels=("Docs",)), "acme/docs"),
        (a_ticket("WEB-7", labels=("docs",)), "acme/web"),
        (a_ticket(), None),
    ],
)
def test_the_first_route_that_fits_is_the_tickets_repository(ticket: Ticket, repository: str | None) -> None:
    route = route_of(ticket, ROUTES)
    assert (route.repository if route else None) == repository


def test_a_ticket_without_a_repository_is_a_fault_of_the_configuration_that_says_what_to_do() -> None:
    with pytest.raises(
        ConfigurationError, match=r"No repository is configured for PAR-1; add one .*intake\.repositories"
    ):
        request_for(some_settings(), a_ticket(), Person(name="ada"))


def test_what_somebody_names_wins_over_the_trackers_word_and_that_over_the_routes() -> None:
    ticket = a_ticket(components=("Rates",), repository="acme/own")
    named = request_for(some_settings(), ticket, Person(name="x"), repository="acme/other", base_branch="next")
    assert (named.repository, named.base_branch) == ("acme/other", "next")
    assert request_for(some_settings(), ticket, Person(name="x")).repository == "acme/own"
    routed = request_for(some_settings(), a_ticket(components=("Rates",)), Person(name="x"))
    assert (routed.repository, routed.base_branch) == ("acme/parcel", "dev")


def test_a_starter_is_known_under_all_their_names() -> None:
    ticket = a_ticket("WEB-1")
    starter = named(Person(name="A. Lovelace", aliases=("5b10a",)), (ADA,), "jira")
    request = request_for(some_settings(), ticket, starter, bot=("robot[bot]",))
    assert request.starter == "Ada Lovelace"
    assert {"octo-ada", "5b10a"} <= set(request.starter_aliases)
    assert request.starter_email == "ada@acme.example"
    assert "robot[bot]" in request.policy.approval.bot_aliases


def test_an_account_of_one_service_is_nobody_of_another() -> None:
    assert by_account(("5B10A",), (ADA,), "jira") is not None
    assert by_account(("octo-ada",), (ADA,), "jira") is None
    assert by_account(("ada@acme.example", "Ada Lovelace"), (ADA,), "jira") is None
    starter = Person(name="somebody", aliases=("octo-ada",))
    assert request_for(some_settings(), a_ticket("WEB-1"), starter).starter == "somebody"


def test_a_login_that_is_anothers_name_is_not_taken_for_them() -> None:
    grace = PersonSettings(name="grace", github="ghopper")
    assert by_login("ghopper", (grace,)).names == ("ghopper", "grace")
    assert by_login("grace", (grace,)).names == ("grace on GitHub",)
    assert by_login("kay", (grace,)).names == ("kay",)


def test_commanders_are_accounts_in_the_end() -> None:
    grace = PersonSettings(name="grace", github="ghopper")
    assert accounts_of(("Grace", "Ada Lovelace", "acc-7"), (grace, ADA), "jira") == ("5b10a", "acc-7")
    assert accounts_of(("grace",), (grace, ADA), "github") == ("ghopper",)


def test_a_stranger_stays_who_they_are() -> None:
    stranger = Person(name="Eve", aliases=("eve",))
    assert recognised(stranger, (ADA,)) is stranger


@pytest.mark.parametrize(
    ("one", "other", "are"),
    [
        (("Ada",), ("ada ",), True),
        (("@octo-ada",), ("octo-ada",), True),
        (("",), ("",), False),
        ((), ("ada",), False),
        (("ada", "x"), ("y", "X"), True),
    ],
)
def test_names_are_compared_without_case_and_nothing_is_nobody(
    one: tuple[str, ...], other: tuple[str, ...], are: bool
) -> None:
    assert same(one, other) is are


@pytest.mark.parametrize(
    ("name", "email", "trailer"),
    [
        ("Ada Lovelace", "ada@acme.example", "Ada Lovelace <ada@acme.example>"),
        ("Ada <x>\nSigned-off-by: Eve", "ada@acme.example", "Ada x Signed-off-by: Eve <ada@acme.example>"),
        ("Ada", "", ""),
        ("Ada", "ada@acme.example\nTicket: X", ""),
        ("", "ada@acme.example", ""),
    ],
)
def test_a_trailer_holds_one_person_or_nobody(name: str, email: str, trailer: str) -> None:
    assert coauthor_of(name, email) == trailer


def test_the_usual_variables_of_the_services_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIRA_URL", "https://acme.example")
    monkeypatch.setenv("JIRA_TOKEN", "planted-jira-token")
    monkeypatch.setenv("GITHUB_TOKEN", "planted-github-token")
    settings = load()
    assert settings.jira.url == "https://acme.example"
    assert settings.jira.token is not None
    assert settings.github.token is not None
    assert "planted" not in repr(settings)


def test_what_is_configured_wins_over_them_and_an_app_needs_no_personal_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "planted-github-token")
    app = GitHubSettings.model_validate({"app_id": "12", "private_key": "x"})
    assert load(overrides={"github": {"app_id": "12", "private_key": "x"}}).github.token == app.token
    monkeypatch.setenv("SDLC_JIRA__URL", "https://jira.acme.example")
    monkeypatch.setenv("JIRA_URL", "https://other.example")
    assert load().jira.url == "https://jira.acme.example"

"""What goes wrong below PyGithub: the network, and what PyGithub itself trips over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import requests
from github import GithubException

from sdlc.errors import ConfigurationError, ServiceUnavailable
from sdlc.integrations.github.failures import failure_of

API_VERSION = "2022-11-28"
USER_AGENT = "vishkar-sdlc"


@contextlib.contextmanager
def guarded(doing: str) -> Iterator[None]:
    """What is raised in here becomes one of our errors; `doing` says what was wanted."""
    try:
        yield
    except GithubException as error:
        raise failure_of(error, doing=doing) from error
    except requests.exceptions.SSLError as error:
        raise ConfigurationError(
            f"The certificate of GitHub was not trusted while {doing}; name its authority's file in REQUESTS_CA_BUNDLE."
        ) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise ConfigurationError("github.base_url is no address; check it.") from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise ServiceUnavailable(
            f"GitHub was not reached while {doing} ({type(error).__name__}); it is tried again. "
            "If this stays, check github.base_url."
        ) from error
    except RuntimeError as error:
        # PyGithub's own word on a redirect to another host.
        raise ConfigurationError(f"GitHub sent us elsewhere while {doing} ({error}); check the address.") from error
    except (ValueError, AttributeError, TypeError) as error:
        # A page of a proxy where JSON should be, or JSON that was cut off.
        raise ServiceUnavailable(
            f"GitHub's answer could not be read while {doing} ({type(error).__name__}); it is tried again. "
            "If this stays, check github.base_url."
        ) from error

"""From a Jira ticket to an approved pull request, on Temporal."""

__version__ = "0.1.0"

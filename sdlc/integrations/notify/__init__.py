"""Telling people: always on this machine (`local`), and through the channels that are configured (`channels`)."""

from sdlc.integrations.notify.local import LocalNotifier

__all__ = ["LocalNotifier"]

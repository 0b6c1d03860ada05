"""Runs as the web sees them: a thin layer over Temporal and the documents that runs have written."""

from sdlc.web.gateway.card_page import CardView
from sdlc.web.gateway.deciding import Conflict
from sdlc.web.gateway.gateway import Gateway

__all__ = ["CardView", "Conflict", "Gateway"]

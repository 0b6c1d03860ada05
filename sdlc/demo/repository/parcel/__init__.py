"""Shipping quotes from a rate card."""

from parcel.money import format_cents
from parcel.parcels import Parcel
from parcel.quotes import Line, Quote, quote
from parcel.rates import RATE_CARD, zone_of
from parcel.tariff import Tariff, Tier

__all__ = [
    "RATE_CARD",
    "Line",
    "Parcel",
    "Quote",
    "Tariff",
    "Tier",
    "format_cents",
    "quote",
    "zone_of",
]

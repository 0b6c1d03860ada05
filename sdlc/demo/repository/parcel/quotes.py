"""Quotes: what a shipment of one or more parcels costs."""

from collections.abc import Iterable
from dataclasses import dataclass

from parcel.money import percent_of
from parcel.parcels import Parcel
from parcel.rates import RATE_CARD, zone_of

DISCOUNT_FROM_PARCELS = 3
DISCOUNT_PERCENT = 5


@dataclass(frozen=True)
class Line:
    """One parcel of a quote."""

    parcel: Parcel
    charged_grams: int
    cents: int


@dataclass(frozen=True)
class Quote:
    """An offer for a whole shipment."""

    zone: str
    lines: tuple[Line, ...]
    discount_cents: int = 0

    @property
    def total_cents(self) -> int:
        return sum(line.cents for line in self.lines) - self.discount_cents


def quote(parcels: Iterable[Parcel], country: str) -> Quote:
    """What it costs to send these parcels to that country.

    Raises ValueError if there is nothing to send or the country code isn't one.
    """
    zone = zone_of(country)
    tariff = RATE_CARD[zone]
    lines = tuple(
        Line(parcel, parcel.charged_grams, tariff.price(parcel.charged_grams)) for parcel in parcels
    )
    if not lines:
        raise ValueError("there is nothing to send")
    discount = 0
    if len(lines) >= DISCOUNT_FROM_PARCELS:
        discount = percent_of(sum(line.cents for line in lines), DISCOUNT_PERCENT)
    return Quote(zone, lines, discount)

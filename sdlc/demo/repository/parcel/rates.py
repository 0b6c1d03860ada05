"""The rate card of 2025, as in the README."""

from parcel.tariff import Tariff, Tier

LIMITS = (1_000, 2_000, 5_000, 10_000, 31_500)
"""Upper limits of the tiers in grams, the same in every zone."""

EUROPE = frozenset(
    {"AT", "BE", "CZ", "DK", "ES", "FI", "FR", "IE", "IT", "LU", "NL", "PL", "PT", "SE"}
)
HOME = "DE"


def _tariff(zone: str, *cents: int, overweight: int) -> Tariff:
    tiers = tuple(Tier(limit, price) for limit, price in zip(LIMITS, cents, strict=True))
    return Tariff(zone, tiers, overweight_cents=overweight)


RATE_CARD = {
    tariff.zone: tariff
    for tariff in (
        _tariff("domestic", 490, 590, 790, 1_090, 1_890, overweight=120),
        _tariff("europe", 1_190, 1_490, 1_790, 2_190, 2_590, overweight=240),
        _tariff("world", 1_990, 2_990, 4_490, 6_990, 11_990, overweight=650),
    )
}


def zone_of(country: str) -> str:
    """The zone of a country given by its two-letter code, in any case."""
    code = country.strip().upper()
    if len(code) != 2 or not code.isalpha():
        raise ValueError(f"{country!r} is not a two-letter country code")
    if code == HOME:
        return "domestic"
    return "europe" if code in EUROPE else "world"

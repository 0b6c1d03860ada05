"""Tiers of weight and what they cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tier:
    """Everything up to this weight costs this much."""

    up_to_grams: int
    cents: int


@dataclass(frozen=True)
class Tariff:
    """The prices of one zone, lightest tier first."""

    zone: str
    tiers: tuple[Tier, ...]
    overweight_cents: int
    """For each started kilogram above the last tier."""

    def __post_init__(self) -> None:
        limits = [tier.up_to_grams for tier in self.tiers]
        if not limits or limits != sorted(set(limits)):
            raise ValueError(f"tariff {self.zone}: tiers must be given and grow")

    def price(self, grams: int) -> int:
        """What a parcel of this charged weight costs, in cents."""
        return next(tier.cents for tier in self.tiers if grams < tier.up_to_grams)

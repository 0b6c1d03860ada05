import pytest

from parcel import RATE_CARD, Tariff, Tier

DOMESTIC = RATE_CARD["domestic"]


@pytest.mark.parametrize(
    ("grams", "cents"), [(1, 490), (999, 490), (1_001, 590), (4_000, 790), (31_000, 1_890)]
)
def test_a_weight_has_the_price_of_its_tier(grams: int, cents: int) -> None:
    assert DOMESTIC.price(grams) == cents


def test_every_zone_charges_more_for_more() -> None:
    for tariff in RATE_CARD.values():
        prices = [tariff.price(grams) for grams in range(500, 31_500, 500)]
        assert prices == sorted(prices)


@pytest.mark.parametrize("limits", [(), (2_000, 1_000), (1_000, 1_000)])
def test_tiers_must_grow(limits: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="grow"):
        Tariff("odd", tuple(Tier(limit, 100) for limit in limits), overweight_cents=10)

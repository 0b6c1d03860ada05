import pytest

from parcel import Parcel, quote, zone_of


@pytest.mark.parametrize(
    ("country", "zone"), [("DE", "domestic"), ("fr", "europe"), (" US ", "world")]
)
def test_a_country_has_its_zone(country: str, zone: str) -> None:
    assert zone_of(country) == zone


def test_what_is_no_country_code_is_refused() -> None:
    with pytest.raises(ValueError, match="two-letter"):
        zone_of("Germany")


def test_a_quote_adds_up_its_parcels() -> None:
    offer = quote([Parcel(1_200), Parcel(800, 60, 40, 30)], "FR")
    assert [line.cents for line in offer.lines] == [1_490, 2_590]
    assert offer.total_cents == 4_080


def test_three_parcels_get_five_percent_off() -> None:
    offer = quote([Parcel(500)] * 3, "DE")
    assert offer.discount_cents == 74
    assert offer.total_cents == 1_396


def test_an_empty_shipment_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to send"):
        quote([], "DE")

import pytest

from parcel.money import format_cents, percent_of


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0.00"), (5, "0.05"), (1234, "12.34"), (-250, "-2.50")]
)
def test_cents_are_shown_with_a_point(cents: int, text: str) -> None:
    assert format_cents(cents) == text


@pytest.mark.parametrize(
    ("cents", "percent", "expected"), [(1000, 5, 50), (990, 5, 50), (989, 5, 49)]
)
def test_percentages_are_rounded_half_up(cents: int, percent: int, expected: int) -> None:
    assert percent_of(cents, percent) == expected

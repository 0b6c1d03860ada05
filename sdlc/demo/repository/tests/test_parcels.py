import pytest

from parcel import Parcel


def test_a_dense_parcel_is_charged_by_weight() -> None:
    assert Parcel(3_000, 20, 20, 10).charged_grams == 3_000


def test_a_bulky_parcel_is_charged_by_volume() -> None:
    assert Parcel(800, 60, 40, 30).charged_grams == 14_400


def test_a_parcel_without_dimensions_is_charged_by_weight() -> None:
    assert Parcel(800).charged_grams == 800


@pytest.mark.parametrize("grams", [0, -1])
def test_a_parcel_weighs_something(grams: int) -> None:
    with pytest.raises(ValueError, match="weighs something"):
        Parcel(grams)


def test_dimensions_are_not_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        Parcel(100, -1, 2, 3)

import pytest

from parcel.__main__ import main


def test_a_quote_is_printed_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["FR", "1200", "800:60x40x30"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "  1.200 kg       14.90",
        " 14.400 kg       25.90",
        "total            40.80",
    ]


def test_a_discount_has_its_own_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["DE", "500", "500", "500"]) == 0
    assert "discount         -0.74" in capsys.readouterr().out


def test_a_wrong_parcel_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["DE", "heavy"]) == 2
    assert "'heavy' is not GRAMS" in capsys.readouterr().err

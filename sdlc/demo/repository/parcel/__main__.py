"""`python -m parcel COUNTRY PARCEL…` prints a quote."""

import argparse
import re
import sys
from collections.abc import Sequence

from parcel.money import format_cents
from parcel.parcels import Parcel
from parcel.quotes import Quote, quote

PARCEL = re.compile(r"(?P<grams>\d+)(:(?P<length>\d+)x(?P<width>\d+)x(?P<height>\d+))?")


def parse_parcel(text: str) -> Parcel:
    """A parcel from `GRAMS` or `GRAMS:LxWxH`."""
    match = PARCEL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not GRAMS or GRAMS:LxWxH")
    size = [int(match[name] or 0) for name in ("length", "width", "height")]
    return Parcel(int(match["grams"]), *size)


def render(offer: Quote) -> str:
    """The quote as a small table."""
    rows = [
        f"{line.charged_grams / 1000:7.3f} kg {format_cents(line.cents):>11}"
        for line in offer.lines
    ]
    if offer.discount_cents:
        rows.append(f"discount   {format_cents(-offer.discount_cents):>11}")
    rows.append(f"total      {format_cents(offer.total_cents):>11}")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="parcel", description="What does it cost to send this?")
    parser.add_argument("country", help="two-letter code, such as FR")
    parser.add_argument("parcels", nargs="+", metavar="PARCEL", help="GRAMS or GRAMS:LxWxH in cm")
    options = parser.parse_args(arguments)
    try:
        offer = quote([parse_parcel(text) for text in options.parcels], options.country)
    except ValueError as error:
        print(f"parcel: {error}", file=sys.stderr)
        return 2
    print(render(offer))
    return 0


if __name__ == "__main__":
    sys.exit(main())

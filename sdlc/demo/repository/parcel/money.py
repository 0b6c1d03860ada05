"""Money is an int of cents everywhere; only people see it with a point."""


def format_cents(cents: int) -> str:
    """`1234` as `12.34`."""
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}{whole}.{rest:02}"


def percent_of(cents: int, percent: int) -> int:
    """That many percent of an amount that isn't negative, rounded half up to a whole cent."""
    return (cents * percent + 50) // 100

"""What is sent, and the weight that is charged for it."""

from dataclasses import dataclass

CM3_PER_KG = 5_000
"""Volume that is charged like one kilogram."""


@dataclass(frozen=True)
class Parcel:
    """One parcel. Without all three dimensions it is charged by weight alone."""

    grams: int
    length_cm: int = 0
    width_cm: int = 0
    height_cm: int = 0

    def __post_init__(self) -> None:
        if self.grams <= 0:
            raise ValueError(f"a parcel weighs something, not {self.grams} g")
        if min(self.length_cm, self.width_cm, self.height_cm) < 0:
            raise ValueError("a parcel's dimensions can't be negative")

    @property
    def volume_grams(self) -> int:
        """The weight that the volume stands for, in whole grams."""
        return self.length_cm * self.width_cm * self.height_cm * 1_000 // CM3_PER_KG

    @property
    def charged_grams(self) -> int:
        """Weight or volume, whichever is more."""
        return max(self.grams, self.volume_grams)

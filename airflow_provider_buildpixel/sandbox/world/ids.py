"""Ids of 24 characters that sort by creation time."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

# Both alphabets are in ASCII order, so that ids sort like the numbers that they encode.
LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
PUNCTUATED = "-" + string.digits + string.ascii_uppercase + "_" + string.ascii_lowercase


class IdGenerator:
    """Generates ids, each greater than the one before."""

    def __init__(self, rng: random.Random, alphabet: str = LETTERS) -> None:
        self._rng = rng
        self._alphabet = alphabet
        self._millisecond = 0
        self._count = 0

    def make(self, at: float) -> str:
        """Return the next id: ten characters of time, four of sequence, ten random ones."""
        millisecond = int(at * 1000)
        if millisecond > self._millisecond:
            self._millisecond, self._count = millisecond, 0
        else:
            self._count += 1
        tail = "".join(self._rng.choices(self._alphabet, k=10))
        return self._digits(self._millisecond, 10) + self._digits(self._count, 4) + tail

    def _digits(self, number: int, width: int) -> str:
        base, digits = len(self._alphabet), []
        for _ in range(width):
            number, digit = divmod(number, base)
            digits.append(self._alphabet[digit])
        return "".join(reversed(digits))

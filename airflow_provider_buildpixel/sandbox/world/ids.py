"""Ids of 24 characters that sort by creation time, to the millisecond or to the second."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

# All alphabets are in ASCII order, so that ids sort like the numbers that they encode.
HEX = "0123456789abcdef"
LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
PUNCTUATED = "-" + string.digits + string.ascii_uppercase + "_" + string.ascii_lowercase


class IdGenerator:
    """Generates ids, each greater than the one before, or equal to it in the first 8 characters.

    :param per_second: ids of one second do not sort among themselves, as those of MongoDB.
    """

    def __init__(
        self, rng: random.Random, alphabet: str = LETTERS, *, per_second: bool = False
    ) -> None:
        self._rng = rng
        self._alphabet = alphabet
        self._per_second = per_second
        self._millisecond = 0
        self._count = 0

    def make(self, at: float) -> str:
        """Return the next id: ten characters of time, four of sequence, ten random ones."""
        if self._per_second:
            return self.make_past(at)
        millisecond = int(at * 1000)
        if millisecond > self._millisecond:
            self._millisecond, self._count = millisecond, 0
        else:
            self._count += 1
        return self._digits(self._millisecond, 10) + self._digits(self._count, 4) + self._tail(10)

    def make_past(self, at: float) -> str:
        """Return an id of any instant, which may be before that of the last id."""
        if self._per_second:
            return self._digits(int(at), 8) + self._tail(16)
        return self._digits(int(at * 1000), 10) + self._digits(0, 4) + self._tail(10)

    def _tail(self, length: int) -> str:
        return "".join(self._rng.choices(self._alphabet, k=length))

    def _digits(self, number: int, width: int) -> str:
        base, digits = len(self._alphabet), []
        for _ in range(width):
            number, digit = divmod(number, base)
            digits.append(self._alphabet[digit])
        return "".join(reversed(digits))

"""Chance that is the same everywhere."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")


class Dice:
    """Draws that hang on the seed and the purpose alone, so that one purpose never disturbs another.

    Only ``random.random`` is used: it is the one method whose sequence Python promises not to change.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        self.random = random.Random(f"limner {purpose} {seed}").random

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def chance(self, share: float) -> bool:
        return self.random() < share

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def weighted(self, choices: Mapping[T, float]) -> T:
        """One of the keys, as often as its value says."""
        left = self.random() * sum(choices.values())
        for choice, weight in choices.items():
            left -= weight
            if left < 0:
                return choice
        return choice

    def shuffled(self, choices: Sequence[T]) -> list[T]:
        order = sorted((self.random(), at) for at in range(len(choices)))
        return [choices[at] for _, at in order]

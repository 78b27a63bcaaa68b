"""Text that ends at given strings, none of which is ever shown, not even its beginning."""

from __future__ import annotations

from collections.abc import Sequence

from limner.core.errors import ConfigError


class StopFilter:
    """Lets text through up to the first of some strings.

    What may yet become one of them is held back; so a string that comes in pieces is caught whole.

    Raises:
        ConfigError: one of the strings is empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.held = ""
        self.stopped = False
        if "" in self.stops:
            raise ConfigError("stop is '', but every text has that in it. Leave it out or give the text to stop at.")

    def push(self, text: str) -> str:
        """More text; returns what may be shown by now."""
        if not self.stops or self.stopped:
            return "" if self.stopped else text
        held = self.held + text
        found = [(place + len(stop), place) for stop in self.stops if (place := held.find(stop)) >= 0]
        if found:  # the one that is complete first, however the text was cut into pieces
            self.held, self.stopped = "", True
            return held[: min(found)[1]]
        keep = max(_overlap(held, stop) for stop in self.stops)
        self.held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def finish(self) -> str:
        """No more text comes; returns what was held back."""
        held, self.held = self.held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of ``text`` are the beginning of ``stop``."""
    return next(size for size in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:size]))

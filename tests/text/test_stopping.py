"""Stop strings, however the text is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.core.errors import ConfigError
from limner.text.stopping import StopFilter

letters = st.text("ab", max_size=14)
stops = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


def first_end(text: str, stops: list[str]) -> str:
    """The text up to the stop string that is complete first; of two, the longer."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@given(st.lists(letters, max_size=6), stops)
def test_it_shows_the_text_up_to_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    gate = StopFilter(stops)
    whole = "".join(pieces)
    shown = ""
    for piece in pieces:
        shown += gate.push(piece)
        assert first_end(whole, stops).startswith(shown)
    assert shown + gate.finish() == first_end(whole, stops)
    assert gate.stopped == (first_end(whole, stops) != whole)


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    gate = StopFilter(["\n\nThe end"])
    assert gate.push("It was late.\n") == "It was late."
    assert gate.push("\nThey slept") == "\n\nThey slept"
    assert gate.push("\n\nThe e") == ""
    assert gate.finish() == "\n\nThe e"


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(ConfigError, match="stop is ''"):
        StopFilter(["x", ""])

"""Numbers that a person gives: of a layer, a head, a look, a place in a text."""

from __future__ import annotations

from limner.core.errors import ConfigError, counted


def check_number(what: str, number: int, count: int, thing: str, whose: str = "the model") -> None:
    """Nothing, if there is such a one, counted from 0.

    Args:
        what: the setting that holds the number.
        count: how many there are.
        thing: what one of them is called.
    Raises:
        ConfigError: there is none.
    """
    if not 0 <= number < count:
        raise ConfigError(f"{what} is {number}, but {whose} has {counted(count, thing)}. Choose from 0 to {count - 1}.")


def check_place(place: int, count: int, whose: str = "the text") -> int:
    """A place in a text of so many tokens, counted from 0; negative ones count from the end.

    Raises:
        ConfigError: there is no such token.
    """
    if not -count <= place < count:
        raise ConfigError(
            f"place is {place}, but {whose} has {counted(count, 'token')}. "
            f"Choose from 0 to {count - 1}, or -1 for the last."
        )
    return place % count

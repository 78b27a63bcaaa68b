"""What verbs that read a prompt share: where the prompt comes from, and the model that reads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from limner.core.errors import ConfigError, DataError, WeightsError

if TYPE_CHECKING:
    from limner.picture.generator import PictureGenerator
    from limner.text.generator import TextGenerator

DEFAULT_MODEL = "story"
DEFAULT_PAINTER = "picturebook"
BLANK = 'but there must be something to go on from. Give a text, such as "The cat".'


def read_prompt(given: str | None, *, blank: str = BLANK) -> str:
    """The argument, or what is piped in, without the last newline, which is the shell's and not the text's.

    Left out at a terminal, it is empty: a text then begins from its beginning.

    Args:
        blank: what to say where there is nothing to read, after what the prompt is.
    Raises:
        DataError: it is given but empty or nothing but white space, or what is piped in is not UTF-8.
    """
    if given is None:
        if sys.stdin is None or sys.stdin.isatty():
            return ""
        given = _piped()
    if not given.strip():
        raise DataError(f"the prompt is {'empty' if not given else 'nothing but white space'}, {blank}")
    return given


def _piped() -> str:
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} of standard input is 0x{data[error.start]:02X}, but that is not UTF-8. "
            "Convert it first, for example: iconv -t utf-8."
        ) from None


def open_generator(
    name: str, *, device: str = "cpu", dtype: str | None = None, threads: int | None = None
) -> TextGenerator:
    """The model with this name or path, which must be one that writes.

    Raises:
        ConfigError: it is an encoder, or makes pictures.
        WeightsError: there is no such model, or it is damaged.
    """
    from limner.models import load
    from limner.text.generator import TextGenerator

    model = load(name, device=device, dtype=dtype, threads=threads)
    if not isinstance(model, TextGenerator):
        paints = type(model).__name__ == "PictureGenerator"  # by name: a verb for texts need not load what paints
        does = "makes pictures (`limner paint`)" if paints else "only reads texts (an encoder)"
        raise ConfigError(f"the model is {name!r}, but that {does}. Choose one that writes: `limner models`.")
    return model


def open_painter(
    name: str, *, device: str = "cpu", dtype: str | None = None, threads: int | None = None
) -> PictureGenerator:
    """The model with this name or path, which must be one that paints.

    Raises:
        ConfigError: it is a text model.
        WeightsError: there is no such model, or it is damaged.
    """
    from limner.models import catalogue, load
    from limner.picture.generator import PictureGenerator

    if name == DEFAULT_PAINTER and not any(entry.name == name for entry in catalogue()) and not Path(name).exists():
        raise WeightsError(
            f"the model is {name!r}, but it is not installed here. Train one of your own with `limner train picture`, and "
            "name its folder with --model."
        )
    model = load(name, device=device, dtype=dtype, threads=threads)
    if not isinstance(model, PictureGenerator):
        raise ConfigError(
            f"the model is {name!r}, but that is for texts (`limner write`). Choose one that paints: `limner models`."
        )
    return model


def plain(text: str) -> str:
    """The text without control characters that a terminal would obey; new lines and tabs stay."""
    return "".join(c if c in "\n\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160) else "�" for c in text)


def quoted(text: str) -> str:
    """The text in quotes, so that spaces are seen, new lines and the like as \\n."""
    return "'" + "".join(repr(c)[1:-1] if plain(c) != c or c in "\n\t" else c for c in text) + "'"

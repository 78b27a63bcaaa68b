"""Frozen dataclasses to plain JSON values and back, strictly.

A field whose type is a union of dataclasses is written with ``kind``, the name of the one it is. Reading
refuses what it does not know, and says where it stands and what was probably meant.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from limner.core.errors import ConfigError, suggest

T = TypeVar("T")


def write_settings(settings: Any) -> dict[str, Any]:
    """Plain JSON values of a dataclass; ``read_settings`` reads them back to an equal one."""
    hints = get_type_hints(type(settings))
    return {f.name: _plain(hints[f.name], getattr(settings, f.name)) for f in fields(settings)}


def read_settings(expected: type[T], values: Any, path: str) -> T:
    """Read what ``write_settings`` wrote.

    Args:
        path: what the settings are called in messages.
    Raises:
        ConfigError: an unknown, missing or ill-typed entry, named with its path.
    """
    return _read_dataclass(expected, values, path)


def _variants(expected: Any) -> tuple[Any, ...]:
    """The members of a union of two or more dataclasses."""
    members = get_args(expected) if get_origin(expected) in (Union, UnionType) else ()
    classes = tuple(member for member in members if is_dataclass(member))
    return classes if len(classes) > 1 else ()


def _plain(expected: Any, value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        plain = write_settings(value)
        return {"kind": type(value).__name__, **plain} if _variants(expected) else plain
    if isinstance(value, tuple):
        return [_plain(get_args(expected)[0], entry) for entry in value]
    return value


def _read(expected: Any, value: Any, path: str) -> Any:
    origin = get_origin(expected)
    if origin in (Union, UnionType):
        return _read_union(get_args(expected), value, path)
    if origin is Literal:
        if value not in get_args(expected):
            raise ConfigError(
                f"{path} is {value!r}, but it is one of a few names. {suggest(str(value), get_args(expected))}"
            )
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{path} is {value!r}, but a list is needed. Put it in brackets.")
        return tuple(_read(get_args(expected)[0], entry, f"{path}[{i}]") for i, entry in enumerate(value))
    if is_dataclass(expected) and isinstance(expected, type):
        return _read_dataclass(expected, value, path)
    if origin is dict:  # read by whoever knows its kinds
        expected = dict
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "an object"}
        wanted = kinds.get(expected, expected.__name__)
        raise ConfigError(f"{path} is {value!r}, but it is {wanted}. Correct the value.")
    return value


def _read_union(choices: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and NoneType in choices:
        return None
    rest = [choice for choice in choices if choice is not NoneType]
    if len(rest) == 1:
        return _read(rest[0], value, path)
    if get_origin(rest[0]) is Literal:
        return _read(rest[0], value, path)
    kinds = {choice.__name__: choice for choice in rest}
    kind = value.get("kind") if isinstance(value, dict) else value
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(f"{path}.kind is {kind!r}, which is no such part. {suggest(str(kind), kinds)}")
    settings = {k: v for k, v in value.items() if k != "kind"} if isinstance(value, dict) else {}
    return _read_dataclass(kinds[kind], settings, path)


def _read_dataclass(expected: type[T], value: Any, path: str) -> T:
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is {value!r}, but a group of settings is needed. Write it as an object.")
    hints = get_type_hints(expected)
    known = {f.name: f for f in fields(expected)}  # type: ignore[arg-type]
    value = {k: v for k, v in value.items() if not (k == "kind" and v == expected.__name__)}
    for name in value:
        if name not in known:
            raise ConfigError(f"{path}.{name} is set, but there is no such setting. {suggest(name, known)}")
    for name, entry in known.items():
        if name not in value and entry.default is MISSING and entry.default_factory is MISSING:
            raise ConfigError(f"{path}.{name} is missing, but it has no default. Give it.")
    return expected(**{name: _read(hints[name], entry, f"{path}.{name}") for name, entry in value.items()})

"""Published families. Each is one file here, named as its ``model_type``, that holds a ``FAMILY``."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from limner.core.errors import ConfigError, suggest

if TYPE_CHECKING:
    from limner.weights.foreign import Family


@cache
def families() -> dict[str, Family]:
    """Every family by its ``model_type``."""
    found = [import_module(f"{__name__}.{module.name}").FAMILY for module in pkgutil.iter_modules(__path__)]
    return {family.model_type: family for family in found}


def family(model_type: str) -> Family:
    """The family of a ``model_type``, or of the part that we have of such a model (of ``clip``, what reads texts).

    Raises:
        ConfigError: we do not have it.
    """
    for known in families().values():
        if model_type in known.within:
            return known
    if model_type not in families():
        raise ConfigError(
            f"model_type is {model_type!r}, but limner has no such family. {suggest(model_type, families())}"
        )
    return families()[model_type]

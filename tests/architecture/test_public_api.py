"""The public names: all there, all documented, seen by type checkers."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import limner

INIT = Path(limner.__file__)


@pytest.mark.parametrize("name", limner.__all__)
def test_every_public_name_can_be_reached(name: str) -> None:
    value = getattr(limner, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), f"limner.{name} has no docstring"
    assert name in dir(limner)


def test_type_checkers_see_the_same_names() -> None:
    (block,) = (node for node in ast.parse(INIT.read_text()).body if isinstance(node, ast.If))
    seen = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(limner.__all__) - {"__version__"}


def test_an_unknown_name_is_named_in_the_error() -> None:
    with pytest.raises(AttributeError, match="'lood'"):
        limner.lood  # noqa: B018


def test_the_version_is_the_same_everywhere() -> None:
    import tomllib
    from importlib.metadata import version

    root = INIT.parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert limner.__version__ == project["version"] == version("limner")
    assert f"## [{limner.__version__}]" in (root / "CHANGELOG.md").read_text()

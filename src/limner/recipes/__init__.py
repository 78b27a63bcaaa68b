"""Recipes: complete named runs, each of which makes one of the bundled models again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.core.errors import ConfigError, suggest

if TYPE_CHECKING:
    from limner.train.text import TextPlan

RECIPES = {
    "shakespeare": "plays in the manner of Shakespeare, letter by letter",
    "story": "little stories in a small child's words",
}


def recipe(name: str) -> TextPlan:
    """The plan of a bundled model's run; change it with ``plan.override``.

    Raises:
        ConfigError: there is none of this name; the nearest is named.
    """
    if name not in RECIPES:
        raise ConfigError(f"the recipe is {name!r}, but there is none of this name. {suggest(name, RECIPES)}")
    if name == "story":
        from limner.recipes.story import story

        return story()
    from limner.recipes.shakespeare import shakespeare

    return shakespeare()

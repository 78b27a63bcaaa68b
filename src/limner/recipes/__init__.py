"""Recipes: complete named runs, each of which makes one of the bundled models again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.core.errors import ConfigError, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limner.train.autoencoder import AutoencoderPlan
    from limner.train.picture import PicturePlan
    from limner.train.text import TextPlan

RECIPES = {
    "shakespeare": "plays in the manner of Shakespeare, letter by letter",
    "story": "little stories in a small child's words",
}
PICTURE_RECIPES = {
    "picturebook": "animals in hats, 128 × 128 pixels",
    "picturebook-mini": "the same at 32 × 32, in ten minutes",
}
AUTOENCODER_RECIPES = {
    "picturebook-autoencoder": "small pictures drawn large, which picturebook is trained with",
}


def recipe(name: str) -> TextPlan:
    """The plan of a bundled text model's run; change it with ``plan.override``.

    Raises:
        ConfigError: there is none of this name; the nearest is named.
    """
    _known(name, RECIPES)
    if name == "story":
        from limner.recipes.story import story

        return story()
    from limner.recipes.shakespeare import shakespeare

    return shakespeare()


def picture_recipe(name: str) -> PicturePlan:
    """The plan of a picture model's run; change it with ``plan.override``.

    Raises:
        ConfigError: there is none of this name; the nearest is named.
    """
    _known(name, PICTURE_RECIPES)
    from limner.recipes.picturebook import picturebook, picturebook_mini

    return picturebook() if name == "picturebook" else picturebook_mini()


def autoencoder_recipe(name: str) -> AutoencoderPlan:
    """The plan of an autoencoder's run; change it with ``plan.override``.

    Raises:
        ConfigError: there is none of this name; the nearest is named.
    """
    _known(name, AUTOENCODER_RECIPES)
    from limner.recipes.picturebook import picturebook_autoencoder

    return picturebook_autoencoder()


def any_recipe(name: str) -> TextPlan | PicturePlan | AutoencoderPlan:
    """The plan of a recipe of any kind.

    Raises:
        ConfigError: there is none of this name; the nearest is named.
    """
    _known(name, RECIPES | PICTURE_RECIPES | AUTOENCODER_RECIPES)
    if name in AUTOENCODER_RECIPES:
        return autoencoder_recipe(name)
    return picture_recipe(name) if name in PICTURE_RECIPES else recipe(name)


def _known(name: str, recipes: Mapping[str, str]) -> None:
    if name not in recipes:
        raise ConfigError(f"the recipe is {name!r}, but there is none of this name. {suggest(name, recipes)}")

"""Scenes in words: as people type them for training, and in two fixed ways for measuring.

A caption may leave out any attribute but never says a wrong one, and with two animals it always says whose hat is
whose. The templates of ``prompt(scene, "paraphrase")`` never occur in a caption, though each of their words does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from limner.picture.world.dice import Dice
from limner.picture.world.vocabulary import CATS, DOGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limner.picture.world.scene import Figure, Relation, Scene

Style = Literal["plain", "paraphrase"]

# The first word of each row is the plain one and is said most often.
ANIMAL_WORDS = {
    "German Shepherd": ("German Shepherd", "German Shepherd dog", "Alsatian"),
    "Dalmatian": ("Dalmatian", "Dalmatian dog"),
    "Poodle": ("Poodle", "Poodle dog"),
    "Corgi": ("Corgi", "Corgi dog"),
    "Husky": ("Husky", "Husky dog", "Siberian Husky"),
    "Beagle": ("Beagle", "Beagle dog"),
    "Golden Retriever": ("Golden Retriever", "Golden Retriever dog"),
    "Dachshund": ("Dachshund", "Dachshund dog", "sausage dog"),
    "black cat": ("black cat", "little black cat"),
    "ginger cat": ("ginger cat", "orange cat", "ginger tabby cat"),
    "kitten": ("kitten", "little kitten", "grey kitten", "tabby kitten"),
    "bear": ("bear", "brown bear"),
    "panda": ("panda", "panda bear"),
    "fox": ("fox", "little fox"),
    "rabbit": ("rabbit", "bunny", "bunny rabbit"),
    "raccoon": ("raccoon", "little raccoon"),
    "koala": ("koala", "koala bear"),
    "squirrel": ("squirrel", "little squirrel"),
}
HAT_WORDS = {
    "baseball cap": ("baseball cap", "cap"),
    "crown": ("crown",),
    "top hat": ("top hat",),
    "beanie": ("beanie", "woolly hat", "knitted hat"),
    "cowboy hat": ("cowboy hat", "stetson"),
    "party hat": ("party hat", "birthday hat"),
    "chef hat": ("chef hat", "chef's hat", "cook's hat"),
    "wizard hat": ("wizard hat", "wizard's hat"),
}
COLOUR_WORDS = {"purple": ("purple", "violet")}
POSE_WORDS = {
    "sitting": ("sitting", "that sits", "sitting down"),
    "standing": ("standing", "that stands", "standing up"),
    "climbing a tree": ("climbing a tree", "climbing up a tree", "that climbs a tree"),
    "scaling a branch": ("scaling a branch", "climbing along a branch", "walking on a branch"),
}
BACKGROUND_WORDS = {
    "meadow": ("in a meadow", "in the meadow", "on a green meadow"),
    "beach": ("on a beach", "on the beach", "at the beach"),
    "city street": ("on a city street", "in the city", "on a street"),
    "forest": ("in a forest", "in the forest", "in the woods"),
    "snowy mountains": ("in the snowy mountains", "in snowy mountains", "in the snow"),
    "desert": ("in a desert", "in the desert"),
    "living room": ("in a living room", "in the living room", "indoors"),
    "garden": ("in a garden", "in the garden"),
}
TIME_WORDS = {
    "morning": ("in the morning", "early in the morning", "on a bright morning"),
    "noon": ("at noon", "at midday"),
    "sunset": ("at sunset", "in the evening sun"),
    "night": ("at night", "by night"),
}
RELATION_WORDS = {
    "left of": ("to the left of", "left of", "on the left of"),
    "next to": ("next to", "beside"),
    "on": ("is sitting on", "sits on", "sits on top of", "is sitting on the back of"),
}
WORN = (  # animal first, as most people say it
    "{animal} wearing {hat}",
    "{animal} in {hat}",
    "{animal} with {hat}",
    "{animal} that wears {hat}",
    "{animal} with {hat} on its head",
    "{animal} wearing {hat} on its head",
)
WORN_HAT_FIRST = ("{hat} on {animal}", "{hat} worn by {animal}", "{hat} on the head of {animal}")
OPENINGS = (
    "a picture of {}",
    "picture of {}",
    "a drawing of {}",
    "an illustration of {}",
    "a picture book drawing of {}",
    "there is {}",
    "{} in a picture book",
)
# Held back from training, word for word.
PARAPHRASES = (
    "{hat} that {animal} wears on its head",
    "on the head of {animal} is {hat}",
    "{animal} with its head in {hat}",
)
PARAPHRASED_RELATIONS = {
    "left of": "there is {second}, and to the left is {first}",
    "next to": "there is {second}, and beside it is {first}",
    "on": "there is {second}, and on its back sits {first}",
}


class _Speaker:
    """The choices of one caption: what is said at all, with which words, and with articles or without."""

    def __init__(self, dice: Dice, figures: int) -> None:
        self.dice = dice
        self.articles = not dice.chance(0.2)
        self.pair = figures == 2

    def word(self, words: Sequence[str]) -> str:
        return words[0] if self.dice.chance(0.6) else self.dice.pick(words)

    def noun(self, words: str) -> str:
        if not self.articles:
            return words
        return f"the {words}" if self.dice.chance(0.06) else with_article(words)

    def animal(self, figure: Figure) -> str:
        if not self.pair and self.dice.chance(0.04):  # the breed unsaid; with two it might be either
            return "dog" if figure.animal in DOGS else "cat" if figure.animal in CATS else "animal"
        return self.word(ANIMAL_WORDS[figure.animal])

    def hat(self, figure: Figure) -> str | None:
        """Colour and kind, or only one of them, or None."""
        if figure.hat is None or figure.colour is None or self.dice.chance(0.06):
            return None
        colour = self.word(COLOUR_WORDS.get(figure.colour, (figure.colour,)))
        kind = self.word(HAT_WORDS[figure.hat])
        if self.dice.chance(0.08):
            return kind
        if figure.hat != "crown" and self.dice.chance(0.03):
            return f"{colour} hat"
        return f"{colour} {kind}"

    def figure(self, figure: Figure, *, pose: bool, hat_first: bool) -> str:
        """One animal and what it wears; with ``hat_first``, the hat may be named before its wearer."""
        animal, hat = self.animal(figure), self.hat(figure)
        pose_words = self.word(POSE_WORDS[figure.pose]) if pose else None
        if pose_words and pose_words in ("sitting", "standing") and self.dice.chance(0.3):
            animal, pose_words = f"{pose_words} {animal}", None
        named = self.noun(animal)
        if hat is None:
            bare = figure.hat is None and self.dice.chance(0.2)
            worn = f"{named} without a hat" if bare else named
        elif hat_first and self.dice.chance(0.2):
            worn = self.dice.pick(WORN_HAT_FIRST).format(animal=named, hat=self.noun(hat))
        elif pose_words and self.dice.chance(0.25):
            pose_words, named = None, f"{named} {pose_words}"
            worn = self.dice.pick(WORN[1:3]).format(animal=named, hat=self.noun(hat))
        else:
            worn = self.dice.pick(WORN).format(animal=named, hat=self.noun(hat))
        return f"{worn} {pose_words}" if pose_words else worn


def caption(scene: Scene, seed: int) -> str:
    """A caption as somebody might type it; another seed, another wording.

    Attributes are left unsaid at random, the animals never.
    """
    speaker = _Speaker(Dice(seed, "caption"), len(scene.figures))
    dice = speaker.dice
    if scene.relation is None:
        text = speaker.figure(scene.figures[0], pose=dice.chance(0.6), hat_first=True)
    else:
        text = _two_figures(scene, speaker)
    setting = []
    if dice.chance(0.65):
        setting.append(speaker.word(BACKGROUND_WORDS[scene.background]))
    if dice.chance(0.5):
        setting.append(speaker.word(TIME_WORDS[scene.time]))
        if dice.chance(0.2):
            setting.reverse()
    if setting and dice.chance(0.12):
        text = f"{setting.pop()}, {' '.join([text, *setting])}"
    else:
        text = " ".join([text, *setting])
    if scene.relation != "on" and dice.chance(0.2):
        text = speaker.word(OPENINGS).format(text)
    return _typed(text, dice)


def _two_figures(scene: Scene, speaker: _Speaker) -> str:
    dice = speaker.dice
    relation = scene.relation
    assert relation is not None
    if relation == "on":
        # A verb between the two: 'a cat with a crown on a fox' could be a crown on a fox. The poses are in the verb.
        first, second = (speaker.figure(figure, pose=False, hat_first=False) for figure in scene.figures)
        if dice.chance(0.15):
            return f"{second} carrying {first}"
        if dice.chance(0.1):
            return f"{first} and {second}"
        return f"{first} {speaker.word(RELATION_WORDS['on'])} {second}"
    first, second = (speaker.figure(figure, pose=dice.chance(0.3), hat_first=False) for figure in scene.figures)
    if dice.chance(0.12):
        return f"{first} and {second}" if dice.chance(0.6) else f"{second} and {first}"
    if dice.chance(0.08):
        return f"{second} and {RELATION_WORDS[relation][0]} it {first}"
    if relation == "left of" and dice.chance(0.2):
        return f"{second} to the right of {first}"
    said: Relation = "next to" if relation == "left of" and dice.chance(0.12) else relation
    if said == "next to" and dice.chance(0.3):
        first, second = second, first
    return f"{first} {speaker.word(RELATION_WORDS[said])} {second}"


def _typed(text: str, dice: Dice) -> str:
    """With the capital letters and the full stop that people do or do not give."""
    how = dice.random()
    if how < 0.35:
        text = text.lower()
    elif how < 0.37:
        text = text.upper()
    elif how < 0.65:
        text = text[0].upper() + text[1:]
        if dice.chance(0.4):
            text += "."
    return text


def prompt(
    scene: Scene, style: Style = "plain", *, pose: bool = False, background: bool = False, time: bool = False
) -> str:
    """A fixed sentence that names every animal and what it wears, to ask a model for the scene.

    Args:
        scene: what to say.
        style: ``plain`` is the canonical sentence, of which training saw many; ``paraphrase`` says the same in words
            that training saw, in an order that it did not.
        pose: say also what the animals do.
        background: say also where.
        time: say also when.
    """
    parts = [_prompt_figure(figure, style, scene.seed + at, pose) for at, figure in enumerate(scene.figures)]
    if scene.relation is None:
        text = parts[0]
    elif style == "paraphrase":
        text = PARAPHRASED_RELATIONS[scene.relation].format(
            **dict(zip(("first", "second"), (_prompt_figure(f, "plain", 0, pose) for f in scene.figures), strict=True))
        )
    else:
        text = f"{parts[0]} {RELATION_WORDS[scene.relation][0]} {parts[1]}"
    words = [BACKGROUND_WORDS[scene.background][0]] * background + [TIME_WORDS[scene.time][0]] * time
    return " ".join([text, *words])


def _prompt_figure(figure: Figure, style: Style, seed: int, pose: bool) -> str:
    animal = with_article(ANIMAL_WORDS[figure.animal][0])
    if figure.hat is None or figure.colour is None:
        text = f"{animal} without a hat on its head" if style == "paraphrase" else animal
    else:
        template = PARAPHRASES[seed % len(PARAPHRASES)] if style == "paraphrase" else WORN[0]
        text = template.format(animal=animal, hat=with_article(f"{figure.colour} {HAT_WORDS[figure.hat][0]}"))
    if pose:
        doing = POSE_WORDS[figure.pose][0]
        text = f"{text}, {doing}" if style == "paraphrase" else f"{text} {doing}"
    return text


def with_article(words: str) -> str:
    """``a red cap``, ``an orange cap``."""
    return f"{'an' if words[0] in 'aeiouAEIOU' else 'a'} {words}"


def words_of(text: str) -> list[str]:
    """The words of a caption, in lower case and without punctuation."""
    return re.findall(r"[a-z']+", text.lower())

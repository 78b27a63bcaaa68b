"""What can be in a picture: every word that a scene is made of."""

DOGS = (
    "German Shepherd",
    "Dalmatian",
    "Poodle",
    "Corgi",
    "Husky",
    "Beagle",
    "Golden Retriever",
    "Dachshund",
)
CATS = ("black cat", "ginger cat", "kitten")
ANIMALS = (*DOGS, *CATS, "bear", "panda", "fox", "rabbit", "raccoon", "koala", "squirrel")

HATS = ("baseball cap", "crown", "top hat", "beanie", "cowboy hat", "party hat", "chef hat", "wizard hat")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
POSES = ("sitting", "standing", "climbing a tree", "scaling a branch")
RELATIONS = ("left of", "next to", "on")

BACKGROUNDS = (
    "meadow",
    "beach",
    "city street",
    "forest",
    "snowy mountains",
    "desert",
    "living room",
    "garden",
)
TIMES = ("morning", "noon", "sunset", "night")

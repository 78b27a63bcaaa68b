"""limner: learn from your words and pictures, make new ones, and look inside while it happens.

    model = limner.load("story")                 # a bundled model, or a folder
    print(model.generate("The curious cat climbed", seed=1).text)

    painter = limner.load("picturebook")
    painter.generate("a fox in a green top hat", seed=1)[0].save("fox.png")

Importing limner is cheap: torch is loaded when the first of these names that needs it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from limner.core.config import ModelConfig as ModelConfig
    from limner.core.errors import ConfigError as ConfigError
    from limner.core.errors import ContextError as ContextError
    from limner.core.errors import DataError as DataError
    from limner.core.errors import LimnerError as LimnerError
    from limner.core.errors import MissingExtraError as MissingExtraError
    from limner.core.errors import ShapeError as ShapeError
    from limner.core.errors import TokenizerError as TokenizerError
    from limner.core.errors import TrainingError as TrainingError
    from limner.core.errors import WeightsError as WeightsError
    from limner.core.tap import NO_TAP as NO_TAP
    from limner.core.tap import Chain as Chain
    from limner.core.tap import Editor as Editor
    from limner.core.tap import Recorder as Recorder
    from limner.core.tap import Tap as Tap
    from limner.explain.attribution import Attribution as Attribution
    from limner.explain.attribution import attribute as attribute
    from limner.explain.branch import branch as branch
    from limner.explain.causal import causal_map as causal_map
    from limner.explain.changes import AttentionOff as AttentionOff
    from limner.explain.changes import FeedForwardOff as FeedForwardOff
    from limner.explain.changes import HeadOff as HeadOff
    from limner.explain.changes import NeuronOff as NeuronOff
    from limner.explain.changes import Patch as Patch
    from limner.explain.changes import PositionsOff as PositionsOff
    from limner.explain.changes import Steer as Steer
    from limner.explain.changes import TextChange as TextChange
    from limner.explain.changes import change_from_dict as change_from_dict
    from limner.explain.changes import compare as compare
    from limner.explain.changes import tap_for as tap_for
    from limner.explain.drift import drift as drift
    from limner.explain.logit import ledger as ledger
    from limner.explain.order import compare_order as compare_order
    from limner.explain.picture_causal import picture_causal_map as picture_causal_map
    from limner.explain.picture_changes import PictureChange as PictureChange
    from limner.explain.picture_changes import RemoveWord as RemoveWord
    from limner.explain.picture_changes import ReplaceWord as ReplaceWord
    from limner.explain.picture_changes import WeighWord as WeighWord
    from limner.explain.picture_changes import compare_pictures as compare_pictures
    from limner.explain.picture_changes import paint_changed as paint_changed
    from limner.explain.picture_trace import PictureTrace as PictureTrace
    from limner.explain.picture_trace import trace_picture as trace_picture
    from limner.explain.positions import read_positions as read_positions
    from limner.explain.positions import without_positions as without_positions
    from limner.explain.text_trace import TextTrace as TextTrace
    from limner.explain.text_trace import trace_text as trace_text
    from limner.explain.trace import Trace as Trace
    from limner.explain.trace import load_trace as load_trace
    from limner.explain.vectors import WordVectors as WordVectors
    from limner.explain.vectors import analogy as analogy
    from limner.explain.vectors import common_words as common_words
    from limner.explain.vectors import neighbours as neighbours
    from limner.explain.vectors import read_vectors as read_vectors
    from limner.explain.vectors import similarity as similarity
    from limner.explain.vectors import table_vectors as table_vectors
    from limner.explain.word_map import map_words as map_words
    from limner.models import catalogue as catalogue
    from limner.models import export as export
    from limner.models import load as load
    from limner.picture.generator import PictureGenerator as PictureGenerator
    from limner.picture.images import read_settings as read_settings
    from limner.picture.painting import PaintSettings as PaintSettings
    from limner.picture.painting import Picture as Picture
    from limner.recipes.own import train_text as train_text
    from limner.text.encoder import TextEncoder as TextEncoder
    from limner.text.generator import TextGenerator as TextGenerator
    from limner.text.record import Generation as Generation
    from limner.tokens import Tokenizer as Tokenizer

# Where each public name lives; one table, so that the list below and the loading cannot part ways.
_HOMES = {
    "limner.core.config": ("ModelConfig",),
    "limner.core.errors": (
        "ConfigError",
        "ContextError",
        "DataError",
        "LimnerError",
        "MissingExtraError",
        "ShapeError",
        "TokenizerError",
        "TrainingError",
        "WeightsError",
    ),
    "limner.core.tap": ("NO_TAP", "Chain", "Editor", "Recorder", "Tap"),
    "limner.explain.attribution": ("Attribution", "attribute"),
    "limner.explain.branch": ("branch",),
    "limner.explain.causal": ("causal_map",),
    "limner.explain.changes": (
        "AttentionOff",
        "FeedForwardOff",
        "HeadOff",
        "NeuronOff",
        "Patch",
        "PositionsOff",
        "Steer",
        "TextChange",
        "change_from_dict",
        "compare",
        "tap_for",
    ),
    "limner.explain.logit": ("ledger",),
    "limner.explain.text_trace": ("TextTrace", "trace_text"),
    "limner.explain.trace": ("Trace", "load_trace"),
    "limner.explain.drift": ("drift",),
    "limner.explain.order": ("compare_order",),
    "limner.explain.positions": ("read_positions", "without_positions"),
    "limner.explain.vectors": (
        "WordVectors",
        "analogy",
        "common_words",
        "neighbours",
        "read_vectors",
        "similarity",
        "table_vectors",
    ),
    "limner.explain.word_map": ("map_words",),
    "limner.explain.picture_causal": ("picture_causal_map",),
    "limner.explain.picture_changes": (
        "PictureChange",
        "RemoveWord",
        "ReplaceWord",
        "WeighWord",
        "compare_pictures",
        "paint_changed",
    ),
    "limner.explain.picture_trace": ("PictureTrace", "trace_picture"),
    "limner.models": ("catalogue", "export", "load"),
    "limner.picture.generator": ("PictureGenerator",),
    "limner.picture.images": ("read_settings",),
    "limner.picture.painting": ("PaintSettings", "Picture"),
    "limner.recipes.own": ("train_text",),
    "limner.text.encoder": ("TextEncoder",),
    "limner.text.generator": ("TextGenerator",),
    "limner.text.record": ("Generation",),
    "limner.tokens": ("Tokenizer",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'limner' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

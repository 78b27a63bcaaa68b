"""Rotary positions as config.json spells them, in transformers 4 and in 5.

4   "rope_theta": 500000.0, "rope_scaling": {"rope_type" or "type": "llama3", "factor": 8.0, …} or null
5   "rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0, …}
"""

from __future__ import annotations

import math
from typing import Any, assert_never

from limner.core.config import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    Positions,
    RotaryPositions,
    RotaryScaling,
    YarnScaling,
)
from limner.core.errors import ConfigError
from limner.weights.foreign import Fields

DEFAULT_BASE = 10_000.0
_COMMON = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
_OWN = {
    "default": set[str](),
    "linear": {"factor"},
    "dynamic": {"factor", "original_max_position_embeddings"},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
    "yarn": {
        "factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow",
        "mscale", "mscale_all_dim", "truncate", "finetuned",
    },
}  # fmt: skip


def read_rope(fields: Fields, context_length: int) -> RotaryPositions:
    """The positions that a config.json asks for.

    Raises:
        ConfigError: a kind or a setting that we do not have.
    """
    name = "rope_parameters" if fields.values.get("rope_parameters") else "rope_scaling"
    given = fields(name, dict, {})
    rope = Fields(given, f"{fields.where}: {name}")
    base = rope("rope_theta", float, fields("rope_theta", float, DEFAULT_BASE))
    for holder in (fields, rope):
        holder.only("partial_rotary_factor", 1.0, "this family turns every channel")
    kind = rope("rope_type", str, rope("type", str, "default"))
    if kind not in _OWN:
        raise ConfigError(
            f"{rope.where}.rope_type is {kind!r}, but limner has {', '.join(_OWN)}. Choose a model with one of these."
        )
    for setting in given:
        if setting not in _OWN[kind] | _COMMON:
            raise ConfigError(
                f"{rope.where}.{setting} is {given[setting]!r}, but scaling of the kind {kind} has no such setting. "
                "Choose another model."
            )
    return RotaryPositions(base, scaling=_scaling(kind, rope, context_length))


def _scaling(kind: str, rope: Fields, context_length: int) -> RotaryScaling | None:
    original = rope("original_max_position_embeddings", int, context_length)
    match kind:
        case "default":
            return None
        case "linear":
            return LinearScaling(rope("factor", float))
        case "dynamic":
            rope.only("original_max_position_embeddings", context_length, "it must equal max_position_embeddings")
            return DynamicScaling(rope("factor", float), context_length)
        case "llama3":
            low, high = rope("low_freq_factor", float), rope("high_freq_factor", float)
            return Llama3Scaling(rope("factor", float), low, high, original)
        case _:
            factor = rope("factor", float, context_length / original)
            return YarnScaling(
                factor,
                original,
                beta_fast=rope("beta_fast", float, 32.0) or 32.0,
                beta_slow=rope("beta_slow", float, 1.0) or 1.0,
                magnitude=_magnitude(rope, factor),
                truncate=rope("truncate", bool, True),
            )


def _magnitude(rope: Fields, factor: float) -> float | None:
    given: float | None = rope("attention_factor", float, None)
    above, below = rope("mscale", float, 0.0), rope("mscale_all_dim", float, 0.0)
    if given is None and above and below:
        grows = math.log(factor) if factor > 1 else 0.0
        return float((0.1 * above * grows + 1.0) / (0.1 * below * grows + 1.0))
    return given


def write_rope(positions: Positions) -> dict[str, Any]:
    """The fields, in both spellings at once: each reader takes the one it knows."""
    base = positions.base if isinstance(positions, RotaryPositions) else DEFAULT_BASE
    scaling = positions.scaling if isinstance(positions, RotaryPositions) else None
    kind: dict[str, Any] = {}
    match scaling:
        case None:
            pass
        case LinearScaling(factor=factor):
            kind = {"rope_type": "linear", "factor": factor}
        case DynamicScaling(factor=factor):
            kind = {"rope_type": "dynamic", "factor": factor}
        case Llama3Scaling() as s:
            kind = {
                "rope_type": "llama3",
                "factor": s.factor,
                "low_freq_factor": s.low_frequency,
                "high_freq_factor": s.high_frequency,
                "original_max_position_embeddings": s.original_length,
            }
        case YarnScaling() as s:
            kind = {
                "rope_type": "yarn",
                "factor": s.factor,
                "original_max_position_embeddings": s.original_length,
                "beta_fast": s.beta_fast,
                "beta_slow": s.beta_slow,
                "truncate": s.truncate,
            }
            if s.magnitude is not None:
                kind["attention_factor"] = s.magnitude
        case _:
            assert_never(scaling)
    return {
        "rope_theta": base,
        "rope_scaling": kind or None,
        "rope_parameters": {"rope_theta": base, "rope_type": "default", **kind},
    }

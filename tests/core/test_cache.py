"""What was computed before need not be again: cached equals uncached, and a batch equals its texts alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from limner.core.cache import Cache, RingCache
from limner.core.config import (
    ALiBiPositions,
    FullSpan,
    LayerNorm,
    LearnedPositions,
    LinearScaling,
    NoPositions,
    RMSNorm,
    RotaryPositions,
    SinusoidalPositions,
    SlidingSpan,
    Span,
)
from limner.core.errors import ContextError
from tests.core.conftest import attention, block, build, decoder, ids

POSITIONS: dict[str, Any] = {
    "none": NoPositions(),
    "learned": LearnedPositions(),
    "sinusoidal": SinusoidalPositions(),
    "rotary": RotaryPositions(),
    "rotary-part": RotaryPositions(fraction=0.67, scaling=LinearScaling(2.0)),
    "alibi": ALiBiPositions(),
}
SPANS: dict[str, Span] = {"full": FullSpan(), "sliding": SlidingSpan(5)}
# Longer first than the window, then one by one; then pieces on either side of it.
PIECES = ([20], [9] + [1] * 11, [1] * 20, [2, 1, 6, 1, 1, 9])


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@torch.inference_mode()
def test_cached_is_uncached_and_batched_is_alone(positions: str, span: str, kv_heads: int) -> None:
    spec = POSITIONS[positions]
    own = attention(spec, span=SPANS[span], num_kv_heads=kv_heads, qk_norm=RMSNorm() if kv_heads == 2 else None)
    model = build(decoder(block(own), positions=spec))
    text = ids()
    expected = model(text)
    for pieces in PIECES:
        cache = Cache.empty(model.config, 2)
        found = torch.cat([model(piece, cache=cache) for piece in text.split(pieces, dim=1)], dim=1)
        assert (found - expected).abs().max() <= 1e-5, pieces

    lengths = (20, 7, 13)
    texts = [ids(1, n) for n in lengths]
    alone = [model(one)[0] for one in texts]
    for side in ("left", "right"):
        rows = torch.zeros(3, 20, dtype=torch.long)
        mask = torch.zeros(3, 20, dtype=torch.bool)
        for i, n in enumerate(lengths):
            where = slice(20 - n, 20) if side == "left" else slice(0, n)
            rows[i, where], mask[i, where] = texts[i][0], True
        for pieces in ([20], [9, 1, 1, 9], [1] * 20):
            cache = None if pieces == [20] else Cache.empty(model.config, 3)
            both = zip(rows.split(pieces, dim=1), mask.split(pieces, dim=1), strict=True)
            found = torch.cat([model(piece, mask=real, cache=cache) for piece, real in both], dim=1)
            for i in range(3):
                assert (found[i][mask[i]] - alone[i]).abs().max() <= 1e-5, (side, pieces, i)


@torch.inference_mode()
def test_layers_of_different_spans_share_a_cache() -> None:
    turn = RotaryPositions()
    local = block(attention(turn, span=SlidingSpan(4), num_kv_heads=2), norm=LayerNorm())
    model = build(decoder(local, local, block(attention(turn, num_kv_heads=2)), layers=5))
    text = ids(2, 30)
    cache = Cache.empty(model.config, 2)
    found = torch.cat([model(piece, cache=cache) for piece in text.split([11, 1, 1, 3, 1, 13], dim=1)], dim=1)
    assert (found - model(text)).abs().max() <= 1e-5
    assert [layer.keys.shape[2] for layer in cache.layers] == [4, 4, 48, 4, 4]
    assert isinstance(cache.layers[0], RingCache)


@torch.inference_mode()
def test_a_window_as_long_as_the_text_sees_everything() -> None:
    full = build(decoder(block(attention(RotaryPositions()))))
    sliding = build(decoder(block(attention(RotaryPositions(), span=SlidingSpan(20)))))
    text = ids()
    assert (full(text) - sliding(text)).abs().max() <= 1e-6
    cache = Cache.empty(sliding.config, 2)
    found = torch.cat([sliding(piece, cache=cache) for piece in text.split([7, 1, 12], dim=1)], dim=1)
    assert (found - full(text)).abs().max() <= 1e-5


@torch.inference_mode()
def test_a_sliding_window_hides_what_is_before_it() -> None:
    model = build(decoder(block(attention(span=SlidingSpan(3))), layers=1))
    text = ids(1, 10)
    other = text.clone()
    other[0, 0] = (other[0, 0] + 1) % 50
    changed = (model(text) - model(other)).abs().amax(dim=-1)[0] > 1e-6
    assert changed.tolist() == [True] * 3 + [False] * 7


@torch.inference_mode()
def test_a_full_cache_names_both_numbers() -> None:
    model = build(decoder(layers=1))
    cache = Cache.empty(model.config, 1, 8)
    model(ids(1, 6), cache=cache)
    with pytest.raises(ContextError, match=r"9 tokens long.*holds 8"):
        model(ids(1, 3), cache=cache)
    model(ids(1, 2), cache=cache)


@torch.inference_mode()
def test_learned_positions_end_where_the_context_ends() -> None:
    model = build(decoder(positions=LearnedPositions()))
    with pytest.raises(ContextError, match=r"49 tokens long.*positions for 48"):
        model(ids(1, 49))

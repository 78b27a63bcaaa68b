"""The 2017 encoder-decoder: the same numbers as torch.nn.Transformer, norms after or before, masked, cached."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.core.cache import Cache
from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    HeadConfig,
    LayerNorm,
    ModelConfig,
    SinusoidalPositions,
    StackConfig,
)
from limner.core.transformer import Transformer
from limner.weights.keytable import KeyTable, Row
from limner.weights.tensors import fill
from tests.parity.conftest import VOCAB, near, padded, randomise

DIM, HEADS, LAYERS = 32, 4, 2


def attention_rows(theirs: str, ours: str) -> list[Row]:
    return [
        *(
            Row(f"{theirs}.in_proj_{kind}", tuple(f"{ours}.{part}.{kind}" for part in ("query", "key", "value")))
            for kind in ("weight", "bias")
        ),
        *(Row(f"{theirs}.out_proj.{kind}", f"{ours}.output.{kind}") for kind in ("weight", "bias")),
    ]


def stack_rows(stack: str) -> list[Row]:
    theirs, ours = f"{stack}.layers.{{layer}}", f"{stack}.layers.{{layer}}"
    crosses = stack == "decoder"
    names = {"linear1": "feed_forward.up", "linear2": "feed_forward.down", "norm1": "attention_norm"}
    names |= (
        {"norm2": "cross_attention_norm", "norm3": "feed_forward_norm"} if crosses else {"norm2": "feed_forward_norm"}
    )
    rows = attention_rows(f"{theirs}.self_attn", f"{ours}.attention")
    rows += attention_rows(f"{theirs}.multihead_attn", f"{ours}.cross_attention") if crosses else []
    for kind in ("weight", "bias"):
        rows += [Row(f"{theirs}.{a}.{kind}", f"{ours}.{b}.{kind}") for a, b in names.items()]
        rows.append(Row(f"{stack}.norm.{kind}", f"{stack}.final_norm.{kind}"))
    return rows


TABLE = KeyTable(Row("embedding", "embedding.token.weight"), *stack_rows("encoder"), *stack_rows("decoder"))


def config(placement: Any) -> ModelConfig:
    attention = AttentionConfig(HEADS, HEADS, DIM // HEADS, bias=True, output_bias=True)
    feed_forward = FeedForwardConfig(64, activation="relu", gated=False, bias=True)
    norm = LayerNorm()

    def stack(causal: bool) -> StackConfig:
        block = BlockConfig(attention, feed_forward, attention if causal else None, norm=norm, placement=placement)
        return StackConfig(LAYERS, (block,), causal=causal, final_norm=norm)

    embedding = EmbeddingConfig(SinusoidalPositions(), scale=math.sqrt(DIM))
    return ModelConfig(
        VOCAB, DIM, 64, decoder=stack(True), encoder=stack(False), embedding=embedding, head=HeadConfig()
    )


class Held(dict[str, Tensor]):
    """Tensors in memory, as a key table reads them."""

    @property
    def names(self) -> list[str]:
        return list(self)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self[name].shape)


class Reference(nn.Module):
    """torch's Transformer, with the paper's embedding and output written out."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        options: dict[str, Any] = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(DIM, HEADS, 64, **options), LAYERS, nn.LayerNorm(DIM), enable_nested_tensor=False
        )
        self.body = nn.Transformer(DIM, HEADS, LAYERS, LAYERS, 64, custom_encoder=encoder, **options)
        self.embedding = nn.Parameter(torch.empty(VOCAB, DIM))

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        table = torch.zeros(*positions.shape, DIM)
        for channel in range(DIM):
            angle = positions.float() / 10000 ** (channel // 2 * 2 / DIM)
            table[..., channel] = angle.cos() if channel % 2 else angle.sin()
        return self.embedding[ids] * math.sqrt(DIM) + table

    def forward(self, source: tuple[Tensor, Tensor, Tensor], target: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        causal = torch.ones(target[0].shape[1], target[0].shape[1], dtype=torch.bool).triu(1)
        out = self.body(
            self.embed(source[0], source[2]),
            self.embed(target[0], target[2]),
            tgt_mask=causal,
            src_key_padding_mask=~source[1],
            memory_key_padding_mask=~source[1],
            tgt_key_padding_mask=~target[1],
        )
        return out @ self.embedding.T


@pytest.fixture(params=["post", "pre"])
def pair(request: pytest.FixtureRequest) -> tuple[Reference, Transformer]:
    theirs = Reference(request.param == "pre")
    randomise(theirs)
    with torch.device("meta"):
        ours = Transformer(config(request.param))
    needed = {name: tuple(value.shape) for name, value in ours.state_dict().items()}
    state = Held({name.removeprefix("body."): value for name, value in theirs.state_dict().items()})
    fill(ours, TABLE.gather(state, needed, "torch"), None)
    again = TABLE.scatter(ours.state_dict())
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
    return theirs, ours


@torch.no_grad()  # inference mode would switch torch's own model to another path
def test_encoder_decoder(pair: tuple[Reference, Transformer]) -> None:
    theirs, ours = pair
    source, target = padded((13, 4, 9), "right"), padded((11, 11, 6), "right", seed=5)
    expected = theirs(source, target)[target[1]]
    found = ours(target[0], mask=target[1], source=source[0], source_mask=source[1])
    near(found[target[1]], expected)
    memory = ours.encode(source[0], mask=source[1])
    found = ours(target[0], mask=target[1], memory=memory, source_mask=source[1])
    near(found[target[1]], expected)


@torch.no_grad()
def test_encoder_decoder_cached(pair: tuple[Reference, Transformer]) -> None:
    theirs, ours = pair
    source, target = padded((13, 4, 9), "right"), padded((11, 11, 11), "right", seed=5)
    expected = theirs(source, target)
    cache = Cache.empty(ours.config, 3)
    first, *rest = target[0].split([4, 1, 1, 5], dim=1)
    found = [ours(first, source=source[0], source_mask=source[1], cache=cache)]
    found += [ours(piece, cache=cache) for piece in rest]  # the source is in the cache by now
    near(torch.cat(found, dim=1), expected)

"""One table reads and writes; whatever does not fit is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.core.errors import WeightsError
from limner.weights.keytable import Copy, Ignored, KeyTable, Row

TABLE = KeyTable(
    Row("body.embed", "embedding.token.weight"),
    Row("body.h.{layer}.qkv", tuple(f"layers.{{layer}}.{part}.weight" for part in "qkv"), transpose=True),
    Row("body.h.{layer}.bias", "layers.{layer}.q.bias"),
    Row("head.weight", "head.linear.weight"),
    Copy("head.weight", of="body.embed"),
    Ignored("body.h.{layer}.mask"),
    prefix="body.",
    respelled={"gamma": "embed"},
)


class Held(dict[str, Tensor]):
    @property
    def names(self) -> list[str]:
        return list(self)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self[name].shape)


def ours(*, bias: bool = True, head: bool = True) -> dict[str, Tensor]:
    state = {"embedding.token.weight": torch.randn(5, 4)}
    for layer in range(2):
        for part, rows in zip("qkv", (4, 2, 2), strict=True):
            state[f"layers.{layer}.{part}.weight"] = torch.randn(rows, 4)
        if bias:
            state[f"layers.{layer}.q.bias"] = torch.randn(4)
    if head:
        state["head.linear.weight"] = torch.randn(5, 4)
    return state


def shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("head", [False, True])
def test_both_ways(bare: bool, bias: bool, head: bool) -> None:
    state = ours(bias=bias, head=head)
    theirs = TABLE.scatter(state, bare=bare)
    assert theirs["h.1.qkv" if bare else "body.h.1.qkv"].shape == (4, 8)
    again = TABLE.gather(Held(theirs), shapes(state), "here")
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_what_may_be_there() -> None:
    state = ours(head=False)
    theirs = Held(TABLE.scatter(state))
    theirs |= {"body.h.0.mask": torch.ones(1), "h.1.mask": torch.ones(1), "head.weight": theirs["body.embed"].clone()}
    theirs["gamma"] = theirs.pop("body.embed")  # an older spelling, without the prefix
    again = TABLE.gather(theirs, shapes(state), "here")
    assert torch.equal(again["embedding.token.weight"], state["embedding.token.weight"])
    theirs["head.weight"] = theirs["head.weight"] + 1
    with pytest.raises(WeightsError, match=r"here has head.weight, which differs from body.embed"):
        TABLE.gather(theirs, shapes(state), "here")


def test_a_prefix_that_stays_and_the_rest_of_many_names() -> None:
    table = KeyTable(Row("body.embed", "embedding.token.weight"), Ignored("eyes.{rest}"), prefix="body.", stays=True)
    state = {"embedding.token.weight": torch.randn(5, 4)}
    assert list(table.scatter(state, bare=True)) == ["body.embed"]
    theirs = Held({"embed": state["embedding.token.weight"], "eyes.h.0.bias": torch.ones(1), "eyes.lid": torch.ones(1)})
    assert torch.equal(table.gather(theirs, shapes(state), "here")["embedding.token.weight"], theirs["embed"])
    theirs["ears.h.0.bias"] = torch.ones(1)
    with pytest.raises(WeightsError, match=r"has ears.h.0.bias that the model does not use"):
        table.gather(theirs, shapes(state), "here")


def test_what_does_not_fit_is_named() -> None:
    state = ours(head=False)
    theirs = Held(TABLE.scatter(state))
    theirs.pop("body.h.1.qkv")
    theirs |= {"body.h.2.qkv": torch.ones(4, 8), "body.h.0.bias": torch.ones(7)}
    with pytest.raises(WeightsError) as found:
        TABLE.gather(theirs, shapes(state), "here")
    message = str(found.value)
    assert "lacks body.h.1.qkv" in message
    assert "has body.h.2.qkv that the model does not use" in message
    assert "body.h.0.bias of shape (7,) instead of (4,)" in message


def test_a_model_without_a_bias_does_not_read_one() -> None:
    theirs = Held(TABLE.scatter(ours()))
    with pytest.raises(WeightsError, match=r"has body.h.0.bias, body.h.1.bias that the model does not use"):
        TABLE.gather(theirs, shapes(ours(bias=False)), "here")


def test_the_same_tensor_twice_is_named() -> None:
    theirs = Held(TABLE.scatter(ours()))
    theirs["embed"] = theirs["body.embed"]
    with pytest.raises(WeightsError, match=r"has embed that the model does not use"):
        TABLE.gather(theirs, shapes(ours()), "here")


def test_a_parameter_without_a_row_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="no row for"):
        TABLE.scatter({**ours(), "new.weight": torch.ones(1)})

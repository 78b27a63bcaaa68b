"""What only training uses: attention in blocks for bfloat16, and dropout with cheap random bits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from limner.core import output
from limner.core.attention import View, mix
from limner.core.config import AttentionConfig, HeadConfig, RMSNorm
from limner.core.embeddings import drop, make_norm
from limner.core.output import IGNORED, Head, head_loss, next_token_loss


def reference(q, k, v, *, mask=None, causal=False):
    """Torch's own attention in float32."""
    return F.scaled_dot_product_attention(
        q.float(), k.float(), v.float(), attn_mask=mask, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1]
    )


@pytest.mark.parametrize("kind", ["causal", "bidirectional", "documents", "padding"])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("time", [1, 100, 300])
def test_attention_in_blocks_is_attention(kind: str, kv_heads: int, time: int) -> None:
    torch.manual_seed(0)
    q = torch.randn(2, time, 4, 16).bfloat16().transpose(1, 2).requires_grad_()
    k, v = (torch.randn(2, time, kv_heads, 16).bfloat16().transpose(1, 2).requires_grad_() for _ in range(2))
    earlier = torch.ones(time, time, dtype=torch.bool).tril()[None, None]
    mask, causal, ordered = None, kind == "causal", kind in ("causal", "documents")
    if kind == "documents":
        documents = (torch.arange(time) // 77).expand(2, time)
        mask = (documents[:, None, :, None] == documents[:, None, None, :]) & earlier
    if kind == "padding":
        real = torch.arange(time) < torch.tensor([[time], [time // 2 + 1]])
        mask = real[:, None, None, :] | torch.eye(time, dtype=torch.bool)
    view = View(mask=mask, causal=causal, ordered=ordered)
    out = mix(q, k, v, view, AttentionConfig(4, kv_heads, 16), training=True)
    assert "BlockAttention" in type(out.grad_fn).__name__
    expected = reference(q, k, v, mask=mask, causal=causal)
    away = torch.randn_like(expected)
    assert (out - expected).abs().max() < 0.04
    for ours, theirs in zip(
        torch.autograd.grad(out, (q, k, v), away.bfloat16()),
        torch.autograd.grad(expected, (q, k, v), away),
        strict=True,
    ):
        assert (ours - theirs).norm() <= 0.01 * theirs.norm() + 1e-3


@pytest.mark.parametrize("kv_heads", [1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_in_blocks_looks_at_another_sequence(kv_heads: int, masked: bool) -> None:
    torch.manual_seed(0)
    q = torch.randn(3, 4, 150, 16).bfloat16().requires_grad_()
    k, v = (torch.randn(3, kv_heads, 21, 16).bfloat16().requires_grad_() for _ in range(2))
    mask = (torch.arange(21) < torch.tensor([[21], [5], [1]]))[:, None, None, :] if masked else None
    out = mix(q, k, v, View(mask=mask), AttentionConfig(4, kv_heads, 16), training=True)
    assert "BlockAttention" in type(out.grad_fn).__name__
    expected = reference(q, k, v, mask=mask)
    away = torch.randn_like(expected)
    assert (out - expected).abs().max() < 0.04
    for ours, theirs in zip(
        torch.autograd.grad(out, (q, k, v), away.bfloat16()),
        torch.autograd.grad(expected, (q, k, v), away),
        strict=True,
    ):
        assert (ours - theirs).norm() <= 0.01 * theirs.norm() + 1e-3


def test_a_later_token_changes_nothing_before_it() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 200, 8).bfloat16().requires_grad_() for _ in range(3))
    view, config = View(causal=True, ordered=True), AttentionConfig(2, 2, 8)
    before = mix(q, k, v, view, config, training=True)
    with torch.no_grad():
        k[:, :, 150:] += 3.0
        v[:, :, 150:] += 3.0
    after = mix(q, k, v, view, config, training=True)
    assert torch.equal(before[:, :, :150], after[:, :, :150])
    assert not torch.equal(before[:, :, 150:], after[:, :, 150:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_expectation(dtype: torch.dtype, share: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(333, 331, dtype=dtype, requires_grad=True)
    out = drop(x, share, training=True)
    zero = (out == 0).float().mean()
    assert abs(float(zero) - share) < 0.005
    assert abs(float(out.detach().float().mean()) - 1.0) < 0.01
    out.float().sum().backward()
    assert x.grad is not None and torch.equal(x.grad, out)
    for shift in range(1, 5):  # the four values that share 64 bits are independent
        both = ((out[:, shift:] == 0) & (out[:, :-shift] == 0)).float().mean()
        assert abs(float(both) - share**2) < 0.005


def test_dropout_repeats_with_its_seed_and_is_off_in_evaluation() -> None:
    x = torch.randn(7, 5)
    torch.manual_seed(1)
    first = drop(x, 0.3, training=True)
    torch.manual_seed(1)
    assert torch.equal(first, drop(x, 0.3, training=True))
    assert not torch.equal(first, drop(x, 0.3, training=True))
    assert drop(x, 0.3, training=False) is x
    assert drop(x, 0.0, training=True) is x


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_norm_that_trains_is_the_norm_that_reads(dtype: torch.dtype, close: float) -> None:
    torch.manual_seed(0)
    norm = make_norm(RMSNorm(eps=1e-3), 24).to(dtype)
    with torch.no_grad():
        norm.weight.normal_()
    x = torch.randn(3, 5, 24, dtype=dtype, requires_grad=True)
    away = torch.randn(3, 5, 24, dtype=dtype)
    exact, weight = x.detach().double().requires_grad_(), norm.weight.detach().double().requires_grad_()
    expected = F.rms_norm(exact, (24,), weight, 1e-3)
    out = norm(x)
    assert "Normalize" in type(out.grad_fn).__name__
    ours = (out, *torch.autograd.grad(out, (x, norm.weight), away))
    theirs = (expected, *torch.autograd.grad(expected, (exact, weight), away.double()))
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == dtype
        assert (a.double() - b).norm() <= close * b.norm()
    with torch.no_grad():
        assert torch.equal(norm(x), F.rms_norm(x, (24,), norm.weight, 1e-3))


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_in_pieces_is_the_loss(
    dtype: torch.dtype, close: float, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(output, "ROWS", 1)
    head = Head(HeadConfig(tied=tied), 16, 50).to(dtype)
    x = torch.randn(2, 700, 16).to(dtype).requires_grad_()  # three pieces, for ROWS is made small
    embedding = torch.randn(50, 16).to(dtype).requires_grad_()
    targets = torch.randint(0, 50, (2, 700))
    targets[0, 100:400] = IGNORED
    weight = embedding if head.linear is None else head.linear.weight
    ours = head_loss(head, x, embedding, targets)
    assert "HeadLoss" in type(ours.grad_fn).__name__
    theirs = next_token_loss(head(x, embedding), targets)
    assert abs(ours.item() - theirs.item()) <= close * theirs.item()
    for a, b in zip(
        torch.autograd.grad(3.0 * ours, (x, weight)), torch.autograd.grad(3.0 * theirs, (x, weight)), strict=True
    ):
        assert a.dtype == dtype
        assert (a.float() - b.float()).norm() <= close * b.float().norm()


def test_the_loss_of_other_heads_is_the_loss_too() -> None:
    torch.manual_seed(0)
    head = Head(HeadConfig(bias=True, transform="gelu", softcap=20.0), 16, 50)
    x, embedding = torch.randn(2, 7, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    targets = torch.randint(0, 50, (2, 7))
    assert torch.equal(head_loss(head, x, embedding, targets), next_token_loss(head(x, embedding), targets))

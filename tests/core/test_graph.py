"""With no tap, a compiled forward is the graph of code that never had one.

The core is copied with every trace of the tap cut out of its syntax tree, and both are captured by the
compiler's front end: the same nodes, in the same order, in one piece.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from limner.core.cache import Cache
from limner.core.config import (
    ALiBiPositions,
    EmbeddingConfig,
    LearnedPositions,
    ModelConfig,
    RMSNorm,
    RotaryPositions,
    SlidingSpan,
)
from limner.core.tap import Recorder
from limner.core.transformer import Transformer
from tests.core.conftest import attention, block, build, decoder, ids

WITH_TAPS = ("embeddings", "attention", "layers", "output", "transformer")


class WithoutTap(ast.NodeTransformer):
    """tap(name, x) → x; tap.wants(…) → False; parameters, arguments, imports and paths of taps → nothing."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "tap"]
        match node.func:
            case ast.Name(id="tap"):
                return node.args[1]
            case ast.Attribute(value=ast.Name(id="tap"), attr="wants"):
                return ast.Constant(False)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        kept = [(a, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if a.arg != "tap"]
        node.args.kwonlyargs, node.args.kw_defaults = [a for a, _ in kept], [d for _, d in kept]
        node.args.args = [a for a in node.args.args if a.arg != "tap"]
        self.generic_visit(node)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        if ast.unparse(node.targets[0]) == "inner":
            return None
        self.generic_visit(node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        if node.module == "limner.core.tap":
            return None
        if node.module and node.module.removeprefix("limner.core.") in WITH_TAPS:
            node.module = node.module.replace("limner.core.", "tapless_")
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return node


class LastTaps(ast.NodeTransformer):
    """Calls of ``_embed`` and ``_join`` hand the tap on by place."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        node.args = [a for a in node.args if ast.unparse(a) not in ("tap", "inner") and not _path(a)]
        return node


def _path(node: ast.AST) -> bool:
    return ast.unparse(node).startswith("tap.at(")


@pytest.fixture(scope="module")
def tapless() -> Iterator[type[Transformer]]:
    for name in WITH_TAPS:
        original = importlib.import_module(f"limner.core.{name}")
        tree = ast.fix_missing_locations(LastTaps().visit(WithoutTap().visit(ast.parse(inspect.getsource(original)))))
        code = ast.unparse(tree)
        assert "tap(" not in code
        assert "tap." not in code.replace("tap.py", "")
        module = sys.modules[f"tapless_{name}"] = ModuleType(f"tapless_{name}")
        exec(compile(tree, f"tapless_{name}.py", "exec"), module.__dict__)
    yield sys.modules["tapless_transformer"].Transformer
    for name in WITH_TAPS:
        del sys.modules[f"tapless_{name}"]


def graph(model: Any, *args: Any, **options: Any) -> list[str]:
    """Every node of a forward as the compiler sees it; an error if it would not be one graph."""
    graphs: list[fx.GraphModule] = []

    def backend(found: fx.GraphModule, _: list[Tensor]) -> Any:
        graphs.append(found)
        return found.forward

    torch._dynamo.reset()
    compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=False)
    compiled(*args, **options)
    assert len(graphs) == 1
    return [f"{n.op} {n.target} {n.args} {n.kwargs}".replace("tapless_", "") for n in graphs[0].graph.nodes]


VARIANTS: dict[str, ModelConfig] = {
    "rotary": decoder(block(attention(RotaryPositions(), num_kv_heads=2, qk_norm=RMSNorm())), layers=2),
    "alibi-sliding": decoder(
        block(attention(ALiBiPositions(), span=SlidingSpan(4)), placement="sandwich", dropout=0.1), layers=1
    ),
    "learned": decoder(positions=LearnedPositions(), embedding=EmbeddingConfig(segments=2, dropout=0.1), layers=1),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_no_tap_leaves_nothing_in_the_graph(name: str, tapless: type[Transformer]) -> None:
    model, plain = build(VARIANTS[name]), tapless(VARIANTS[name]).eval()
    plain.load_state_dict(model.state_dict())
    text = ids(2, 12)
    mask = torch.ones_like(text, dtype=torch.bool)
    mask[0, :3] = False
    assert torch.equal(model(text, mask=mask), plain(text, mask=mask))
    training, given = (True, None) if name != "rotary" else (False, mask)
    nodes = graph(model.train(training), text, mask=given)
    assert len(nodes) > 25
    assert nodes == graph(plain.train(training), text, mask=given)


def test_no_tap_leaves_nothing_in_a_cached_step(tapless: type[Transformer]) -> None:
    config = decoder(block(attention(RotaryPositions(), num_kv_heads=2)), layers=1)
    model, plain = build(config), tapless(config).eval()
    text = ids(2, 8)

    def step(of: Any) -> list[str]:
        cache = Cache.empty(config, 2)
        with torch.no_grad():
            of(text, cache=cache)
            return graph(of, text[:, :1], cache=cache)

    nodes = step(model)
    assert len(nodes) > 25
    assert nodes == step(plain)


def test_a_tap_is_seen_by_this_test(tapless: type[Transformer]) -> None:
    """The comparison can fail: asking for the weights adds nodes."""
    model = build(VARIANTS["learned"])

    class Shown(Recorder):
        def __call__(self, name: str, value: Tensor) -> Tensor:
            return value * 1.0 if name == "weights" else value

        def at(self, name: str) -> Shown:
            return self

        def wants(self, name: str) -> bool:
            return True

    text = ids(2, 12)
    assert len(graph(model, text, tap=Shown())) > len(graph(model, text))

"""A faster way to take one token more: every layer in one call of a small C++ routine.

Writing is bound by how fast the weights can be read, and torch reads them at a third of what the machine
can do when there is only one row (docs/decisions/0008-decoding-speed.md). ``fast_decode.cpp`` reads them where
torch has them, without a copy, at nearly the machine's limit. It is compiled once a machine, with whatever C++
compiler there is, into the cache folder; where there is none, or the model has a part that it does not know,
everything goes on as without it, only slower.

    routine = FastModel.prepare(model, capacity, expected_tokens=200)     # None where it does not pay
    logits = routine.step(ids, cache)                                     # as model(ids[:, None], cache=cache)[:, -1]
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from ctypes import POINTER, Structure, byref, c_double, c_int, c_int64, c_uint64, c_void_p
from functools import cache as remember
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from limner.core.cache import Cache
from limner.core.config import (
    ALiBiPositions,
    AttentionConfig,
    DynamicScaling,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
)
from limner.core.embeddings import RootMeanSquareNorm
from limner.core.errors import ContextError
from limner.core.layers import Block
from limner.core.positions import rotary_frequencies, rotation, sinusoidal
from limner.core.transformer import Transformer
from limner.weights.places import cache_folder, mark_used

ACTIVATIONS = ("relu", "relu2", "gelu", "gelu_tanh", "silu", "quick_gelu")  # numbered as in the C++
WORTH_BUILDING = 60e9  # bytes to be read: some five seconds of torch, about what the compiler takes
FEWEST_STEPS = 4  # handing the weights over takes a few milliseconds

# ── the routine: found, or compiled ────────────────────────────────────────────────────────────────────────


def compiler() -> str | None:
    """The C++ compiler of this machine: ``$CXX``, c++, g++ or clang++; None where there is none."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _source() -> Path:
    return Path(__file__).with_suffix(".cpp")


@remember
def _library_path() -> Path:
    """One file a source and kind of processor, since the code is made for the processor at hand."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:
        processor = platform.processor()
    made_of = _source().read_bytes() + f"{platform.platform()} {platform.machine()} {processor}".encode()
    return cache_folder("native") / f"decode-{hashlib.sha256(made_of).hexdigest()[:20]}.so"


@remember
def routine(*, build: bool = False) -> ctypes.CDLL | None:
    """The compiled routine, or None where there is none.

    Args:
        build: compile it where that has not been done; takes some seconds.
    """
    path = _library_path()
    try:
        if not path.exists():
            if not build or not _build(path):
                return None
            routine.cache_clear()
        if hasattr(os, "getuid") and path.stat().st_uid not in (os.getuid(), 0):
            return None  # code that somebody else may have put there
        library = ctypes.CDLL(str(path))
        mark_used(path)
    except OSError:  # no access, a full disk, no code for this machine: there is always the other way
        return None
    library.limner_step.argtypes = [POINTER(_Model), POINTER(_State), c_int, c_int]
    library.limner_step.restype = None
    library.limner_read.argtypes = [c_void_p, c_int64, c_int]
    library.limner_read.restype = c_uint64
    return library


def _build(path: Path) -> bool:
    command = compiler()
    if command is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    common = ["-std=c++20", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-w"]
    for tuned in (["-march=native", "-mprefer-vector-width=512"], ["-mcpu=native"], []):
        handle, name = tempfile.mkstemp(suffix=".so", dir=path.parent)
        os.close(handle)
        arguments = [command, *common, *tuned, "-shared", "-fPIC", "-pthread", str(_source()), "-o", name]
        done = subprocess.run(arguments, capture_output=True, check=False)
        if done.returncode == 0:
            os.replace(name, path)
            return True
        os.unlink(name)
    return False


# ── the structs of fast_decode.cpp, field by field ─────────────────────────────────────────────────────────


class _Norm(Structure):
    _fields_ = [("weight", c_void_p), ("bias", c_void_p), ("kind", c_int64), ("eps", c_double)]


class _Linear(Structure):
    _fields_ = [("weight", c_void_p), ("bias", c_void_p), ("rows", c_int64), ("columns", c_int64)]


_NORMS = ("attention_norm", "attention_norm_after", "feed_forward_norm", "feed_forward_norm_after")
_PARTS = ("query", "key", "value", "output", "gate", "up", "down")


class _Layer(Structure):
    _fields_ = [
        *((name, _Norm) for name in (*_NORMS, "query_norm", "key_norm")),
        *((name, _Linear) for name in _PARTS),
        *((name, c_void_p) for name in ("cos", "sin")),
        *((name, c_int64) for name in ("pairs", "heads", "kv_heads", "head_dim", "activation", "post")),
        *((name, c_double) for name in ("scale", "softcap", "residual_scale")),
    ]


class _Model(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("half", "dim", "num_layers")),
        ("layers", POINTER(_Layer)),
        *((name, c_void_p) for name in ("embedding", "positions")),
        ("embedding_scale", c_double),
        ("embedding_norm", _Norm),
        ("final_norm", _Norm),
        ("head", _Linear),
        ("head_softcap", c_double),
    ]


class _State(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("batch", "start", "mask_stride")),
        *((name, c_void_p) for name in ("ids", "positions", "mask")),
        *((name, POINTER(c_void_p)) for name in ("keys", "values")),
        ("slots", POINTER(c_int64)),
        ("logits", c_void_p),
    ]


# ── a model, handed over ───────────────────────────────────────────────────────────────────────────────────


class FastModel:
    """A decoder-only model as the routine reads it. The big weights are not copied: the model must stay alive
    and in place, and after a change of its small weights (norms, biases) this must be made anew.

    Args:
        capacity: the most tokens, padding included, that any cache given to ``step`` holds.
        tiles: use the processor's tile unit for several rows in bfloat16 where it has one.
    """

    def __init__(self, model: Transformer, library: ctypes.CDLL, capacity: int, *, tiles: bool = True) -> None:
        assert fits(model)
        config = model.config
        stack = model.decoder
        assert stack is not None
        assert config.head is not None
        assert model.head is not None
        self.model, self.library, self.tiles = model, library, tiles
        self.vocab_size = config.vocab_size
        self._kept: list[Tensor] = []
        self._angles = [self._tables(block.attention, capacity) for block in stack.config.blocks]
        layers = [self._layer(cast("Block", layer), i % stack.kinds) for i, layer in enumerate(stack.layers)]
        self._layers = (_Layer * len(layers))(*layers)
        self._capacity = capacity
        weight = model.embedding.token.weight
        head_weight = weight if model.head.linear is None else model.head.linear.weight
        self._struct = _Model(
            weight.dtype == torch.bfloat16,
            config.dim,
            len(layers),
            self._layers,
            weight.data_ptr(),
            self._added_positions(capacity),
            config.embedding.scale,
            self._norm(model.embedding.norm),
            self._norm(stack.final_norm),
            _Linear(head_weight.data_ptr(), self._floats(model.head.bias), *head_weight.shape),
            config.head.softcap or 0.0,
        )
        self._state: _State | None = None
        self._cache: Cache | None = None
        self._next = 0  # how long the cache must be, if nobody else has touched it
        self._positions = torch.empty(0, dtype=torch.int64)  # where each row's next token stands
        self._real: Tensor | None = None  # which tokens are not padding, with room for those to come

    @classmethod
    def prepare(cls, model: Transformer, capacity: int, *, expected_tokens: int) -> FastModel | None:
        """The model handed over, or None where it does not pay or cannot be done.

        Args:
            expected_tokens: about how many steps will follow; the routine is compiled only when they are
                worth the wait.
        """
        if expected_tokens < FEWEST_STEPS or not fits(model):
            return None
        size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        library = routine() or (routine(build=True) if size * expected_tokens >= WORTH_BUILDING else None)
        return None if library is None else cls(model, library, capacity)

    def step(self, ids: Tensor, cache: Cache) -> Tensor:
        """One token more in each row.

        Args:
            ids: shape (batch,).
            cache: what ``model`` made of the tokens so far; grows by one. To be changed by nobody else between
                steps, or else ``restart`` says so.
        Returns:
            Logits for what follows, shape (batch, vocab_size), float32.
        Raises:
            ContextError: the cache, or the table of positions, has no room.
        """
        room = cache.capacity if self.model.embedding.position is None else self.model.embedding.context_length
        if cache.length + 1 > min(room, cache.capacity, self._capacity):
            raise ContextError(
                f"The text is {cache.length + 1} tokens long, but there is room for "
                f"{min(room, cache.capacity, self._capacity)}. Shorten the text or make a larger cache."
            )
        if self._state is None or self._cache is not cache or self._next != cache.length:
            self._begin(cache)
        state = self._state
        assert state is not None
        ids = ids.to(torch.int64).contiguous()
        assert ids.shape == self._positions.shape
        if bool(((ids < 0) | (ids >= self.vocab_size)).any()):
            raise IndexError(f"ids holds {ids.tolist()}, but the vocabulary has {self.vocab_size} entries.")
        logits = torch.empty(ids.shape[0], self.vocab_size)
        state.start, state.ids, state.logits = cache.length, ids.data_ptr(), logits.data_ptr()
        self.library.limner_step(byref(self._struct), byref(state), _threads(), int(self.tiles))
        cache.length += 1
        self._next = cache.length
        self._positions += 1
        if self._real is not None:
            cache.mask = self._real[:, : cache.length]
        return logits

    def restart(self) -> None:
        """The cache's rows were chosen anew or its tensors replaced: look at it again."""
        self._state = None

    def _begin(self, cache: Cache) -> None:
        self._cache, self._next, count = cache, cache.length, len(cache.layers)
        batch = cache.layers[0].keys.shape[0]
        for layer in cache.layers:
            if not (layer.keys.is_contiguous() and layer.values.is_contiguous()):
                layer.keys, layer.values = layer.keys.contiguous(), layer.values.contiguous()
        self._real = None
        self._positions = torch.full((batch,), cache.length, dtype=torch.int64)
        if cache.mask is not None:
            self._real = torch.ones(batch, cache.capacity, dtype=torch.bool)
            self._real[:, : cache.length] = cache.mask
            self._positions = cache.mask.sum(dim=1)
        self._state = _State(
            batch,
            cache.length,
            cache.capacity,
            None,
            self._positions.data_ptr(),
            None if self._real is None else self._real.data_ptr(),
            (c_void_p * count)(*(layer.keys.data_ptr() for layer in cache.layers)),
            (c_void_p * count)(*(layer.values.data_ptr() for layer in cache.layers)),
            (c_int64 * count)(*(layer.keys.shape[2] for layer in cache.layers)),
            None,
        )

    # ── the parts ──

    def _floats(self, values: Tensor | None) -> int | None:
        """The address of a small vector or table in float32."""
        if values is None:
            return None
        self._kept.append(values.detach().float().contiguous())
        return self._kept[-1].data_ptr()

    def _norm(self, norm: nn.Module | None) -> _Norm:
        if norm is None:
            return _Norm(None, None, 0, 0.0)
        if isinstance(norm, nn.LayerNorm):
            return _Norm(self._floats(norm.weight), self._floats(norm.bias), 1, norm.eps)
        assert isinstance(norm, nn.RMSNorm)
        return _Norm(self._floats(norm.weight), None, 2, cast("float", norm.eps))

    def _linear(self, linear: nn.Linear | None) -> _Linear:
        if linear is None:
            return _Linear(None, None, 0, 0)
        weight = linear.weight
        return _Linear(weight.data_ptr(), self._floats(linear.bias), *weight.shape)

    def _layer(self, block: Block, kind: int) -> _Layer:
        spec, feed_forward = block.config.attention, block.feed_forward
        norms = [self._norm(cast("nn.Module | None", getattr(block, name))) for name in _NORMS]
        norms += [self._norm(block.attention.query_norm), self._norm(block.attention.key_norm)]
        cos, sin, pairs = self._angles[kind]
        return _Layer(
            *norms,
            *(self._linear(linear) for linear in _linears(block)),
            cos,
            sin,
            pairs,
            spec.num_heads,
            spec.num_kv_heads,
            spec.head_dim,
            ACTIVATIONS.index(feed_forward.config.activation),
            block.config.placement == "post",
            spec.head_dim**-0.5 if spec.scale is None else spec.scale,
            spec.softcap or 0.0,
            block.config.residual_scale,
        )

    def _tables(self, spec: AttentionConfig, capacity: int) -> tuple[int | None, int | None, int]:
        """Cosines and sines for every position there may be."""
        if not isinstance(spec.positions, RotaryPositions):
            return None, None, 0
        frequencies, magnitude = rotary_frequencies(spec.positions, spec.rotary_dim, capacity)
        cos, sin = rotation(torch.arange(capacity), frequencies, magnitude)
        return self._floats(cos), self._floats(sin), cos.shape[-1]

    def _added_positions(self, capacity: int) -> int | None:
        spec = self.model.config.embedding.positions
        if isinstance(spec, SinusoidalPositions):
            dtype = self.model.embedding.token.weight.dtype
            return self._floats(sinusoidal(torch.arange(capacity), self.model.config.dim, spec.base).to(dtype))
        if isinstance(spec, LearnedPositions):
            assert self.model.embedding.position is not None
            return self._floats(self.model.embedding.position.weight[:capacity])
        return None


def fits(model: Transformer) -> bool:
    """Whether the routine knows every part of the model, and the model is as it was built."""
    config, stack, head = model.config, model.decoder, model.head
    if stack is None or model.encoder is not None or head is None or config.head is None or model.training:
        return False
    if (
        config.head.transform is not None
        or config.embedding.segments
        or not config.decoder
        or not config.decoder.causal
    ):
        return False
    weight = model.embedding.token.weight
    if weight.dtype not in (torch.float32, torch.bfloat16):
        return False
    for block in stack.config.blocks:
        positions = block.attention.positions
        if isinstance(positions, ALiBiPositions) or block.cross_attention is not None:
            return False
        if isinstance(positions, RotaryPositions) and isinstance(positions.scaling, DynamicScaling):
            return False
    plain = {nn.Linear, nn.Embedding, nn.LayerNorm, RootMeanSquareNorm}
    for module in model.modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return False
        if not list(module.children()) and type(module) not in plain and list(module.parameters()):
            return False
    linears = (linear for layer in stack.layers for linear in _linears(cast("Block", layer)))
    if any(linear is not None and type(linear) is not nn.Linear for linear in linears):
        return False
    same = (p.dtype == weight.dtype and p.device.type == "cpu" and p.is_contiguous() for p in model.parameters())
    return all(same)


def _linears(block: Block) -> tuple[nn.Linear | None, ...]:
    attention, feed_forward = block.attention, block.feed_forward
    ends: tuple[Any, ...] = (feed_forward.gate, feed_forward.up, feed_forward.down)
    return (attention.query, attention.key, attention.value, attention.output, *ends)


def _threads() -> int:
    """As many as torch uses, but no more than there are cores for this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), cores))

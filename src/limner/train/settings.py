"""What a training run can be told, and how ``--set name=value`` is read.

``TrainSettings`` holds what the loop itself needs and knows nothing about text. It is frozen, saved in the run
folder as JSON, and its values named ``auto`` are replaced by what was chosen before the first step, so that a
resumed run repeats the choice and does not make it again.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from limner.core.errors import ConfigError, suggest

Precision = Literal["auto", "float32", "autocast", "bfloat16"]
Switch = Literal["auto", "on", "off"]
DEFAULT_MINUTES = 10.0  # of a run that says neither steps nor minutes
SEEDS = 2**63  # as many as torch takes


@dataclass(frozen=True)
class TrainSettings:
    """How a run is trained. Exactly one of ``steps`` and ``minutes`` says how long.

    Rates are peaks; the schedule multiplies them. ``learning_rate`` is AdamW's; ``matrix_rate`` is Muon's, for
    the matrices of the layers, in the same unit (an update of root mean square 0.2 a rate of 1, as AdamW makes).

    Raises:
        ConfigError: a value outside its range.
    """

    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    batch_size: int = 16
    accumulate: int = 1  # batches whose gradients make one step

    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: float = 3e-3
    matrix_rate: float = 1e-2
    weight_decay: float = 0.1  # on matrices of the layers; embeddings, norms and biases have none
    momentum: float = 0.95  # Muon's
    beta1: float = 0.9
    beta2: float = 0.99
    clip: float = 1.0  # the largest norm of all gradients together; 0: no limit

    schedule: Literal["linear", "cosine", "warmup-stable-decay", "constant"] = "linear"
    warmup: float = 0.02  # share of the run over which rates rise from 0
    decay: float = 0.4  # share of the run, at its end, over which warmup-stable-decay falls
    final_rate: float = 0.0  # what is left of the rates at the end, as a share of the peak
    ema: float = 0.0  # decay of the moving average of the weights a step, such as 0.999; 0: none is kept

    precision: Precision = "auto"
    compile: Switch = "auto"
    checkpoint_activations: bool = False  # compute activations twice, keep them once: less memory, more time
    threads: int = 0  # 0: as many as there are processor cores for this process
    device: str = "auto"

    evaluations: int = 0  # spread evenly over the run; 0: 20, but not so often that they take much of the time
    checkpoints: int = 20  # the same
    save_minutes: float = 10.0  # a checkpoint at least this often
    keep: int = 2  # the last checkpoints that are kept, beside the best one
    overfit_after: int = 3  # evaluations in a row that got worse before it is said

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate", "keep", "overfit_after"):
            at_least(name, getattr(self, name), 1)
        for name in ("learning_rate", "matrix_rate", "weight_decay", "clip", "threads"):
            at_least(name, getattr(self, name), 0)
        for name in ("evaluations", "checkpoints", "seed"):
            at_least(name, getattr(self, name), 0)
        if self.seed >= SEEDS:
            raise ConfigError(f"seed is {self.seed}, but seeds go from 0 to {SEEDS - 1}. Choose one of them.")
        for name in ("warmup", "decay", "final_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but it is a share. Choose a number from 0 to 1.")
        for name in ("ema", "beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}, but only a number from 0 up to, not including, 1 works. Choose one."
                )
        if self.steps is not None and self.minutes is not None:
            raise ConfigError(
                f"steps is {self.steps} and minutes {self.minutes}, but one of them says how long. Drop one."
            )
        if self.steps is not None:
            at_least("steps", self.steps, 1)
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{f.name} is {value}, but it must be a finite number. Choose one.")
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"minutes is {self.minutes}, but training takes time. Choose a number above 0.")
        if self.save_minutes <= 0:
            raise ConfigError(
                f"save_minutes is {self.save_minutes}, but it is a time between two. Choose a number above 0."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainSettings:
        """Read what ``to_dict`` wrote.

        Raises:
            ConfigError: an unknown name or a value of another type.
        """
        return changed(cls(), values)


def at_least(name: str, value: float, lowest: float) -> None:
    """Check a number.

    Raises:
        ConfigError: it is too small.
    """
    if value < lowest:
        raise ConfigError(f"{name} is {value}, but it must be at least {lowest}. Choose a larger number.")


# ── overriding by name ─────────────────────────────────────────────────────────────────────────────────

S = TypeVar("S")


def split_assignment(text: str) -> tuple[str, str]:
    """``"a.b=3"`` → ``("a.b", "3")``.

    Raises:
        ConfigError: there is no equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set is {text!r}, but it must look like name=value. Write for example --set batch_size=8.")
    return name.strip(), value.strip()


def changed(settings: S, values: dict[str, Any], prefix: str = "") -> S:
    """The same frozen dataclass with some fields replaced; strings are read as the field's type.

    Args:
        settings: any dataclass instance of plain fields.
        values: field name → value, or its text.
        prefix: what to put before the name in an error.
    Raises:
        ConfigError: no such field, with the nearest name; or a value of another type.
    """
    assert is_dataclass(settings)
    known = {f.name for f in fields(settings)}
    hints = get_type_hints(type(settings))
    read = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{prefix}{name} is set, but there is no such setting. {suggest(name, known)}")
        read[name] = _typed(f"{prefix}{name}", value, hints[name])
    result: S = replace(settings, **read)  # type: ignore[type-var]
    return result


def _typed(name: str, value: Any, expected: Any) -> Any:
    origin = get_origin(expected)
    if origin in (Union, UnionType):
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "")):
            return None
        (expected,) = (choice for choice in get_args(expected) if choice is not NoneType)
        return _typed(name, value, expected)
    if origin is Literal:
        if value not in get_args(expected):
            raise ConfigError(
                f"{name} is {value!r}, but it is one of a few names. {suggest(str(value), get_args(expected))}"
            )
        return value
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else list(value)
        return tuple(_typed(name, part, get_args(expected)[0]) for part in parts if part != "")
    if expected is str and isinstance(value, str):
        return value
    if expected is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "yes", "on", "1"):
            return True
        if str(value).lower() in ("false", "no", "off", "0"):
            return False
    elif expected in (int, float) and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            if expected is int and isinstance(value, float) and not value.is_integer():
                raise ValueError
            return expected(str(value).replace("_", "") if isinstance(value, str) else value)
        except ValueError:
            pass
    kinds = {
        int: ("a whole number", "500"),
        float: ("a number", "0.1"),
        bool: ("true or false", "true"),
        str: ("a text", "text"),
    }
    wanted, example = kinds[expected]
    raise ConfigError(f"{name} is {value!r}, but it is {wanted}. Write for example {name}={example}.")

"""What a family of published models is to us: a way to read its config.json, a way to write it, and a key table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from limner.core.config import Activation, BlockConfig, HeadConfig, ModelConfig, StackConfig
from limner.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limner.weights.keytable import KeyTable

_REQUIRED = object()

ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "relu2": "relu2",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
    "swish": "silu",
}
ACTIVATION_NAMES: dict[Activation, str] = {
    "relu": "relu",
    "relu2": "relu2",
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
}


@dataclass(frozen=True)
class Family:
    """A ``model_type`` of Hugging Face.

    Attributes:
        headed: the class with the head that we have; ``also_headed`` have further parts, which are left out.
        bare: the class without a head.
        auto: the class of transformers that opens it.
        read: fields of a config.json, and whether there is a head → our description.
        write: our description → fields; may lose what the family does not have, which ``lost`` finds.
        within: the ``model_type`` of a larger model that has this one as a part → the entry of its config.json that
            describes the part.
    """

    model_type: str
    headed: str
    bare: str
    auto: str
    table: KeyTable
    read: Callable[[Fields, bool], ModelConfig]
    write: Callable[[ModelConfig], dict[str, Any]]
    also_headed: tuple[str, ...] = ()
    within: Mapping[str, str] = field(default_factory=dict)

    def from_foreign(self, values: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
        """Our description of what a config.json describes.

        Raises:
            ConfigError: it asks for something that we do not have.
        """
        if (entry := self.within.get(str(values.get("model_type")))) is not None:
            values, where = _part(values, entry, where), f"{where}: {entry}"
        fields = Fields(values, where)
        fields.only("quantization_config", None, "weights must be plain numbers", "Use the folder before quantization")
        architectures = values.get("architectures") or [self.headed]
        known = (self.headed, self.bare, *self.also_headed)
        if architectures[0] not in known:
            raise ConfigError(
                f"{where}: architectures is {architectures!r}, but of the family {self.model_type} limner has "
                f"{', '.join(known)}. Use a folder of one of these."
            )
        return self.read(fields, architectures[0] != self.bare)

    def to_foreign(self, config: ModelConfig) -> dict[str, Any]:
        """The fields of a config.json that describes the same model.

        Raises:
            ConfigError: the family cannot describe it; the parts are named.
        """
        values = self.describe(config)
        if lost := self.lost(config):
            raise ConfigError(
                f"{lost[0]}, but no model of the family {self.model_type} is so. Choose another family to export to."
            )
        return values

    def describe(self, config: ModelConfig) -> dict[str, Any]:
        """The nearest that the family has to a description."""
        return {
            "architectures": [self.headed if config.head else self.bare],
            "model_type": self.model_type,
            **self.write(config),
        }

    def lost(self, config: ModelConfig) -> list[str]:
        """What the family cannot say of a model: ``decoder.blocks[0].placement is 'sandwich'``, …; dropout aside."""
        ours = _flat(_settled(config))
        try:
            again = self.from_foreign(self.describe(config))
        except ConfigError as problem:
            # Not even its nearest description holds: as far away as can be.
            return [str(problem).split(", but ")[0].removeprefix("config.json: ")] * len(ours)
        theirs = _flat(_settled(again))
        return [
            f"{path} is {ours.get(path, None)!r}"
            for path in [*ours, *sorted(theirs.keys() - ours.keys())]
            if ours.get(path) != theirs.get(path)
        ]


class Fields:
    """The values of a foreign config.json, read with checks.

    Args:
        where: what to call the file in messages.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def __call__(self, name: str, kind: type, default: Any = _REQUIRED) -> Any:
        """One field; null counts as absent.

        Raises:
            ConfigError: it is missing and has no default, or is of another kind.
        """
        value = self.values.get(name)
        if value is None:
            if default is _REQUIRED:
                raise ConfigError(f"{self.where}: {name} is missing, but the model needs it. Add it.")
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"{self.where}: {name} is {value!r}, but {kind.__name__} is needed. Correct the value.")
        return value

    def activation(self, name: str, default: str) -> Activation:
        """A named non-linear step."""
        value = self(name, str, default)
        if value not in ACTIVATIONS:
            raise ConfigError(
                f"{self.where}: {name} is {value!r}, but limner has {', '.join(ACTIVATIONS)}. "
                "Choose a model with one of these."
            )
        return ACTIVATIONS[value]

    def head_dim(self, dim_name: str, heads_name: str, dim: int, heads: int) -> int:
        """The width of one head, where the heads share the model's width evenly."""
        if heads < 1 or dim % heads:
            raise ConfigError(
                f"{self.where}: {dim_name} is {dim}, but this family divides it by {heads_name}, which is {heads}. "
                "Choose a multiple."
            )
        return dim // heads

    def only(self, name: str, value: Any, rule: str, remedy: str = "Choose another model") -> None:
        """Refuse any other value than the one we can honour; absent and null are taken for it."""
        found = self.values.get(name)
        if found is not None and found != value:
            raise ConfigError(f"{self.where}: {name} is {found!r}, but {rule}. {remedy}.")


def shortest(blocks: tuple[BlockConfig, ...]) -> tuple[BlockConfig, ...]:
    """The fewest blocks that, repeated in turn, give these layers."""
    for period in range(1, len(blocks)):
        if all(block == blocks[i % period] for i, block in enumerate(blocks)):
            return blocks[:period]
    return blocks


def _part(values: Mapping[str, Any], entry: str, where: str) -> dict[str, Any]:
    """The description of a part of a larger model, as its own config.json would have it."""
    part = values.get(f"{entry}_dict") or values.get(entry)  # older releases wrote both, and read the first
    if not isinstance(part, dict):
        raise ConfigError(
            f"{where}: {entry} is {part!r}, but it describes the part that is read. Use a folder that was saved whole."
        )
    return {**part, **{name: values.get(name) for name in ("architectures", "quantization_config")}}


def _settled(config: ModelConfig) -> ModelConfig:
    """Equal for models that compute the same: no dropout, every layer by itself, no setting without effect."""

    def attention(block: BlockConfig) -> BlockConfig:
        own = block.attention
        plain = own.scale is not None and abs(own.scale * own.head_dim**0.5 - 1) < 1e-9
        own = replace(own, dropout=0.0, scale=None if plain else own.scale)
        return replace(block, attention=own, dropout=0.0)

    def stack(given: StackConfig | None) -> StackConfig | None:
        if given is None:
            return None
        return replace(given, blocks=tuple(attention(given.block(i)) for i in range(given.num_layers)))

    head = config.head
    if head is not None and head.transform is None:
        head = replace(head, transform_norm=HeadConfig().transform_norm)
    embedding = replace(config.embedding, dropout=0.0)
    return replace(config, decoder=stack(config.decoder), encoder=stack(config.encoder), head=head, embedding=embedding)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every plain value in a description, by its path."""
    if isinstance(value, ModelConfig):
        value = value.to_dict()
    if isinstance(value, dict):
        return {p: v for k, entry in value.items() for p, v in _flat(entry, f"{path}.{k}" if path else k).items()}
    if isinstance(value, list):
        return {p: v for i, entry in enumerate(value) for p, v in _flat(entry, f"{path}[{i}]").items()}
    return {path: value}

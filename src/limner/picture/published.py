"""Published encoders that read a picture model's prompts and stay as they are: CLIP's text half, BERT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.config import BlockConfig, ModelConfig
from limner.core.errors import ConfigError, TokenizerError
from limner.tokens import Tokenizer
from limner.weights.folder import check_vocabulary, load_model
from limner.weights.tensors import empty_model, fill

if TYPE_CHECKING:
    from limner.core.transformer import Transformer

LONGEST = 128  # tokens of a prompt where nobody asks for more: every patch attends to the whole window


@dataclass(frozen=True)
class PublishedEncoder:
    """An encoder as its folder has it, but for what a prompt does not need.

    Attributes:
        model: without head and dropout, with positions for the window alone; its weights have the folder's dtype.
        tokenizer: the folder's own; it says what a text begins and ends with.
        card: what the folder says of itself.
    """

    model: Transformer
    tokenizer: Tokenizer
    card: dict[str, Any]


def open_published(folder: Path | str, window: int = 0) -> PublishedEncoder:
    """Open a folder of CLIP (the text half or the whole) or BERT to read prompts with.

    Args:
        window: the most tokens of a prompt, what frames it included; 0: all that the encoder has positions for, but no
            more than 128.
    Raises:
        WeightsError: it is missing, damaged, a pickle, or of another kind.
        ConfigError: it is no encoder, of a family that we do not have, or has fewer positions than the window.
        TokenizerError: its tokenizer is missing, damaged, or frames no texts.
    """
    folder = Path(folder)
    model, config, card = load_model(folder)
    if config.encoder is None or config.decoder is not None:
        raise ConfigError(
            f"{folder} has a decoder, but prompts are read by an encoder alone. Give a folder of CLIP or BERT."
        )
    tokenizer = Tokenizer.load(folder)
    check_vocabulary(tokenizer.vocab_size, config, folder)
    if not (tokenizer.opening and tokenizer.closing):
        raise TokenizerError(
            f"{folder / 'tokenizer.json'} puts nothing before or nothing after a text, but the encoder was trained with both. "
            "Save it again: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    fewest = len(tokenizer.opening) + len(tokenizer.closing) + 1
    if window and not fewest <= window <= config.context_length:
        raise ConfigError(
            f"context_length is {window}, but {folder} reads {fewest} to {config.context_length} tokens. "
            "Choose one of these, or leave it out."
        )
    config = _for_prompts(config, window or min(config.context_length, LONGEST))
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}
    if "embedding.position.weight" in state:
        state["embedding.position.weight"] = state["embedding.position.weight"][: config.context_length].clone()
    reader = empty_model(config)
    fill(reader, state, None)
    return PublishedEncoder(reader, tokenizer, card)


def _for_prompts(config: ModelConfig, window: int) -> ModelConfig:
    """Without head and dropout, and as long as the window."""

    def still(block: BlockConfig) -> BlockConfig:
        return replace(block, dropout=0.0, attention=replace(block.attention, dropout=0.0))

    assert config.encoder is not None
    stack = replace(config.encoder, blocks=tuple(still(block) for block in config.encoder.blocks))
    embedding = replace(config.embedding, dropout=0.0)
    return replace(config, encoder=stack, embedding=embedding, head=None, context_length=window)

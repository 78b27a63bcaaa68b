"""Small random CLIP and BERT folders, as transformers writes them, with tokenizers of their own kinds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn

from tests.parity.conftest import randomise

SIZE: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40,
    "max_position_embeddings": 30,
}  # fmt: skip
CLIP_WORDS = transformers.CLIPTokenizer().backend_tokenizer.pre_tokenizer


def clip_tokenizer(texts: Sequence[str]) -> Any:
    """Bytes, small letters, ``</w>`` at the ends of words."""
    learned = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learned.normalizer = normalizers.Lowercase()
    learned.pre_tokenizer = CLIP_WORDS
    trainer = trainers.BpeTrainer(
        vocab_size=600, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|startoftext|>", "<|endoftext|>"], show_progress=False,
    )  # fmt: skip
    learned.train_from_iterator(texts, trainer)
    model = json.loads(learned.to_str())["model"]
    pieces = dict.fromkeys([*model["vocab"], *(f"{byte}</w>" for byte in pre_tokenizers.ByteLevel.alphabet())])
    vocab = {piece: id for id, piece in enumerate(pieces)}
    return transformers.CLIPTokenizer(vocab, [tuple(pair) for pair in model["merges"]])


def bert_tokenizer(texts: Sequence[str]) -> Any:
    """WordPiece in small letters."""
    learned = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learned.normalizer, learned.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    learned.train_from_iterator(texts, trainer)
    return transformers.BertTokenizer(learned.get_vocab())


def published_folder(folder: Path, kind: str, texts: Sequence[str], **options: Any) -> nn.Module:
    """Write a folder of the kind ``clip``, ``whole clip`` or ``bert``; returns the model of transformers that reads."""
    tokenizer = bert_tokenizer(texts) if kind == "bert" else clip_tokenizer(texts)
    size = {**SIZE, "vocab_size": len(tokenizer), **options}
    model: nn.Module
    if kind == "bert":
        model = transformers.BertForMaskedLM(transformers.BertConfig(**size))
    else:
        settings = transformers.CLIPTextConfig(
            **size, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id
        )
        model = transformers.CLIPTextModel(settings)
        if kind == "whole clip":
            sees = {**SIZE, "image_size": 8, "patch_size": 4}
            model = transformers.CLIPModel(transformers.CLIPConfig(text_config=settings.to_dict(), vision_config=sees))
    randomise(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.bert if kind == "bert" else getattr(model, "text_model", model)

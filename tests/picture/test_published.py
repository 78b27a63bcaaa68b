"""Published encoders for prompts: the vectors of their own library, their tokenizers, and folders that will not do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

import limner
from limner.core.errors import ConfigError, ContextError, TokenizerError, WeightsError
from limner.picture.config import make_config
from limner.picture.denoiser import PictureModel
from limner.picture.folder import load_picture_model, save_picture_model
from limner.picture.generator import PictureGenerator
from limner.picture.published import open_published
from limner.picture.words import word_maps, word_recorder
from limner.text.encoder import TextEncoder
from limner.tokens import Tokenizer
from tests.picture.conftest import CAPTIONS, SIDE
from tests.picture.published import published_folder

KINDS = ("clip", "whole clip", "bert")
PROMPT = "A Fox with a greenish hat, isn't it"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, nn.Module]]:
    place = tmp_path_factory.mktemp("published")
    return {kind: (place / kind, published_folder(place / kind, kind, list(CAPTIONS) * 4)) for kind in KINDS}


def make_reader(folder: Path, **values: Any) -> PictureGenerator:
    """A picture model that reads with it, all else random."""
    published = open_published(folder, values.pop("window", 0))
    config = make_config(
        size=(SIDE, SIDE), patch=4, dim=32, num_layers=2, num_heads=2, vocab_size=0, published=published.model.config
    )
    model = PictureModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.15 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    model.prompt_encoder.load_state_dict(published.model.state_dict())
    return PictureGenerator(model, published.tokenizer, card={"name": "reader"}, sha256="0" * 64)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_prompts_become_the_vectors_of_transformers(kind: str, folders: dict[str, tuple[Path, nn.Module]]) -> None:
    folder, theirs = folders[kind]
    painter, own = make_reader(folder), transformers.AutoTokenizer.from_pretrained(folder)
    texts = [PROMPT, "a fox", ""]
    rows = [painter.read_prompt(text) for text in texts]
    assert rows == own(texts).input_ids
    prompts = painter.prompts([(text, 1.0) for text in texts[:2]], texts[2], 4.0)
    found = painter.model.read_prompt(prompts.ids, prompts.mask)
    assert found.shape == (3, 30, 24)
    expected = theirs.eval()(prompts.ids, attention_mask=prompts.mask.long()).last_hidden_state
    assert expected[prompts.mask].std() > 0.1
    assert (found - expected)[prompts.mask].abs().max() <= 1e-5


@pytest.mark.parametrize("kind", ["clip", "bert"])
def test_a_smaller_window_changes_no_vector(kind: str, folders: dict[str, tuple[Path, nn.Module]]) -> None:
    whole, short = (make_reader(folders[kind][0], window=window) for window in (0, 12))
    assert short.model.prompt_encoder.embedding.position.weight.shape == (12, 24)  # type: ignore[union-attr]
    ids = torch.tensor([whole.read_prompt("a black cat in the snow")])
    mask = torch.ones_like(ids, dtype=torch.bool)
    assert torch.equal(short.model.read_prompt(ids, mask), whole.model.read_prompt(ids, mask))
    with pytest.raises(ContextError, match=r"the prompt has \d+ tokens, but this model reads 12"):
        short.read_prompt(PROMPT + " at night on the beach")
    for window in (2, 31):
        with pytest.raises(ConfigError, match=rf"context_length is {window}, but .* reads 3 to 30 tokens"):
            open_published(folders[kind][0], window)


@pytest.mark.parametrize("kind", ["clip", "bert"])
def test_a_saved_model_holds_its_encoder_as_it_was_published(
    kind: str, folders: dict[str, tuple[Path, nn.Module]], tmp_path: Path
) -> None:
    painter = make_reader(folders[kind][0])
    painter.model.prompt_encoder.half()
    save_picture_model(tmp_path / "model", painter.model, painter.tokenizer, painter.card, dtype=torch.bfloat16)
    kinds = {name.split(".")[0]: value.dtype for name, value in load_file(tmp_path / "model/model.safetensors").items()}
    assert kinds == {"prompt_encoder": torch.float16, "denoiser": torch.bfloat16}
    again = limner.load(tmp_path / "model")
    assert isinstance(again, PictureGenerator)
    assert again.config == painter.config
    assert {p.dtype for p in again.model.parameters()} == {torch.float32}
    assert [again.read_prompt(text) for text in (PROMPT, "")] == [painter.read_prompt(text) for text in (PROMPT, "")]
    assert again.generate(PROMPT, seed=1, steps=2)[0].image.size == (SIDE, SIDE)
    mixed = PictureGenerator(load_picture_model(tmp_path / "model").model, again.tokenizer)
    assert mixed.generate("a fox", seed=1, steps=2)[0].image.size == (SIDE, SIDE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_filmstrip_gives_each_word_its_tokens(kind: str, folders: dict[str, tuple[Path, nn.Module]]) -> None:
    painter = make_reader(folders[kind][0])
    ids, places = painter.read_prompt(PROMPT), painter.word_places(PROMPT)
    assert [word for word, _ in places] == ["A", "Fox", "with", "a", "greenish", "hat", "isn", "t", "it"]
    spelled = {word: "".join(painter.tokenizer.piece(ids[at]) for at in where) for word, where in places}
    for word in ("Fox", "greenish", "hat"):
        plain = spelled[word].replace("</w>", "").replace("##", "")
        assert plain == word.lower() or plain == "[UNK]"
    used = [at for _, where in places for at in where]
    assert not {0, len(ids) - 1} & set(used), "what frames a prompt is none of its words"
    recorder = word_recorder()
    (picture,) = painter.generate(PROMPT, seed=1, steps=2, tap=recorder)
    maps = word_maps(painter, picture, recorder)
    assert len(maps) == len(places)
    assert all(float(shares.min()) > 0 for _, shares in maps)


def test_clip_tokens_hold_words_without_their_mark(folders: dict[str, tuple[Path, nn.Module]]) -> None:
    tokenizer = Tokenizer.load(folders["clip"][0])
    text = "a FOX,  crème"
    assert tokenizer.decode(tokenizer.encode(text)) == "a fox , crème"
    pieces = tokenizer.pieces(text)
    assert b"".join(piece.bytes for piece in pieces).decode() == "afox,crème"
    assert [(piece.bytes, piece.start, piece.end) for piece in pieces[:2]] == [(b"a", 0, 1), (b"fox", 2, 5)]
    assert tokenizer.token_bytes(pieces[1].id) == b"fox "


def test_clip_is_opened_as_a_text_encoder(folders: dict[str, tuple[Path, nn.Module]]) -> None:
    folder, theirs = folders["whole clip"]
    reader = limner.load(folder)
    assert isinstance(reader, TextEncoder)
    own = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        expected = theirs.eval()(torch.tensor([own(PROMPT).input_ids])).last_hidden_state[0]
    found = torch.from_numpy(reader.encode(PROMPT, pooling="none"))
    assert (found - expected).abs().max() <= 1e-5


def test_folders_that_will_not_do(folders: dict[str, tuple[Path, nn.Module]], tmp_path: Path) -> None:
    def copied(name: str) -> Path:
        return Path(shutil.copytree(folders["clip"][0], tmp_path / name))

    with pytest.raises(WeightsError, match=r"nowhere is no folder"):
        open_published(tmp_path / "nowhere")

    cut = copied("cut")
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"cut/model\.safetensors"):
        open_published(cut)

    lacking = copied("lacking")
    tensors = load_file(lacking / "model.safetensors")
    name = next(name for name in tensors if name.endswith("final_layer_norm.bias"))
    save_file({key: value for key, value in tensors.items() if key != name}, lacking / "model.safetensors")
    with pytest.raises(WeightsError, match=r"lacks text_model\.final_layer_norm\.bias"):
        open_published(lacking)

    bare = copied("bare")
    (bare / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"bare has no tokenizer\.json"):
        open_published(bare)

    unframed = copied("unframed")
    values = json.loads((unframed / "tokenizer.json").read_text())
    (unframed / "tokenizer.json").write_text(json.dumps(values | {"post_processor": None}))
    with pytest.raises(TokenizerError, match=r"unframed/tokenizer\.json puts nothing before"):
        open_published(unframed)

    larger = copied("larger")
    values["added_tokens"].append({**values["added_tokens"][0], "id": 5000, "content": "<|more|>"})
    values["model"]["vocab"]["<|more|>"] = 5000
    (larger / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"larger: the tokenizer has 5001 tokens"):
        open_published(larger)

    writes = tmp_path / "gpt2"
    size = {"vocab_size": 97, "n_embd": 24, "n_layer": 1, "n_head": 2, "n_positions": 30}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**size)).save_pretrained(writes)
    with pytest.raises(ConfigError, match=r"gpt2 has a decoder, but prompts are read by an encoder alone"):
        open_published(writes)
    (writes / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(ConfigError, match=r"model_type is 't5', but limner has no such family"):
        open_published(writes)

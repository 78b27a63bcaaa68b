"""Model folders of Hugging Face: opened, and written so that transformers gets the same logits from them.

config.json             {"model_type": "qwen3", …}
model.safetensors       whole, or model.safetensors.index.json and shards
tokenizer.json, tokenizer_config.json, generation_config.json
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import ConfigError
from limner.weights.card import read_card, write_readme
from limner.weights.families import families, family
from limner.weights.files import CONFIG, empty_or_forced, replaced_folder, write_json
from limner.weights.folder import LoadedModel, SavableTokenizer, check_vocabulary
from limner.weights.tensors import TensorFiles, empty_model, fill, write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from limner.core.config import ModelConfig
    from limner.core.transformer import Transformer
    from limner.weights.foreign import Family

SHARD_BYTES = 5_000_000_000  # what others write
# What a folder holds beside weights and description; written again as it was.
BESIDE = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "chat_template.jinja", "generation_config.json", "README.md", "LICENSE", "LICENSE.txt",
)  # fmt: skip


def read_huggingface(folder: Path, values: Mapping[str, Any], *, dtype: torch.dtype | None = None) -> LoadedModel:
    """Open a folder whose ``config.json`` holds ``values``.

    Raises:
        ConfigError: a family or a setting that we do not have.
        WeightsError: the weights are missing, damaged, pickles, or do not fit the description.
    """
    known = family(str(values["model_type"]))
    config = known.from_foreign(values, str(folder / CONFIG))
    files = TensorFiles(folder)
    model = empty_model(config)
    needed = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    fill(model, known.table.gather(files, needed, folder), dtype)
    return LoadedModel(model, config, read_card(folder, values))


def choose_family(config: ModelConfig) -> Family:
    """The family whose description says exactly what the model is.

    Raises:
        ConfigError: none; the parts that the nearest one lacks are named.
    """
    lost = {name: known.lost(config) for name, known in families().items()}
    nearest = min(lost, key=lambda name: len(lost[name]))
    if not lost[nearest]:
        return families()[nearest]
    raise ConfigError(
        f"{' and '.join(dict.fromkeys(lost[nearest][:3]))}, but no family of Hugging Face that limner writes is so "
        f"({', '.join(lost)}; the nearest is {nearest}). Keep the folder as it is, or train a model without."
    )


def write_huggingface(
    folder: Path | str,
    model: Transformer,
    *,
    tokenizer: SavableTokenizer | None = None,
    special: Mapping[str, int | None] | None = None,
    card: Mapping[str, Any] | None = None,
    source: Path | None = None,
    source_values: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    force: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> str:
    """Write a folder that ``AutoModelForCausalLM`` or ``AutoModelForMaskedLM`` and ``AutoTokenizer`` load.

    Args:
        tokenizer: writes its own files.
        special: ids of the tokens ``bos``, ``eos`` and ``pad``, where there are such.
        card: for README.md.
        source, source_values: a Hugging Face folder that the model was read from, and its config.json: tokenizer,
            settings for generation and what else we do not read are taken over instead.
        dtype: of the floating-point weights on disk; None: as they are.
        force: replace a model folder that is there already.
        shard_bytes: the largest file.
    Returns:
        The class of transformers that opens it, such as ``"AutoModelForCausalLM"``.
    Raises:
        ConfigError: no family is so.
        WeightsError: the folder is not empty, or cannot be written.
    """
    folder = Path(folder)
    empty_or_forced(folder, force)
    if tokenizer is not None:
        check_vocabulary(tokenizer.vocab_size, model.config, folder)
    chosen = choose_family(model.config)
    state = {
        name: value.detach().cpu() if dtype is None or not value.is_floating_point() else value.detach().cpu().to(dtype)
        for name, value in model.state_dict().items()
    }
    auto = chosen.auto if model.config.head is not None else "AutoModel"
    stored = str(next(iter(state.values())).dtype).removeprefix("torch.")
    values = {
        **_kept(source_values if source_values and source_values.get("model_type") == chosen.model_type else {}),
        **{f"{name}_token_id": token for name, token in (special or {}).items()},
        **chosen.to_foreign(model.config),
        "dtype": stored,
        "torch_dtype": stored,  # as transformers 4 spells it
    }
    with replaced_folder(folder) as fresh:
        write_tensors(fresh, chosen.table.scatter(state, bare=model.config.head is None), shard_bytes=shard_bytes)
        write_json(fresh / CONFIG, values)
        if tokenizer is not None:
            tokenizer.save(fresh)
        if source is not None:
            for name in BESIDE:
                if (source / name).is_file():
                    shutil.copyfile(source / name, fresh / name)
        if model.config.decoder is not None and not (fresh / "generation_config.json").exists():
            ids = {k: v for k, v in values.items() if k in ("bos_token_id", "eos_token_id", "pad_token_id")}
            write_json(fresh / "generation_config.json", {**ids, "do_sample": True})
        if not (fresh / "README.md").exists():
            (fresh / "README.md").write_text(write_readme(card or {}, auto), encoding="utf-8")
    return auto


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """A foreign description without what we write ourselves under another spelling."""
    ours = {
        "torch_dtype",
        "dtype",
        "rope_scaling",
        "rope_theta",
        "rope_parameters",
        "transformers_version",
        "_name_or_path",
    }
    return {name: value for name, value in values.items() if name not in ours}

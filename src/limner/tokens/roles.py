"""Which token begins a text, ends it, fills a batch, stands for what is unknown or hidden."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limner.core.errors import TokenizerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

END = "<|end|>"  # both begins and separates documents
UNKNOWN_CHARACTER = "\ufffd"  # �, which Unicode keeps for this very purpose

# Names by which a token shows its role when no file says so; the first that exists is taken.
KNOWN_NAMES = {
    "begin": ("<|begin|>", "<s>", "[CLS]", "<bos>", "<|begin_of_text|>", "<|startoftext|>"),
    "end": (END, "<|endoftext|>", "</s>", "[SEP]", "<eos>", "<|end_of_text|>"),
    "pad": ("<|pad|>", "<pad>", "[PAD]"),
    "unknown": ("<|unknown|>", "<unk>", "[UNK]", UNKNOWN_CHARACTER),
    "mask": ("<|mask|>", "<mask>", "[MASK]"),
}
# What the same roles are called in tokenizer_config.json; BERT begins with its class token.
CONFIG_KEYS = {
    "begin": ("bos_token", "cls_token"),
    "end": ("eos_token", "sep_token"),
    "pad": ("pad_token",),
    "unknown": ("unk_token",),
    "mask": ("mask_token",),
}


@dataclass(frozen=True)
class Roles:
    """Ids of the tokens that play a part; None where the tokenizer has no such token.

    ``ends`` holds every id that ends a text: chat models have several.
    """

    begin: int | None = None
    end: int | None = None
    pad: int | None = None
    unknown: int | None = None
    mask: int | None = None
    ends: tuple[int, ...] = ()


def roles_by_name(find: Callable[[str], int | None]) -> Roles:
    """Roles told from the tokens' own names; what begins or fills is the end token where nothing else does."""
    found = {
        role: next((id for name in names if (id := find(name)) is not None), None)
        for role, names in KNOWN_NAMES.items()
    }
    end = found["end"]
    begin = found["begin"] if found["begin"] is not None else end
    pad = found["pad"] if found["pad"] is not None else end
    return Roles(begin, end, pad, found["unknown"], found["mask"], () if end is None else (end,))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or an empty one where there is no such file.

    Raises:
        TokenizerError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TokenizerError(f"{path} is damaged, but it should hold JSON: {error}. Fetch or save it again.") from None
    return value if isinstance(value, dict) else {}


def roles_from_folder(folder: Path, find: Callable[[str], int | None], added: Iterable[int]) -> Roles:
    """Roles as the files of a model folder give them.

    Names in tokenizer_config.json count first, then special_tokens_map.json, then ids in
    generation_config.json and config.json (where an id only counts if it is an added token: a config often
    holds its library's defaults), and last the tokens' own names.
    """
    names: dict[str, Any] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        names.update({key: value for key, value in read_json(folder / file).items() if value})
    known = set(added)
    ids: dict[str, list[int]] = {}
    for file in ("generation_config.json", "config.json"):
        settings = read_json(folder / file)
        for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
            listed = [id for id in _listed(settings.get(key)) if id in known]
            if listed:
                ids.setdefault(key, listed)

    def of(role: str) -> int | None:
        for key in CONFIG_KEYS[role]:
            id = find(_content(names.get(key)))
            if id is None:
                id = next(iter(ids.get(f"{key}_id", ())), None)
            if id is not None:
                return id
        return None

    begin, end = of("begin"), of("end")
    saved = names.get("limner")
    named_ends = [find(name) for name in saved.get("ends", ())] if isinstance(saved, dict) else []
    candidates = [end, *named_ends, *ids.get("eos_token_id", ())]
    ends = dict.fromkeys(id for id in candidates if id is not None)
    if begin is None and end is None and not any(key in names for key in ("bos_token", "eos_token")):
        named = roles_by_name(find)
        return Roles(
            named.begin,
            named.end,
            named.pad if of("pad") is None else of("pad"),
            named.unknown if of("unknown") is None else of("unknown"),
            named.mask if of("mask") is None else of("mask"),
            named.ends,
        )
    return Roles(begin, end, of("pad"), of("unknown"), of("mask"), tuple(ends))


def roles_to_config(roles: Roles, name_of: Callable[[int], str | None], names: Mapping[str, str]) -> dict[str, str]:
    """The entries of tokenizer_config.json that make transformers see the same roles.

    Args:
        names: roles already written under other keys, so that they are not written twice.
    """
    config: dict[str, str] = {}
    for role, keys in CONFIG_KEYS.items():
        id = getattr(roles, role)
        name = None if id is None else name_of(id)
        if name is None or any(names.get(key) == name for key in keys):
            continue
        config[keys[0]] = name
        if name in ("[CLS]", "[SEP]"):  # BERT's own keys, which its users look up
            config[keys[1]] = name
    return config


def _content(entry: Any) -> str:
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else ""


def _listed(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, int) and not isinstance(item, bool)]

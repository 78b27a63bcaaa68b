"""The models that the studio has open: each opened once, kept while there is room, opened anew when its folder changes.

Only listed models can be opened: a page names them, and a name is never taken for a path. Those of run folders are
called ``runs/NAME``, and as they were at a checkpoint ``runs/NAME@STEP``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import ConfigError, WeightsError, suggest
from limner.models import Entry, catalogue, load, use_threads

if TYPE_CHECKING:
    from limner.picture.generator import PictureGenerator
    from limner.text.encoder import TextEncoder
    from limner.text.generator import TextGenerator

    Model = TextGenerator | TextEncoder | PictureGenerator

MOST_BYTES = 8 << 30  # of weights; the model that was used last is kept whatever its size
LONGEST_STEP = 18  # digits in a name; none is as long
ONE_THREAD_BELOW = 20_000_000  # parameters; threads wait for each other longer than a step of a small model takes


Identity = tuple[tuple[int, ...] | None, ...]
"""Tells files from those that took their places, each by inode, time and size; None: it is not there."""


@dataclass(frozen=True)
class _Held:
    model: Model
    bytes: int
    parameters: int
    folder: Path
    step: int | None
    identity: Identity


class Shelf:
    """Models by name. Opened in the worker's thread alone; listed in any.

    Args:
        runs: a directory of run folders, which need not be there.
        device: where all models compute.
        most_bytes: of weights in memory.
    """

    def __init__(self, runs: Path, *, device: str = "cpu", most_bytes: int = MOST_BYTES) -> None:
        self.runs, self.device, self.most_bytes = runs, device, most_bytes
        self._held: OrderedDict[str, _Held] = OrderedDict()  # used last comes last
        self._threads: int | None = None

    def entries(self) -> list[Entry]:
        """What can be opened, or cannot and why: what ``limner models`` lists, and the models of runs."""
        of_runs = catalogue([self.runs], named=False) if self.runs.is_dir() else []
        return [*catalogue(), *(replace(entry, name=f"{self._prefix}{entry.name}") for entry in of_runs)]

    def text(self, name: str) -> TextGenerator:
        """A model that writes.

        Raises:
            ConfigError: it is of another kind.
            WeightsError: there is no such model, or it is damaged.
        """
        from limner.text.generator import TextGenerator

        model = self.open(name)
        if not isinstance(model, TextGenerator):
            raise ConfigError(f"the model is {name!r}, but that does not write. Choose a text generator.")
        return model

    def reader(self, name: str) -> TextGenerator | TextEncoder:
        """A model that reads texts.

        Raises:
            ConfigError, WeightsError: as ``text``.
        """
        from limner.picture.generator import PictureGenerator

        model = self.open(name)
        if isinstance(model, PictureGenerator):
            raise ConfigError(f"the model is {name!r}, but that paints. Choose one that reads texts.")
        return model

    def painter(self, name: str) -> PictureGenerator:
        """A model that paints.

        Raises:
            ConfigError, WeightsError: as ``text``.
        """
        from limner.picture.generator import PictureGenerator

        model = self.open(name)
        if not isinstance(model, PictureGenerator):
            raise ConfigError(f"the model is {name!r}, but that is for texts. Choose a picture generator.")
        return model

    def open(self, name: str) -> Model:
        """A model by its listed name, as it is on the disk now; one whose folder is gone is the one that was open.

        Raises:
            WeightsError: there is no such model, or it is damaged.
        """
        held = self._held.get(name)
        if held is not None and _still(_identity(held.folder, held.step), held.identity):
            return self._use(name, held)
        folder, step = self.place(name)
        before = _identity(folder, step)
        model = self._load(folder, step)
        size = sum(p.numel() * p.element_size() for p in model.model.parameters())
        count = sum(p.numel() for p in model.model.parameters())
        model.card = {**model.card, "name": name, "path": str(folder)}
        self._held[name] = held = _Held(model, size, count, folder, step, before)
        model = self._use(name, held)
        while len(self._held) > 1 and sum(one.bytes for one in self._held.values()) > self.most_bytes:
            self._held.popitem(last=False)
        return model

    def place(self, name: str, entries: Sequence[Entry] | None = None) -> tuple[Path, int | None]:
        """The folder of a listed model, and the step for one of a checkpoint.

        Args:
            entries: what ``entries`` gave, where that is known already.
        Raises:
            WeightsError: it is not listed.
        """
        stem, at, step = name.rpartition("@")
        if at and step.isascii() and step.isdigit() and len(step) <= LONGEST_STEP and stem.startswith(self._prefix):
            return self.run(stem.removeprefix(self._prefix)), int(step)
        paths = {entry.name: entry.path for entry in (self.entries() if entries is None else entries)}
        if name not in paths:
            raise WeightsError(
                f"the model is {name!r:.80}, but the studio opens only what it lists. {suggest(name, paths)}"
            )
        return Path(paths[name]), None

    def run(self, name: str) -> Path:
        """The folder of a run by its name.

        Raises:
            WeightsError: there is no such run.
        """
        names = self.run_names()
        if name not in names:
            known = suggest(name, names) if names else "Train a model, or start the studio with --runs."
            raise WeightsError(f"the run is {name!r:.80}, but {self.runs} has no such run. {known}")
        return self.runs / name

    def run_names(self) -> list[str]:
        """All run folders."""
        if not self.runs.is_dir():
            return []
        return sorted(path.name for path in self.runs.iterdir() if (path / "run.json").is_file())

    @property
    def open_names(self) -> list[str]:
        """Names of the models in memory, the one that was used last at the end."""
        return list(self._held)

    @property
    def _prefix(self) -> str:
        return f"{self.runs.absolute().name}/"

    def _load(self, folder: Path, step: int | None) -> Any:
        if step is None:
            return load(folder, device=self.device)
        from limner.train.looking_back import open_at

        return open_at(folder, step, device=self.device)

    def _use(self, name: str, held: _Held) -> Model:
        import torch

        self._held.move_to_end(name)
        if self._threads is None:
            self._threads = torch.get_num_threads()
        use_threads(1 if held.parameters < ONE_THREAD_BELOW else self._threads)
        return held.model


def _identity(folder: Path, step: int | None) -> Identity:
    """By a file that is written anew with the model: of a checkpoint its note, and the plan of the run it belongs to."""
    described = folder / "config.json"
    files = [described if described.exists() else folder / "run.json"]
    if step is not None:
        from limner.train.checkpoint import NOTE, CheckpointFolder

        files.append(CheckpointFolder(folder / "checkpoints").folder(step) / NOTE)
    return tuple(map(_file_identity, files))


def _file_identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _still(now: Identity, then: Identity) -> bool:
    """Whether these are the files that they were; one that is gone is not another."""
    return all(here is None or here == before for here, before in zip(now, then, strict=True))

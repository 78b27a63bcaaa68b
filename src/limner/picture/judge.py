"""The judge: a small convolutional network that reads which animals are in a picture, in which hats, and where.

It has seen drawings of every combination, those that are held back from painters too, and nothing that a painter
painted. It may only judge at a size of pictures at which it reads fresh drawings rightly: see ``Judge.check``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.errors import ConfigError, WeightsError
from limner.core.settings import read_settings, write_settings
from limner.picture.reading import ARRANGEMENTS, Reading, Seen
from limner.picture.world.vocabulary import ANIMALS, BACKGROUNDS, COLOURS, HATS, TIMES
from limner.weights.folder import card_of, described, fill_from, read_config, write_folder
from limner.weights.tensors import empty

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUNDLED = Path(__file__).parents[1] / "assets" / "models" / "judge"
LEAST = 0.995  # of fresh drawings with held-back triples that a judge must read rightly
FIGURES = 2  # places in a picture
TOGETHER = 64  # pictures read at once
WORDS = {
    "animal": ANIMALS,
    "hat": ("", *HATS),  # the first: none
    "colour": COLOURS,
    "arrangement": ARRANGEMENTS,
    "background": BACKGROUNDS,
    "time": TIMES,
}
OF_FIGURE = ("animal", "hat", "colour")
OF_PICTURE = ("arrangement", "background", "time")


@dataclass(frozen=True)
class JudgeConfig:
    """The network.

    Attributes:
        size: pixels a side that every picture is brought to.
        widths: channels at a half, a quarter, an eighth of the size, …
        depths: residual blocks at each.
        heads: places that each figure's question looks at.
    """

    size: int = 64
    widths: tuple[int, ...] = (32, 64, 128)
    depths: tuple[int, ...] = (1, 2, 2)
    heads: int = 4
    words: tuple[str, ...] = tuple(f"{name}: {', '.join(words)}" for name, words in WORDS.items())

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths):
            raise ConfigError(
                f"widths is {self.widths} and depths {self.depths}, but each depth has its width. Give as many of both."
            )
        if self.size % self.stride:
            raise ConfigError(
                f"size is {self.size}, but it is halved {len(self.widths)} times. Choose a multiple of {self.stride}."
            )

    @property
    def stride(self) -> int:
        """Pixels across that one vector of the last stage stands for."""
        return int(2 ** len(self.widths))


class _Convolution(nn.Module):
    """A convolution whose weights are kept as a matrix, (out, in · kernel²), as the optimizer Muon wants them."""

    def __init__(self, before: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.shape, self.stride = (width, before, kernel, kernel), stride
        self.weight = nn.Parameter(torch.randn(width, before * kernel**2) * (2 / (before * kernel**2)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.view(self.shape), stride=self.stride, padding=self.shape[-1] // 2)


class _Norm(nn.LayerNorm):
    """LayerNorm over the channels of a picture; where they lie together in memory, nothing is moved."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """norm → relu → 3×3 → norm → relu → 3×3, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(_Norm(width) for _ in range(2))
        self.convolutions = nn.ModuleList(_Convolution(width, width, 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = convolution(F.relu(norm(y)))
        return x + y


class JudgeNetwork(nn.Module):
    """Pictures to logits: a convolutional trunk, then one question a figure that looks where the answer is.

    The questions are made from the mean over the picture, so that they can depend on how the animals stand.
    """

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = 3
        for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            layers.append(_Convolution(before, width, 5 if stage == 0 else 3, stride=2))
            layers.extend(_Block(width) for _ in range(depth))
            before = width
        self.trunk = nn.Sequential(*layers, _Norm(before), nn.ReLU())
        cells = config.size // config.stride
        self.places = nn.Parameter(torch.randn(before, cells, cells) * 0.02)
        self.question = nn.Linear(before, FIGURES * config.heads * before)
        self.value = nn.Linear(before, before)
        self.mixed = nn.Linear((config.heads + 1) * before, 2 * before)
        heads = {
            name: nn.Linear(2 * before if name in OF_FIGURE else before, len(words)) for name, words in WORDS.items()
        }
        self.head = nn.ModuleDict(heads)

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The last stage, shape (batch, width, cells, cells), and its mean over the picture, the features."""
        seen = self.trunk(pixels)
        return seen, seen.mean(dim=(2, 3))

    def forward(self, pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Logits and features.

        Args:
            pixels: from −1 to 1, shape (batch, 3, size, size).
        Returns:
            By name, for what each figure has (batch, figures, choices), for the picture (batch, choices); and the
            features, (batch, width).
        """
        seen, features = self.features(pixels)
        batch, width = features.shape
        cells = (seen + self.places).flatten(2)  # (batch, width, cells)
        questions = self.question(features).view(batch, FIGURES * self.config.heads, width)
        shares = (questions @ cells / width**0.5).softmax(dim=-1)
        found = shares @ self.value(cells.transpose(1, 2))  # (batch, figures · heads, width)
        found = found.view(batch, FIGURES, -1)
        whole = features[:, None].expand(-1, FIGURES, -1)
        hidden = F.relu(self.mixed(torch.cat((found, whole), dim=-1)))
        return {name: layer(hidden if name in OF_FIGURE else features) for name, layer in self.head.items()}, features


class Judge:
    """Reads pictures with a trained network.

    Args:
        network: in evaluation mode.
        card: what its folder says of itself; ``ceilings`` maps a size of pictures, as text, to its accuracies there.
    """

    name = "classifier"

    def __init__(self, network: JudgeNetwork, card: Mapping[str, Any] | None = None, sha256: str = "") -> None:
        self.network, self.card, self.sha256 = network, dict(card or {}), sha256

    def ceiling(self, size: int) -> dict[str, float] | None:
        """Its accuracies on fresh drawings of this size; None where they were not measured."""
        found = self.card.get("ceilings", {}).get(str(size))
        return None if found is None else dict(found)

    def check(self, size: int, ceiling: Mapping[str, float] | None = None) -> Mapping[str, float]:
        """Its accuracies at this size, which must be good enough to judge by.

        Args:
            ceiling: measured just now; None: the card's.
        Raises:
            ConfigError: it was not measured at this size, or reads too few drawings rightly there.
        """
        ceiling = ceiling or self.ceiling(size)
        if ceiling is None:
            raise ConfigError(
                f"pictures are {size} pixels a side, but the judge was measured at "
                f"{', '.join(self.card.get('ceilings', {})) or 'no size'}. Paint pictures of one of these sizes."
            )
        if ceiling["triples"] < LEAST:
            raise ConfigError(
                f"at {size} pixels the judge's ceiling is {ceiling['triples']:.2%} of fresh drawings, but it may judge only "
                f"from {LEAST:.1%} on. Paint larger pictures, or train a better judge with python -m limner.recipes.judge."
            )
        return ceiling

    @torch.inference_mode()
    def look(self, images: Sequence[Image.Image]) -> tuple[list[Reading], Tensor]:
        """What is in pictures, and their features, shape (pictures, width)."""
        readings: list[Reading] = []
        features = [torch.empty(0, self.network.config.widths[-1])]
        for start in range(0, len(images), TOGETHER):
            arrays = [brought_to(image, self.network.config.size) for image in images[start : start + TOGETHER]]
            logits, found = self.network(to_network(np.stack(arrays)))
            readings.extend(_readings(logits))
            features.append(found)
        return readings, torch.cat(features)

    def read(self, images: Sequence[Image.Image]) -> list[Reading]:
        """What is in pictures."""
        return self.look(images)[0]


def brought_to(image: Image.Image, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture as the network sees it, uint8, shape (size, size, 3)."""
    image = image.convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def to_network(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """uint8 of shape (batch, size, size, 3) as the network's input."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)


def _readings(logits: Mapping[str, Tensor]) -> list[Reading]:
    best = {name: values.argmax(dim=-1).tolist() for name, values in logits.items()}
    readings = []
    for row in range(len(best["arrangement"])):
        arrangement = ARRANGEMENTS[best["arrangement"][row]]
        figures = []
        for figure in range(1 if arrangement == "alone" else FIGURES):
            hat = WORDS["hat"][best["hat"][row][figure]] or None
            colour = None if hat is None else COLOURS[best["colour"][row][figure]]
            figures.append(Seen(ANIMALS[best["animal"][row][figure]], hat, colour))
        places = (BACKGROUNDS[best["background"][row]], TIMES[best["time"][row]])
        readings.append(Reading(arrangement, tuple(figures), *places))
    return readings


# ── on disk ────────────────────────────────────────────────────────────────────────────────────────────


def save_judge(folder: Path, judge: Judge, *, dtype: torch.dtype | None = None) -> None:
    """Write the judge's folder, whole or not at all.

    Raises:
        WeightsError: it cannot be written.
    """
    config = write_settings(judge.network.config)
    write_folder(folder, {"judge": config}, judge.network.state_dict(), None, judge.card, dtype=dtype)


def load_judge(folder: Path | str = BUNDLED) -> Judge:
    """Open a judge, by default the bundled one.

    Raises:
        WeightsError: it is missing, damaged, of another kind, or was trained for another vocabulary.
    """
    folder = Path(folder)
    values = read_config(folder)
    config = read_settings(JudgeConfig, described(folder, values, "judge"), "judge")
    if config.words != JudgeConfig().words:
        raise WeightsError(
            f"{folder} was trained for other words than the picture-book world's, so that its answers mean something else. "
            "Train it again with python -m limner.recipes.judge."
        )
    network = empty(lambda: JudgeNetwork(config))
    fill_from(folder, network, values, dtype=torch.float32)
    return Judge(network, card_of(folder, values), str(values.get("sha256")))

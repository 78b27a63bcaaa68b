"""Picture models whose prompts are read by a published encoder: CLIP or BERT, not trained, saved with the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

import limner
from limner.cli.app import app
from limner.core.errors import ContextError, WeightsError
from limner.picture.denoiser import PictureModel
from limner.picture.generator import PictureGenerator
from limner.picture.prompts import prompt_ids
from limner.train import captions as module
from limner.train.captions import FrozenReader
from limner.train.checkpoint import read_checkpoint, write_checkpoint
from limner.train.loop import Watcher
from limner.train.picture import PicturePlan, PictureRun, go_on, start
from tests.picture.published import published_folder

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "yellow": (240, 220, 40)}
CAPTIONS = [f"A {name} picture, {side} and wide" for name in COLOURS for side in ("light", "dark")]
SMALL = (
    "pixels=16", "patch=4", "dim=32", "num_layers=2", "num_heads=2", "batch_size=8", "evaluate_pictures=8",
    "sample_steps=2", "evaluations=1", "checkpoints=3", "steps=6", "ema=0.9", "threads=1", "device=cpu", "validation=0.25",
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(32):
        colour = list(COLOURS.values())[number // 2 % 4]
        shade = tuple(value - 4 * (number // 8) - 10 * (number % 2) for value in colour)
        Image.new("RGB", (16, 16), tuple(max(0, value) for value in shade)).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(CAPTIONS[number % 8])
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("encoders")
    for kind in ("whole clip", "bert"):
        published_folder(place / kind, kind, CAPTIONS * 2)
        (place / kind / "README.md").write_text("---\nlicense: mit\n---\n# small\n")
    return {kind: place / kind for kind in ("whole clip", "bert")}


def begin(
    data: Path, encoder: Path, out: Path, *changes: str, prompts: tuple[str, ...] = ("a red picture",)
) -> PictureRun:
    plan = PicturePlan(data=(data,), prompts=prompts)
    return start(plan.override([*SMALL, f"prompt_encoder={encoder}", *changes]), out, cache=out.with_name("cache"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


class StopAt(Watcher):
    def __init__(self, step: int) -> None:
        self.step = step

    def saved(self, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["whole clip", "bert"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "autocast"])
def test_it_trains_and_paints_from_its_own_folder(
    kind: str, precision: str, pictures: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    given = Path(shutil.copytree(encoders[kind], tmp_path / kind))
    run = begin(pictures, given, tmp_path / "run", "dtype=bfloat16", f"precision={precision}")
    assert f"read by {kind}, 2 layers of 24, which is not trained" in run.summary()
    assert "prompts of up to 30 tokens" in run.summary()
    published = limner.load(given).model.state_dict()  # type: ignore[union-attr]
    shutil.rmtree(given)  # the run has its own
    assert run.train().reason == "finished"

    kept = weights(tmp_path / "run")
    read = {name.removeprefix("prompt_encoder."): value for name, value in kept.items() if "prompt_encoder" in name}
    assert read.keys() == {name for name in published if not name.startswith("head.")}
    assert all(torch.equal(value, published[name]) for name, value in read.items()), "it is not trained, nor rounded"
    assert {value.dtype for name, value in kept.items() if "prompt_encoder" not in name} == {torch.bfloat16}
    state = load_file(next((tmp_path / "run" / "checkpoints").iterdir()) / "state.safetensors")
    assert not any("prompt_encoder" in name for name in state)
    assert any(name.startswith("average/denoiser.prompt") for name in state)

    painter = limner.load(tmp_path / "run")
    assert isinstance(painter, PictureGenerator)
    assert painter.card["prompt_encoder"]["licence"] == "mit"
    one, other = (painter.generate(text, seed=1, steps=2)[0] for text in ("a Red picture", "a blue picture"))
    assert not torch.equal(one.looks[-1].seen, other.looks[-1].seen), "after six steps less than a level of 255"
    with pytest.raises(ContextError, match=r"the prompt has (\d+) tokens, but this model reads 30"):
        painter.generate("a red picture " * 12, seed=1, steps=2)


def test_a_resumed_run_makes_the_same_weights(pictures: Path, encoders: dict[str, Path], tmp_path: Path) -> None:
    begin(pictures, encoders["whole clip"], tmp_path / "whole").train()
    begin(pictures, encoders["whole clip"], tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        go_on(tmp_path / "parts").train([StopAt(2)])
    path = tmp_path / "parts" / "checkpoints" / "step-00000002"
    old = read_checkpoint(path)  # as limner wrote them when they held what is frozen
    frozen = {f"{part}/prompt_encoder.embedding.token.weight": torch.ones(2, 3) for part in ("weights", "average")}
    note = {key: value for key, value in old.note.items() if key not in ("format", "version", "sha256")}
    write_checkpoint(path, old.tensors | frozen, note)
    resumed = go_on(tmp_path / "parts")
    assert resumed.resumed
    assert resumed.train().step == 6
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_long_captions_are_told_and_long_prompts_refused(
    pictures: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    data = Path(shutil.copytree(pictures, tmp_path / "data"))
    for number in range(12):
        (data / f"{number:02}.txt").write_text("a red picture " * (10 + number))
    run = begin(data, encoders["bert"], tmp_path / "run", "context_length=10", "validation=0.1", prompts=())
    captions = [text for number in range(len(run.corpus.train)) for text in run.corpus.train.captions(number)]
    lengths = [len(prompt_ids(run.tokenizer, text, lower_case=False)) for text in captions]
    beyond = sum(length > 10 for length in lengths)
    assert beyond > 1
    told = f"{beyond} of {len(lengths)} captions are longer than the 10 tokens that are read (the longest has {max(lengths)})"
    assert told in run.summary()
    assert told in go_on(tmp_path / "run").summary()
    ids, mask = run.read(["a red picture " * 14])
    assert ids.shape == (1, 10)
    assert mask.all()
    assert ids[0, -1] == run.tokenizer.closing[-1], "what the encoder was trained to see last stays last"
    assert run.train().reason == "finished"
    with pytest.raises(ContextError, match=r"has 44 tokens, but this model is to read 10"):
        begin(data, encoders["bert"], tmp_path / "other", "context_length=10", prompts=("a red picture " * 14,))
    assert not (tmp_path / "other").exists()


def test_our_own_encoder_tells_of_long_captions_too(pictures: Path, tmp_path: Path) -> None:
    plan = PicturePlan(data=(pictures,), prompts=("red",)).override([*SMALL, "context_length=4"])
    run = start(plan, tmp_path / "run", cache=tmp_path / "cache")
    assert "of 24 captions are longer than the 4 tokens that are read" in run.summary()
    roomy = start(plan.override(["context_length=64"]), tmp_path / "roomy", cache=tmp_path / "cache")
    assert "longer than" not in roomy.summary()


def test_a_caption_is_read_once_and_alone(
    pictures: Path, encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(pictures, encoders["bert"], tmp_path / "run")
    torch.manual_seed(0)
    model = PictureModel(run.choice.config).eval()
    read = FrozenReader(model, run.rows)
    texts = [CAPTIONS[0], "", CAPTIONS[3]]
    vectors, mask = read(texts)
    assert vectors.shape == (3, 30, 24)
    assert not vectors.requires_grad
    ids, same = run.read(texts)
    assert torch.equal(mask, same)
    together = model.read_prompt(ids, mask)
    assert torch.allclose(vectors[mask], together[mask], atol=1e-5)
    assert not vectors[~mask].any()
    monkeypatch.setattr(module, "KEPT_BYTES", 0)
    alone, _ = FrozenReader(model, run.rows)([CAPTIONS[3]])
    assert torch.equal(alone[0], vectors[2]), "neighbours and what was kept change nothing"

    def never(*_: object) -> None:
        raise AssertionError("a caption was read again")

    monkeypatch.setattr(model.prompt_encoder, "hidden", never)
    assert torch.equal(read(texts)[0], vectors)


def test_what_cannot_read_is_refused_before_the_pictures_are(encoders: dict[str, Path], tmp_path: Path) -> None:
    broken = Path(shutil.copytree(encoders["bert"], tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"\x80\x02 a pickle")
    with pytest.raises(WeightsError, match=r"broken/model\.safetensors"):
        begin(tmp_path / "no pictures", broken, tmp_path / "run")
    (broken / "config.json").write_text(json.dumps({"format": "limner", "version": 1, "judge": {}}))
    arguments = ["train", "picture", "--data", str(tmp_path), "--prompt-encoder", str(broken), "--steps", "1"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "is a judge of pictures, but a text model is needed here" in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()

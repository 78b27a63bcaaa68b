"""Training text models, small ones: from files to a model folder, from Python and from the command line."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from limner.cli.app import app
from limner.core.errors import ConfigError, DataError, LimnerError, TrainingError
from limner.core.output import IGNORED, next_token_loss
from limner.core.transformer import Transformer
from limner.data import Shards
from limner.recipes import RECIPES, recipe
from limner.text.presets import shape
from limner.tokens import Tokenizer, train_tokenizer
from limner.train.probes import Probe, ask, read_probes
from limner.train.run import RunFolder, read_events
from limner.train.settings import TrainSettings
from limner.train.text import TextPlan, choose_parameters, go_on, measure, start
from limner.weights.folder import load_model
from tests.train.test_loop import Notes

SMALL = (
    "model.dim=32", "model.num_layers=2", "model.num_heads=2", "model.num_kv_heads=1", "model.head_dim=16",
    "model.hidden_dim=64", "context_length=32", "batch_size=4", "threads=1", "precision=float32", "compile=off",
    "vocab_size=300", "sample_tokens=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred little stories in one file."""
    chance = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "stories.jsonl"
    nouns, verbs = ("cat", "dog", "bird", "fish", "girl", "boy"), ("saw", "liked", "found", "lost", "chased")
    with path.open("w") as file:
        for _ in range(100):
            text = " ".join(
                f"The {chance.choice(nouns)} {chance.choice(verbs)} a {chance.choice(nouns)}." for _ in range(8)
            )
            file.write(json.dumps({"text": text}) + "\n")
    return path


def plan(corpus: Path, *assignments: str, **values: Any) -> TextPlan:
    return TextPlan(data=(corpus,), **values).override([*SMALL, *assignments])


# ── the whole way ───────────────────────────────────────────────────────────────────────────────────────


def test_a_run_learns_and_leaves_a_model(corpus: Path, tmp_path: Path) -> None:
    probe = Probe("The cat saw", " a", " the")
    run = start(
        plan(corpus, "steps=60", "evaluations=3", "dtype=bfloat16", probes=(probe,), prompts=("The cat",)),
        tmp_path / "run",
    )
    assert "100 documents" in run.summary()
    assert "60 steps" in run.summary()
    outcome = run.train()
    events = read_events(tmp_path / "run")
    evaluations = [event for event in events if event["event"] == "evaluation"]
    assert [event["step"] for event in evaluations] == [20, 40, 60]
    assert evaluations[-1]["loss"] < 0.8 * math.log(300)
    assert evaluations[-1]["loss"] < evaluations[0]["loss"]
    assert evaluations[-1]["samples"][0].startswith("The cat")
    right, wrong = evaluations[-1]["probes"][probe.name]
    assert 0 < wrong < right < 1
    model, config, card = load_model(tmp_path / "run" / "model")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert config.dim == 32
    assert card["validation"]["bits_per_byte"] == pytest.approx(outcome.best["bits_per_byte"])
    assert card["training"]["steps"] == outcome.best_step
    assert Tokenizer.load(tmp_path / "run" / "model").vocab_size == config.vocab_size


def test_a_text_run_goes_on_bit_for_bit(corpus: Path, tmp_path: Path) -> None:
    from tests.train.toy import StopAfter, weights

    settings = ("steps=12", "model.dropout=0.1", "evaluations=2")
    start(plan(corpus, *settings), tmp_path / "whole").train()
    assert start(plan(corpus, *settings), tmp_path / "parts").train((StopAfter(5),)).reason == "interrupted"
    assert go_on(tmp_path / "parts").train().reason == "finished"
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


COMPILES = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile, about torch


@COMPILES
@pytest.mark.slow  # compiles three times
def test_a_compiled_text_run_goes_on_bit_for_bit(corpus: Path, tmp_path: Path) -> None:
    from tests.train.toy import StopAfter, weights

    settings = ("steps=6", "model.dropout=0.1", "evaluations=2", "compile=on", "precision=bfloat16")
    start(plan(corpus, *settings), tmp_path / "whole").train()
    assert start(plan(corpus, *settings), tmp_path / "parts").train((StopAfter(3),)).reason == "interrupted"
    torch.compiler.reset()  # as in a new process
    assert go_on(tmp_path / "parts").train().reason == "finished"
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []


@COMPILES
@pytest.mark.parametrize("compiled", ["off", pytest.param("on", marks=pytest.mark.slow)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "autocast"])
def test_the_step_is_the_loss_of_all_logits(
    corpus: Path, tmp_path: Path, precision: str, compiled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core computes head and loss in pieces; loss and gradient norm of a step are those of the logits at once."""
    documents = ("align=document", "documents_apart=yes", "steps=2", "evaluations=1", "model.num_kv_heads=2")
    settings = (*documents, f"precision={precision}", f"compile={compiled}", "clip=0")
    found = Notes()
    start(plan(corpus, *settings), tmp_path / "run").train((found,))
    calls = []

    def whole(self: Transformer, ids: Any, targets: Any, *, documents: Any = None) -> Any:
        calls.append(bool((targets == IGNORED).any()))
        return next_token_loss(self(ids, documents=documents), targets)

    monkeypatch.setattr(Transformer, "loss", whole)
    expected = Notes()
    start(plan(corpus, *settings, "compile=off"), tmp_path / "logits").train((expected,))
    assert len(calls) == 2 and any(calls), "the step is not the model's own loss, or nothing was ignored"
    close = 1e-5 if precision == "float32" else 2e-2
    for ours, theirs in zip(found.steps, expected.steps, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=close)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=5 * close)
        close = 2e-2  # Muon rounds to bfloat16 within


def test_a_finished_run_can_be_made_longer(corpus: Path, tmp_path: Path) -> None:
    start(plan(corpus, "steps=4"), tmp_path / "run").train()
    assert go_on(tmp_path / "run", assignments=["steps=6"]).train().step == 6
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored["train"]["steps"] == 6


def test_a_finished_run_says_so_and_how_to_go_longer(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    start(plan(corpus, "steps=4"), run).train()
    before = read_events(run)
    done = limner("train", "text", "--resume", run, "--json")
    assert done.exit_code == 0, done.output
    assert f"{run} is finished: its 4 steps are over." in done.stderr
    assert f"limner train text --resume {run} --steps 8" in done.stderr
    said = json.loads(done.stdout)
    assert (said["reason"], said["steps"]) == ("finished", 4)
    assert said["loss"] == before[-1]["loss"]
    assert read_events(run) == before, "it was trained or judged again"
    longer = limner("train", "text", "--resume", run, "--json", "--steps", 8)
    assert json.loads(longer.stdout.splitlines()[-1])["steps"] == 8
    assert limner("train", "text", "--resume", run, "--set", "minutes=0.0001", "--json").exit_code == 0
    stored = json.loads((run / "run.json").read_text())["train"]
    assert (stored["steps"], stored["minutes"]) == (None, 0.0001)


def test_a_run_that_was_killed_before_it_was_judged_is_judged(corpus: Path, tmp_path: Path) -> None:
    start(plan(corpus, "steps=4"), tmp_path / "run").train()
    events = tmp_path / "run" / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    events.write_text("".join(line for line in lines if '"result"' not in line))
    opened = go_on(tmp_path / "run")
    assert opened.finished() is None
    assert opened.train().step == 4
    assert opened.finished() is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tokenizer", "bytes"], "--tokenizer is given beside --resume"),
        (["--vocab", "300"], "--vocab is given beside --resume"),
        (["--size", "2M"], "--size is given beside --resume"),
        (["--out", "x"], "--out is given beside --resume"),
        (["--recipe", "story"], "--recipe is given beside --resume"),
        (["--validation", "0.1"], "--validation is given beside --resume"),
        (["--column", "x"], "--column is given beside --resume"),
        (["--prompt", "x"], "--prompt is given beside --resume"),
        (["--probes", "x"], "--probes is given beside --resume"),
        (["--seed", "0"], "--seed is given beside --resume"),
        (["--cache", "x"], "--cache is given beside --resume"),
        (
            ["--set", "size=2M"],
            "--set size is given beside --resume, but a run goes on with the size that it began with",
        ),
        (["--set", "seed=3"], "--set seed is given beside --resume"),
        (["--set", "optimizer=adamw"], "--set optimizer is given beside --resume"),
        (["--set", "model.dim=64"], "--set model.dim is given beside --resume"),
        (["--set", "ema=0.9"], "--set ema=0.9 is given beside --resume"),
        (["--set", "stepps=9"], "Did you mean 'steps'?"),
        (["--steps", "3"], "steps is 3, but the run has done 4 already. Choose 5 or more."),
    ],
)
def test_what_cannot_change_any_more_is_refused(
    words: list[str], said: str, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = tmp_path_factory.getbasetemp() / "resumed"
    if not run.exists():
        start(plan(corpus, "steps=4"), run).train()
    before = (run / "run.json").read_bytes(), (run / "events.jsonl").read_bytes()
    done = limner("train", "text", "--resume", run, *words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert before == ((run / "run.json").read_bytes(), (run / "events.jsonl").read_bytes())


def test_what_is_given_again_as_it_was_is_no_change(corpus: Path, tmp_path: Path) -> None:
    start(plan(corpus, "steps=2"), tmp_path / "run").train()
    again = go_on(tmp_path / "run", assignments=[*SMALL, "steps=3", "seed=0", "compile=auto", "threads=0"])
    assert again.choice.settings.compile == "off"
    assert again.choice.settings.threads > 0
    assert again.train().step == 3


def test_changed_data_are_noticed(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(corpus.read_bytes())
    start(plan(copy, "steps=2"), tmp_path / "run").train()
    copy.write_text("".join(corpus.read_text().splitlines(keepends=True)[:60]))
    with pytest.raises(TrainingError, match="the data have training tokens"):
        go_on(tmp_path / "run")


def test_recomputed_activations_and_documents_apart_train_too(corpus: Path, tmp_path: Path) -> None:
    made = plan(
        corpus, "steps=2", "checkpoint_activations=yes", "documents_apart=yes", "align=document", "optimizer=adamw"
    )
    assert start(made, tmp_path / "run").train().reason == "finished"


# ── measuring ───────────────────────────────────────────────────────────────────────────────────────────


def test_an_untrained_model_needs_the_logarithm_of_the_vocabulary() -> None:
    tokenizer = train_tokenizer("bytes", [])
    texts = ["Hello, wörld!", "More of it."]
    shards = Shards.from_texts(texts, tokenizer)
    model = Transformer(shape(60_000, tokenizer.vocab_size, 8).config(tokenizer.vocab_size)).eval()
    torch.nn.init.zeros_(model.embedding.token.weight)
    found = measure(model, shards, tokenizer.begin_id)
    assert found["loss"] == pytest.approx(math.log(tokenizer.vocab_size))
    assert found["bits_per_byte"] == pytest.approx(math.log2(tokenizer.vocab_size))  # a token is a byte


def test_overlapping_windows_score_the_same_tokens() -> None:
    tokenizer = train_tokenizer("bytes", [])
    shards = Shards.from_texts(["a long text that needs several windows"], tokenizer)
    model = Transformer(shape(60_000, tokenizer.vocab_size, 8).config(tokenizer.vocab_size)).eval()
    torch.nn.init.zeros_(model.embedding.token.weight)
    for stride in (1, 3, 8, None):
        assert measure(model, shards, tokenizer.begin_id, stride=stride)["loss"] == pytest.approx(
            math.log(tokenizer.vocab_size)
        )


# ── probes ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_probe_multiplies_the_chances_of_its_tokens() -> None:
    tokenizer = train_tokenizer("bytes", [])
    model = Transformer(shape(60_000, tokenizer.vocab_size, 16).config(tokenizer.vocab_size)).eval()
    probe = Probe("The sky is", " b", "x")
    pair = ask([probe], model, tokenizer)[probe.name]
    ids = [tokenizer.begin_id, *tokenizer.encode("The sky is b")]
    logs = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1).detach()
    expected = sum(float(logs[place - 1, ids[place]]) for place in (len(ids) - 2, len(ids) - 1))
    assert pair[0] == pytest.approx(math.exp(expected), rel=1e-4)


def test_probes_too_long_for_the_window_are_left_out() -> None:
    tokenizer = train_tokenizer("bytes", [])
    model = Transformer(shape(60_000, tokenizer.vocab_size, 4).config(tokenizer.vocab_size)).eval()
    assert ask([Probe("The sky is", " blue", " green")], model, tokenizer) == {}


def test_probes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "probes.jsonl"
    path.write_text('{"prompt": "The sky is", "right": " blue", "wrong": " green"}\n\n')
    assert read_probes(path) == (Probe("The sky is", " blue", " green"),)


@pytest.mark.parametrize("line", ['{"prompt": "x"}', "no json", '["a"]', '{"prompt": "x", "right": 3, "wrong": "y"}'])
def test_a_line_that_is_no_probe_is_shown(tmp_path: Path, line: str) -> None:
    path = tmp_path / "probes.jsonl"
    path.write_text('{"prompt": "x", "right": "y", "wrong": "z"}\n' + line)
    with pytest.raises(DataError, match="line 2") as caught:
        read_probes(path)
    assert repr(line) in str(caught.value)
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        read_probes(tmp_path / "gone.jsonl")


# ── choosing ────────────────────────────────────────────────────────────────────────────────────────────


def test_more_time_and_more_data_make_a_larger_model() -> None:
    def size(unique: float, minutes: float, speed: float = 2e11) -> int:
        return choose_parameters(int(unique), TrainSettings(minutes=minutes), speed, 4096, 256)

    assert size(3e6, 1) < size(3e6, 60)
    assert size(1e5, 600) < size(3e6, 600)
    assert size(3e6, 60, 1e11) <= size(3e6, 60, 1e12)
    assert 3e6 < size(3e6, 60) < 2e7
    assert size(1, 0.001) > 0


def test_auto_fits_a_small_corpus(corpus: Path, tmp_path: Path) -> None:
    run = start(TextPlan(data=(corpus,)).override(["steps=100", "threads=1"]), tmp_path / "run")
    assert run.choice.parameters < 500_000
    assert run.choice.settings.batch_size * run.choice.config.context_length <= run.corpus.train.num_tokens
    assert run.choice.settings.precision in ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("assignment", "word"),
    [
        ("model.decoder.blocks.0.attention.softcapp=30", "softcap"),
        ("model.decoder.blocks.3.dropout=0.1", "3"),
        ("model.decoder.final_norm.eps=small", "small"),
        ("model.num_heads=3", "num_kv_heads"),
        ("tokenizer=byte-bp", "byte-bpe"),
        ("size=huge", "huge"),
    ],
)
def test_what_cannot_be_made_is_said(corpus: Path, tmp_path: Path, assignment: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        start(plan(corpus, "model.num_kv_heads=2", "steps=1", assignment), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_anything_in_the_model_can_be_set(corpus: Path, tmp_path: Path) -> None:
    deep = ("model.decoder.blocks.0.attention.softcap=30", "model.decoder.blocks.0.placement=sandwich", "model.tied=no")
    config = start(plan(corpus, "steps=1", *deep), tmp_path / "run").choice.config
    assert config.stack.block(0).attention.softcap == 30.0
    assert config.stack.block(0).placement == "sandwich"
    assert config.head is not None
    assert not config.head.tied


# ── recipes ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_complete(name: str) -> None:
    found = recipe(name)
    assert all(path.exists() for path in (*found.data, *found.train_only))
    assert found.card["recipe"] == name
    assert found.prompts
    assert found.probes
    TrainSettings.from_dict(dict(found.train))


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'stories'.*'story'"):
        recipe("stories")


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────


def limner(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def settings(*assignments: str) -> list[str]:
    return [part for assignment in (*SMALL, *assignments) for part in ("--set", assignment)]


def test_the_command_trains_and_says_how_to_write(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = limner(
        "train", "text", "--data", corpus, "--steps", 6, "--out", run, "--seed", 3, "--json", *settings("evaluations=2")
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["steps"] == 6
    assert result["reason"] == "finished"
    assert result["bits_per_byte"] > 0
    assert f'limner write "Once upon a time" --model {run / "model"}' in done.stderr
    assert "100 documents" in done.stderr
    assert list((run / "tensorboard").iterdir())
    again = limner("train", "text", "--resume", run, "--json")
    assert json.loads(again.stdout.splitlines()[-1])["steps"] == 6
    twice = limner("train", "text", "--data", corpus, "--steps", 6, "--out", run)
    assert twice.exit_code == 2
    assert "holds a run already" in twice.stderr


def test_a_recipe_takes_texts_of_ones_own_and_says_so(corpus: Path, tmp_path: Path) -> None:
    words = ["--steps", 1, "--size", "50K", "--out", tmp_path / "run", "--set", "compile=off"]
    done = limner("train", "text", "--recipe", "shakespeare", "--data", corpus, *words)
    assert done.exit_code == 0, done.output
    card = load_model(tmp_path / "run" / "model").card
    assert card["trained_on"] == corpus.name
    assert not {"recipe", "licence", "title"} & set(card), "those are of the recipe's own data"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--data is missing"),
        (["--steps", "3", "--minutes", "2"], "--steps is 3"),
        (["--recipe", "stori"], "'story'"),
        (["--set", "learning_rat=3"], "learning_rate"),
        (["--resume", "nowhere"], "nowhere"),
        (["--resume", "nowhere", "--data", "x"], "--data is given beside --resume"),
        (["--data", "/nowhere/at/all", "--steps", "1"], "/nowhere/at/all"),
        (["--size", "large"], "large"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(
    words: list[str], said: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    has_data = {"--resume", "--data", "--recipe"} & set(words) or not words
    done = limner("train", "text", *([] if has_data else ["--data", corpus]), *words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "huge"], "size is 'huge'"),
        (["--size", "1K"], "size is 1,000 parameters"),
        (["--set", "model.num_heads=3", "--set", "model.num_kv_heads=2"], "num_kv_heads"),
        (["--set", "model.decoder.blocks.0.attention.softcapp=30"], "softcap"),
        (["--set", "model.dim=wide"], "model.dim is 'wide'"),
        (["--tokenizer", "byte-bp"], "byte-bpe"),
        (["--vocab", "100"], "vocab_size is 100, but byte-bpe needs 256 bytes"),
        (["--validation", "0.7"], "validation is 0.7"),
        (["--set", "context_length=-1"], "context_length is -1"),
        (["--set", "sample_tokens=0"], "sample_tokens is 0"),
        (["--set", "dropout=1"], "dropout is 1.0"),
        (["--set", "device=gpu"], "device is 'gpu'"),
        (["--minutes", "0"], "minutes is 0.0"),
    ],
)
def test_mistakes_are_told_before_the_data_are_read(
    words: list[str], said: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.train.text.prepare_corpus", lambda *_, **__: pytest.fail("the data were read"))
    done = limner("train", "text", "--data", corpus, "--out", tmp_path / "run", *words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_context_longer_than_the_data_leaves_no_run(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a context length of 100,000 needs at least 100,001"):
        start(plan(corpus, "steps=1", "context_length=100000"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"word", b"\x00\x01\x02\xff" * 100, b"   \n  "])
def test_data_with_nothing_to_learn_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(content)
    with pytest.raises(LimnerError, match=r"but") as caught:
        start(plan(path, "steps=1"), tmp_path / "run")
    assert isinstance(caught.value, DataError)
    assert not (tmp_path / "run").exists()


def test_ctrl_c_saves_and_says_how_to_go_on(corpus: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "limner",
        "train",
        "text",
        "--data",
        str(corpus),
        "--steps",
        "1000000",
        "--out",
        str(tmp_path / "run"),
    ]
    process = subprocess.Popen(
        [*words, *settings("checkpoints=0")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"limner train text --resume {tmp_path / 'run'}" in err
    (saved,) = RunFolder(tmp_path / "run").checkpoints.steps()
    assert saved >= 1

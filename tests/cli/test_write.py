"""`limner write`, `limner eval` and `limner explain` as a person at a terminal meets them."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner, Result

from limner.cli.app import app
from limner.cli.prompt import plain, quoted
from limner.models import load
from limner.text.generator import TextGenerator
from limner.tokens import train_tokenizer
from limner.weights.folder import save_model
from tests.text.conftest import STORY, make_generator
from tests.text.test_evaluate import direct

Limner = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = train_tokenizer("byte-bpe", [STORY] * 4, vocab_size=320)
    generator = make_generator(tokenizer)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, generator.model, tokenizer, {"name": "tiny"})
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> TextGenerator:
    opened = load(folder)
    assert isinstance(opened, TextGenerator)
    return opened


@pytest.fixture
def limner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Limner:
    monkeypatch.setenv("LIMNER_MODELS", str(folder.parent))

    def run(*arguments: str | Path, input: bytes | str | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)

    return run


# ── write ──────────────────────────────────────────────────────────────────────────────────────────────


def test_it_prints_prompt_and_text(limner: Limner, model: TextGenerator) -> None:
    result = limner("write", "Once upon", "--model", "tiny", "--seed", 5, "--max-tokens", 20)
    text = model.generate("Once upon", seed=5, max_tokens=20)
    assert result.exit_code == 0
    assert result.stdout == f"Once upon{text.text}\n"
    assert result.stderr == ""


def test_every_option_reaches_the_generator(limner: Limner, model: TextGenerator) -> None:
    result = limner(
        "write", "Tom", "--model", "tiny", "--seed", 2, "--max-tokens", 30, "--temperature", 1.3, "--top-k", 40,
        "--top-p", 0.9, "--min-p", 0.01, "--repetition-penalty", 1.1, "--stop", "zq", "--stop", "xj", "--n", 2,
        "--window", "slide", "--json",
    )  # fmt: skip
    texts = model.generate(
        "Tom", seed=2, max_tokens=30, temperature=1.3, top_k=40, top_p=0.9, min_p=0.01, repetition_penalty=1.1,
        stop=["zq", "xj"], n=2, window="slide",
    )  # fmt: skip
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["settings"] for line in lines] == [text.settings.to_dict() for text in texts]
    assert [(line["ids"], line["text"], line["seed"]) for line in lines] == [
        (text.ids, text.text, text.seed) for text in texts
    ]
    assert len(lines[0]["record"]["candidate_ids"][0]) == 20
    greedy = limner("write", "Tom", "--model", "tiny", "--greedy", "--max-tokens", 9, "--json")
    assert json.loads(greedy.stdout)["settings"]["temperature"] == 0


def test_several_texts_stand_one_after_another(limner: Limner, model: TextGenerator) -> None:
    result = limner("write", "Tom", "--model", "tiny", "--seed", 2, "--max-tokens", 12, "--n", 3)
    texts = model.generate("Tom", seed=2, max_tokens=12, n=3)
    expected = [f"--- {i + 1} of 3, seed {2 + i} ---\nTom{text.text}\n" for i, text in enumerate(texts)]
    assert result.stdout == "\n".join(expected)


@pytest.mark.parametrize(("piped", "prompt"), [(b"Once upon\n", "Once upon"), ("café\r\n".encode(), "café")])
def test_the_prompt_is_read_from_standard_input_when_piped(limner: Limner, piped: bytes, prompt: str) -> None:
    result = limner("write", "--model", "tiny", "--seed", 1, "--max-tokens", 5, "--json", input=piped)
    assert json.loads(result.stdout)["prompt"] == prompt


def test_the_argument_comes_before_standard_input(limner: Limner) -> None:
    result = limner("write", "Tom", "--model", "tiny", "--max-tokens", 5, "--json", input=b"never read")
    assert json.loads(result.stdout)["prompt"] == "Tom"


def test_a_random_seed_is_told_and_makes_the_text_again(limner: Limner) -> None:
    first = limner("write", "Tom", "--model", "tiny", "--max-tokens", 20, "--verbose")
    seed = first.stderr.split()[1]
    assert first.stderr.startswith("seed ")
    assert limner("write", "Tom", "--model", "tiny", "--max-tokens", 20, "--seed", seed).stdout == first.stdout
    other = limner("write", "Tom", "--model", "tiny", "--max-tokens", 20, "--verbose")
    assert other.stderr.split()[1] != seed, "texts of two seeds may be the same, even empty; the seeds are not"


def test_show_lists_each_token_with_its_probability_and_five_others(limner: Limner, model: TextGenerator) -> None:
    result = limner("write", "Tom", "--model", "tiny", "--seed", 3, "--max-tokens", 8, "--show")
    text = model.generate("Tom", seed=3, max_tokens=8)
    assert text.record is not None
    assert "\x1b" not in result.stdout, "colour codes where there is no terminal"
    assert result.stdout.startswith(plain("Tom" + text.text))
    lines = result.stdout.splitlines()[-len(text.ids) :]
    for step, (line, id) in enumerate(zip(lines, text.ids, strict=True)):
        assert line.split()[0] == f"{math.exp(text.logprobs[step]):.1%}"
        assert quoted(model.token_text(id)) in line
        others = [candidate for candidate in text.record.candidates(step) if candidate.id != id][:5]
        assert line.count("%") == 6
        assert line.endswith(f"{math.exp(others[-1].logprob):.1%}")


def test_show_and_json_together_list_the_runners_up(limner: Limner, model: TextGenerator) -> None:
    result = limner("write", "Tom", "--model", "tiny", "--seed", 3, "--max-tokens", 6, "--show", "--json", "--n", 2)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    texts = model.generate("Tom", seed=3, max_tokens=6, n=2)
    for line, text in zip(lines, texts, strict=True):
        assert text.record is not None
        assert [token["id"] for token in line["tokens"]] == text.ids
        for step, token in enumerate(line["tokens"]):
            others = [candidate for candidate in text.record.candidates(step) if candidate.id != text.ids[step]][:5]
            assert token["token"] == model.token_text(text.ids[step])
            assert token["probability"] == pytest.approx(math.exp(text.logprobs[step]))
            assert [other["id"] for other in token["runners_up"]] == [other.id for other in others]
            assert token["runners_up"][0]["token"] == model.token_text(others[0].id)
            assert token["runners_up"][0]["probability"] == pytest.approx(math.exp(others[0].logprob))
    assert "tokens" not in json.loads(limner("write", "Tom", "--model", "tiny", "--max-tokens", 2, "--json").stdout)


def test_a_full_window_is_told(limner: Limner) -> None:
    result = limner("write", "Tom", "--model", "tiny", "--greedy", "--max-tokens", 500)
    assert "context window of 48 tokens is full" in result.stderr
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--temperature", "-2"], "ConfigError: temperature is -2.0"),
        (["--top-k", "-1"], "ConfigError: top_k is -1"),
        (["--top-p", "3"], "ConfigError: top_p is 3.0"),
        (["--min-p", "-0.5"], "ConfigError: min_p is -0.5"),
        (["--repetition-penalty", "0"], "ConfigError: repetition_penalty is 0.0"),
        (["--max-tokens", "0"], "ConfigError: max_tokens is 0"),
        (["--n", "0"], "ConfigError: n is 0"),
        (["--seed", "-7"], "ConfigError: seed is -7"),
        (["--stop", ""], "ConfigError: stop is ''"),
        (["--window", "glide"], "'glide' is not one of 'error', 'slide'"),
        (["--model", "storry"], "WeightsError: the model is 'storry'"),
        (["--temprature", "1"], "--temprature"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_value_and_exit_code_2(
    limner: Limner, arguments: list[str], said: str
) -> None:
    result = limner("write", "Tom", "--model", "tiny", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_prompt_longer_than_the_window_names_both_numbers(limner: Limner, model: TextGenerator) -> None:
    tokens = len(model.tokenizer.encode(STORY)) + 1
    result = limner("write", STORY, "--model", "tiny")
    assert result.exit_code == 2
    assert f"the prompt is {tokens} tokens long, but the context window of the model holds 48" in result.stderr
    assert "--window slide" in result.stderr
    slid = limner("write", STORY, "--model", "tiny", "--window", "slide", "--max-tokens", 5)
    assert slid.exit_code == 0
    assert slid.stdout.startswith(STORY)


@pytest.mark.parametrize("verb", ["write", "explain"])
def test_a_prompt_of_a_million_characters(limner: Limner, verb: str) -> None:
    long = limner(verb, "--model", "tiny", input=(STORY * 4000)[:1_000_000].encode())
    assert long.exit_code == 2
    assert "the prompt is about" in long.stderr
    assert "holds 48" in long.stderr
    assert len(long.stderr.splitlines()) == 1


@pytest.mark.parametrize("verb", ["write", "explain"])
@pytest.mark.parametrize(
    ("given", "piped", "said"),
    [
        ([""], None, "DataError: the prompt is empty, but there must be something to go on from."),
        (["     "], None, "DataError: the prompt is nothing but white space, but"),
        (["\n\t \u00a0"], None, "the prompt is nothing but white space"),
        ([], b"", "the prompt is empty"),
        ([], b" \n", "the prompt is nothing but white space"),
    ],
)
def test_a_prompt_with_nothing_in_it(
    limner: Limner, verb: str, given: list[str], piped: bytes | None, said: str
) -> None:
    result = limner(verb, *given, "--model", "tiny", input=piped)
    assert result.exit_code == 2
    assert said in result.stderr
    assert 'Give a text, such as "The cat".' in result.stderr
    assert (len(result.stderr.splitlines()), result.stdout) == (1, "")


def test_without_a_prompt_at_a_terminal_a_text_begins(
    limner: Limner, model: TextGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.cli.prompt.sys", SimpleNamespace(stdin=None))
    result = limner("write", "--model", "tiny", "--seed", 1, "--max-tokens", 5)
    assert result.exit_code == 0
    assert result.stdout == f"{model.generate(seed=1, max_tokens=5).text}\n"


def test_standard_input_that_is_not_utf8_is_refused(limner: Limner) -> None:
    result = limner("write", "--model", "tiny", input=b"caf\xe9")
    assert result.exit_code == 2
    assert "byte 3 of standard input is 0xE9" in result.stderr


def test_an_encoder_is_refused(limner: Limner, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.models.load", lambda *_, **__: object())
    result = limner("write", "Tom", "--model", "tiny")
    assert result.exit_code == 2
    assert "the model is 'tiny', but that only reads texts" in result.stderr


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert plain("a\x1b[31mb\n\tc\x07\x9b\x7fé") == "a�[31mb\n\tc���é"
    assert quoted("it's \n\x1b") == "'it's \\n\\x1b'"


def test_it_imports_only_what_writing_needs(folder: Path) -> None:
    code = (
        "import sys; from limner.cli.app import app\n"
        f"try: app(['write', 'Tom', '--model', {str(folder)!r}, '--max-tokens', '3'])\n"
        "except SystemExit: pass\n"
        "heavy = {'transformers', 'pyarrow', 'rich.progress', 'limner.data', 'limner.train', 'limner.explain', "
        "'torch._dynamo', 'torch._inductor', 'tensorboard'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert made.stdout.splitlines()[-1] == "[]"
    assert made.stderr == ""


# ── eval ───────────────────────────────────────────────────────────────────────────────────────────────


def test_eval_gives_the_figures_of_a_direct_computation(limner: Limner, model: TextGenerator, tmp_path: Path) -> None:
    texts = [STORY[:120], "The moon was bright.", "café"]
    file = tmp_path / "held-out.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    sums = [direct(model, text, 48, 24) for text in texts]
    nats, tokens, size = sum(n for n, _ in sums), sum(t for _, t in sums), len("".join(texts).encode())
    result = limner("eval", "tiny", "--data", file, "--json")
    values = json.loads(result.stdout.splitlines()[-1])
    assert values == {
        "loss": pytest.approx(nats / tokens, rel=1e-4),
        "perplexity": pytest.approx(math.exp(nats / tokens), rel=1e-3),
        "bits_per_byte": pytest.approx(nats / math.log(2) / size, rel=1e-4),
        "tokens": tokens,
        "bytes": size,
        "documents": 3,
    }
    plainly = limner("eval", "tiny", "--data", file)
    assert f"bits_per_byte  {values['bits_per_byte']:.4f}" in plainly.stdout
    strided = limner("eval", "tiny", "--data", file, "--json", "--context", 16, "--stride", 4)
    assert json.loads(strided.stdout)["tokens"] == tokens
    assert json.loads(strided.stdout)["loss"] != values["loss"]


def test_eval_shows_on_a_terminal_how_far_it_is(folder: Path, tmp_path: Path) -> None:
    """One long document, which is read in a moment and then takes all the time."""
    (tmp_path / "long.txt").write_text("Once upon a time Tom climbed. " * 3000, encoding="utf-8")
    words = [sys.executable, "-m", "limner", "eval", str(folder), "--data", str(tmp_path / "long.txt"), "--json"]
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                shown += part
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["documents"] == 1
    os.close(ours)
    assert process.returncode == 0
    shares = {int(share) for share in re.findall(rb"(\d+)%", shown)}
    assert any(0 < share < 100 for share in shares), shown
    quiet = subprocess.run(words, capture_output=True, check=True)
    assert quiet.stderr == b""


def test_eval_reads_another_column(limner: Limner, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("story,title\nOnce upon a time,Tom\n", encoding="utf-8")
    result = limner("eval", "tiny", "--data", file, "--column", "story", "--json")
    assert json.loads(result.stdout)["bytes"] == len("Once upon a time")


def test_eval_judges_pairs_by_field(limner: Limner, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    lines = [{"good": "Tom climbed.", "bad": "Tom", "field": "a"}, {"good": "Tom", "bad": "Tom climbed.", "field": "b"}]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    values = json.loads(limner("eval", "tiny", "--pairs", file, "--json").stdout)
    assert values == {"pairs_accuracy": 0.5, "pairs": 2, "pairs_by_field": {"a": 0.0, "b": 1.0}}
    assert "pairs_accuracy 50.0%" in limner("eval", "tiny", "--pairs", file).stdout


def test_eval_says_what_is_wrong(limner: Limner, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    cases: list[tuple[list[str | Path], str]] = [
        ([], "--data and --pairs are both missing"),
        (["--data", "nowhere.txt"], "nowhere.txt does not exist"),
        (["--data", tmp_path / "empty.txt"], "0 readable documents"),
        (["--pairs", tmp_path / "empty.txt"], "0 pairs"),
    ]
    for arguments, said in cases:
        result = limner("eval", "tiny", *arguments)
        assert result.exit_code == 2
        assert said in result.stderr
    (tmp_path / "text.txt").write_text("Tom climbed.")
    result = limner("eval", "tiny", "--data", tmp_path / "text.txt", "--context", 99)
    assert "context is 99" in result.stderr


# ── explain ────────────────────────────────────────────────────────────────────────────────────────────


def test_explain_shows_tokens_layers_and_next_tokens(limner: Limner, model: TextGenerator) -> None:
    result = limner("explain", "Once upon a time", "--model", "tiny")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    with torch.inference_mode():
        ids = model.read_prompt("Once upon a time")
        shares = model.model(torch.tensor([ids]))[0, -1].softmax(dim=-1)
    best = shares.topk(10)
    lines = result.stdout.splitlines()
    for id in ids:
        assert any(quoted(model.token_text(id)) in line and str(id) in line.split() for line in lines)
    for id, share in zip(best.indices.tolist(), best.values.tolist(), strict=True):
        assert any(str(id) in line.split() and f"{share:.2%}" in line for line in lines[-12:])


def test_explain_gives_all_numbers_as_json(limner: Limner, model: TextGenerator) -> None:
    values = json.loads(limner("explain", "--model", "tiny", "--json", "--top", 4, input=b"Tom\n").stdout)
    assert values["text"] == "Tom"
    assert values["model"] == "tiny"
    assert [token["id"] for token in values["tokens"]] == model.read_prompt("Tom")
    assert len(values["layers"]) == 2
    assert len(values["next"]) == 4


def test_explain_says_what_is_wrong(limner: Limner) -> None:
    for arguments, said in [([STORY], "holds 48"), (["Tom", "--top", 0], "top is 0"), (["Tom", "--model", "x"], "'x'")]:
        result = limner("explain", "--model", "tiny", *arguments)
        assert result.exit_code == 2
        assert said in result.stderr


# ── limner explain -o ──────────────────────────────────────────────────────────────────────────────────────


def test_explain_writes_a_trace_of_what_was_read(limner: Limner, model: TextGenerator, tmp_path: Path) -> None:
    from limner.explain.trace import load_trace

    answer = limner("explain", "The cat", "--model", "tiny", "-o", str(tmp_path / "cat.trace"))
    assert answer.exit_code == 0, answer.stderr
    assert answer.stdout == f"{tmp_path / 'cat.trace'}\n"
    trace = load_trace(tmp_path / "cat.trace")
    assert trace["ids"].tolist() == model.read_prompt("The cat")
    assert trace.about["run"] is None
    assert {"attention.0", "lens.ids"} <= set(trace), "all of it is kept"


def test_explain_writes_on_first_where_it_is_asked_to(limner: Limner, model: TextGenerator, tmp_path: Path) -> None:
    from limner.explain.trace import load_trace

    answer = limner(
        "explain", "The cat", "--model", "tiny", "-o", str(tmp_path / "cat.trace"), "--max-tokens", "5", "--seed", "3"
    )
    assert answer.exit_code == 0, answer.stderr
    assert answer.stderr == "seed 3\n"
    written = model.generate("The cat", max_tokens=5, seed=3)
    assert load_trace(tmp_path / "cat.trace")["ids"].tolist() == [*written.prompt_ids, *written.ids]


def test_explain_without_the_built_page_names_the_command_that_builds_it(
    limner: Limner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.explain.report import check_page

    monkeypatch.setattr(check_page, "__defaults__", (tmp_path / "none.html",))
    answer = limner(
        "explain", "The cat", "--model", "none such", "-o", str(tmp_path / "cat.html")
    )  # before it is opened
    assert answer.exit_code == 2
    assert "`make web`" in answer.stderr
    assert not (tmp_path / "cat.html").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["-o", "cat.png"], "-o is cat.png, but a page ends in .html"),
        (["-o", "here.html"], "here.html is there already"),
        (["-o", "folder.trace"], "folder.trace is a folder"),
        (["-o", "cat.html", "--json"], "--json and -o are both given"),
        (["--max-tokens", "4"], "--max-tokens is given without -o"),
        (["--seed", "0"], "--seed is given without -o"),
        (["--force"], "--force is given without -o"),
        (["--temperature", "0.5"], "--temperature is given without -o"),
        (["-o", "cat.trace", "--top", "3"], "--top is given with -o"),
        (["-o", "cat.trace", "--seed", "0"], "--seed is given without --max-tokens"),
        (["-o", "cat.trace", "--temperature", "0.5"], "--temperature is given without --max-tokens"),
        (["-o", "nowhere/cat.trace"], "-o is nowhere/cat.trace, but there is no folder nowhere"),
    ],
)
def test_explain_refuses_what_it_cannot_write(
    limner: Limner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.html").write_text("mine")
    (tmp_path / "folder.trace").mkdir()
    answer = limner("explain", "The cat", *more)
    assert answer.exit_code == 2
    assert says in answer.stderr
    assert (tmp_path / "here.html").read_text() == "mine"

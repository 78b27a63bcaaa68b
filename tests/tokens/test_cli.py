from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from limner.cli.app import app
from limner.cli.tokens import visible
from limner.tokens import Tokenizer


@pytest.fixture(scope="session")
def models(trained: dict[str, Tokenizer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for kind, tokenizer in trained.items():
        tokenizer.save(folder / kind)
    return folder


def run(*arguments: object, stdin: str | bytes | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["tokens", *map(str, arguments)], input=stdin)
    return result.exit_code, result.stdout, result.stderr


def test_pieces_ids_bytes_and_counts_are_shown(models: Path) -> None:
    code, out, _ = run("The cat\n", "--model", models / "bytes")
    assert code == 0
    assert "bytes, vocabulary of 257" in out
    assert "T│h│e│·│c│a│t│⏎" in out
    assert "8 tokens, 2 words, 8 characters, 8 bytes: 4.00 tokens a word, 1.00 characters a token" in out
    assert any(line.split() == ["T", "84", "54"] for line in out.splitlines())


def test_colours_alternate_on_a_terminal(models: Path) -> None:
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "limner", "tokens", "ab", "--model", str(models / "bytes")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "\x1b[30;106ma\x1b[0m\x1b[30;103mb\x1b[0m" in run.stdout


def test_several_tokenizers_side_by_side(models: Path) -> None:
    paths = [models / "byte-bpe", models / "wordpiece", models / "characters" / "tokenizer.json"]
    code, out, _ = run("The cats Ω", "--with", ",".join(map(str, paths)))
    assert code == 0
    cats = next(line for line in out.splitlines() if line.split()[:1] == ["cats"])
    assert "4  c│a│t│s" in cats
    assert "·c│at" in cats
    assert next(line for line in out.splitlines() if line.split()[:1] == ["Ω"]).split()[-1] == "�"


def test_wide_characters_stay_in_line(models: Path) -> None:
    _, out, _ = run("日本 cat", "--with", f"{models / 'characters'},{models / 'bytes'}")
    rows = [line for line in out.splitlines() if line.split()[:1] in (["日本"], ["cat"])]
    columns = {cell_len(line[: line.index("  ", line.index("│"))]) for line in rows}
    starts = {cell_len(line[: line.index(next(c for c in line if c.isdigit()))]) for line in rows}
    assert len(rows) == 2
    assert len(starts) == 1, (columns, out)


def test_a_text_of_only_spaces_has_no_words(models: Path) -> None:
    code, out, _ = run(" \n ", "--model", models / "bytes")
    assert code == 0
    assert "·│⏎│·" in out
    assert "3 tokens, 0 words, 3 characters, 3 bytes: 1.00 characters a token" in out
    code, out, _ = run(" \n ", "--with", f"{models / 'bytes'},{models / 'wordpiece'}")
    assert code == 0
    assert "0 words" in out


def test_json_holds_every_token(models: Path) -> None:
    code, out, _ = run("The cat é", "--json", "--limit", 1, "--model", models / "byte-bpe")
    found = json.loads(out)
    assert code == 0
    assert (found["characters"], found["bytes"], found["words"]) == (9, 10, 3)
    (tokenizer,) = found["tokenizers"]
    assert bytes.fromhex("".join(token["bytes"] for token in tokenizer["tokens"])).decode() == "The cat é"
    assert tokenizer["count"] == len(tokenizer["tokens"])
    assert tokenizer["tokens_of_words"] == [["The", 1], ["cat", 2], ["é", 2]]  # a space alone is nobody's
    assert [token["id"] for token in tokenizer["tokens"]] == Tokenizer.load(models / "byte-bpe").encode("The cat é")


def test_text_is_read_from_standard_input(models: Path) -> None:
    _, out, _ = run("--json", "--model", models / "bytes", stdin="two\nlines\n")
    assert json.loads(out)["text"] == "two\nlines"


def test_a_long_text_is_counted_but_not_all_shown(models: Path) -> None:
    code, out, err = run("--model", models / "bytes", stdin="word " * 200_000)
    assert code == 0
    assert "1,000,000 tokens" in out
    assert len(out) < 20_000
    assert "999,800 tokens more not shown. Show them with --limit 1000000" in err


def test_special_names_are_text_unless_asked(models: Path) -> None:
    _, out, _ = run("a<|end|>", "--model", models / "byte-bpe", "--json")
    assert json.loads(out)["tokenizers"][0]["count"] > 2
    _, out, _ = run("a<|end|>", "--model", models / "byte-bpe", "--special")
    assert "a│<|end|>" in out


def test_a_run_is_shown_by_its_own_name(models: Path, tmp_path: Path) -> None:
    for run_name in ("first", "second"):
        Tokenizer.load(models / "bytes").save(tmp_path / run_name / "model")
    paths = [tmp_path / "first" / "model", tmp_path / "second" / "model" / "tokenizer.json"]
    out = run("cat", "--with", ",".join(map(str, paths)))[1]
    assert [line.split()[:2] for line in out.splitlines() if "257" in line] == [["first", "bytes"], ["second", "bytes"]]
    assert "first · bytes" in run("cat", "--model", paths[0])[1]


def test_names_and_run_folders_are_found(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shelf" / "verse"
    Tokenizer.load(models / "bytes").save(folder)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()
    monkeypatch.setenv("LIMNER_MODELS", str(tmp_path / "shelf"))
    assert "verse · bytes" in run("a", "--model", "verse")[1]
    code, _, err = run("a", "--model", "vesre")
    assert code == 2
    assert "'vesre'" in err
    assert "Did you mean 'verse'?" in err
    monkeypatch.chdir(models)  # a folder with a tokenizer and no model will do
    assert "bytes · bytes" in run("a", "--model", "bytes")[1]
    code, _, err = run("a", "--model", tmp_path)
    assert code == 2
    assert "has no tokenizer.json" in err


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["", "--model", "."], None, "DataError: the text is empty"),
        (["--model", "."], "", "DataError: the text is empty"),
        (["--model", "."], b"ab\xff", "DataError: byte 2 of standard input is 0xFF"),
        (["a", "--model", "no-such-model"], None, "WeightsError: the model is 'no-such-model'"),
        (["a", "--with", "no-such-model,other"], None, "WeightsError: the model is 'no-such-model'"),
        (["a", "--limit", "0"], None, "Invalid value for '--limit'"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(arguments: list[str], stdin: str | bytes | None, message: str) -> None:
    code, out, err = run(*arguments, stdin=stdin)
    assert (code, out) == (2, "")
    assert message in err


def test_everything_invisible_is_shown() -> None:
    assert visible("a b\n\t\r\x00\x7f\u200b\u00a0") == "a·b⏎→␍␀␡⟨U+200B⟩⟨U+00A0⟩"
    assert visible("\u0301") == "◌\u0301"

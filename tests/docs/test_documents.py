"""What the documents show works: every fenced shell and Python block runs, every link leads somewhere."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SHELL, PYTHON = ("sh", "bash", "console", "shell"), ("python", "py")
MOST_NOT_RUN = 8  # blocks; a document whose examples do not run is a promise without a test

STORIES = (
    "The cat sat on the warm wall. It saw a small bird and said hello. The bird sang a song for the cat.",
    "Mia had a red ball. She threw it high and it fell into the pond. A kind duck brought it back to her.",
    "One day it rained. Tom and his dog ran home and drank warm milk. They were happy to be dry again.",
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    document: Path
    line: int
    language: str
    code: str
    reason: str | None  # why it is not run

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """All fenced blocks, with the comment ``<!-- not run: reason -->`` of the line before, where there is one."""
    found = []
    lines = document.read_text().splitlines()
    at = 0
    while at < len(lines):
        fence = re.match(r"^(\s*)```(\w*)\s*$", lines[at])
        if fence:
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
            reason = re.match(r"^\s*<!-- not run: (.*?) -->$", lines[at - 1]) if at else None
            code = "\n".join(line.removeprefix(fence[1]) for line in lines[at + 1 : end])
            found.append(Block(document, at + 2, fence[2], code, reason[1] if reason else None))
            at = end
        at += 1
    return found


def runnable(document: Path) -> list[Block]:
    return [block for block in blocks(document) if block.language in (*SHELL, *PYTHON)]


@pytest.fixture
def one_core() -> Iterator[None]:
    """A document's commands take as many cores as they may; beside other tests, that is one for each worker."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {sorted(allowed)[worker % len(allowed)]})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_core: None) -> Path:
    """Where a document's blocks run: a folder of one's own, with a few stories in ``stories/``."""
    (tmp_path / "stories").mkdir()
    for number in range(40):
        text = " ".join(STORIES[(number + turn) % len(STORIES)] for turn in range(3))
        (tmp_path / "stories" / f"{number:02}.txt").write_text(f"Story {number}. {text}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if runnable(d)], ids=lambda d: str(d.relative_to(ROOT)))
def test_the_blocks_of_a_document_run_in_order(document: Path, folder: Path) -> None:
    """Python blocks share their names, as a reader who types them one after the other would expect."""
    names: dict[str, object] = {"__name__": "document"}
    for block in runnable(document):
        if block.reason is not None:
            continue
        if block.language in PYTHON:
            tree = ast.increment_lineno(ast.parse(block.code), block.line - 1)
            exec(compile(tree, str(document), "exec"), names)  # a failure's traceback names the document's line
        else:
            code = re.sub(r"(?m)^\$ ", "", block.code)
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", code], capture_output=True, text=True, cwd=folder, check=False,
                env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert done.returncode == 0, f"{block.place}:\n{block.code}\n{done.stdout}\n{done.stderr}"


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left_out = [block for document in DOCUMENTS for block in runnable(document) if block.reason is not None]
    assert all(len(block.reason or "") > 15 for block in left_out), [block.place for block in left_out]
    assert len(left_out) <= MOST_NOT_RUN, [block.place for block in left_out]


def test_every_block_says_its_language() -> None:
    silent = [block.place for document in DOCUMENTS for block in blocks(document) if not block.language]
    assert not silent


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_generated_documents_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

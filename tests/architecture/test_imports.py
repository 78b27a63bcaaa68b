"""Imports go one way, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "limner"
CORE = sorted((PACKAGE / "core").glob("*.py"))
CLI_FILES = sorted(path.stem for path in (PACKAGE / "cli").glob("*.py") if path.stem not in ("__init__", "app"))
VERB_FILES = [name for name in CLI_FILES if "\napp = typer.Typer(" in (PACKAGE / "cli" / f"{name}.py").read_text()]
HEAVY = ("torch", "numpy", "tokenizers", "safetensors", "transformers", "pyarrow", "PIL", "tensorboard")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def loaded_by(statement: str) -> set[str]:
    """The heavy libraries that a statement loads in a fresh Python."""
    done = run_python(f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_contracts_of_the_design_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_core_imports_only_torch_and_the_standard_library() -> None:
    allowed = {"torch", "limner", *sys.stdlib_module_names}
    for path in CORE:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in allowed, f"{path.name} imports {name}"
                assert not name.startswith("limner") or name.startswith("limner.core"), f"{path.name} imports {name}"


def test_the_core_touches_no_files_and_prints_nothing() -> None:
    for path in CORE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "open", "input"), f"{path.name}:{node.lineno}"


def test_the_core_can_be_read_in_an_afternoon() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in CORE}
    assert sum(lines.values()) <= 2000, lines
    assert max(lines.values()) <= 350, lines


@pytest.mark.parametrize("statement", ["import limner", "import limner.cli.app", "import limner; dir(limner)"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) == set()


@pytest.mark.parametrize("verb", CLI_FILES)
def test_a_verb_loads_nothing_heavy_until_it_runs(verb: str) -> None:
    assert loaded_by(f"import limner.cli.{verb}") == set()


def test_help_of_every_verb_loads_nothing_heavy() -> None:
    asked = "".join(
        f"try: app(['{verb}', '--help'])\nexcept SystemExit as stop: assert not stop.code\n" for verb in VERB_FILES
    )
    assert loaded_by(f"from limner.cli.app import app\n{asked}") == set()


def test_every_verb_has_a_file_and_every_file_is_a_verb() -> None:
    from limner.cli.app import VERBS

    assert sorted(VERBS) == VERB_FILES


def test_everything_imports_without_the_extras() -> None:
    """The libraries of the extras, and those that only tests use, are made impossible to import first."""
    done = run_python(
        """
import sys
BLOCKED = {"pyarrow", "zstandard", "tensorboard", "transformers", "psutil", "pytest", "hypothesis", "starlette", "uvicorn"}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
import importlib, pkgutil, limner
for module in pkgutil.walk_packages(limner.__path__, "limner."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in limner.__all__:
    getattr(limner, name)
"""
    )
    assert done.returncode == 0, done.stderr

"""What a person gets who installs limner: everything it needs at run time, and nothing that is missing in silence."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WITHOUT_EXTRAS = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pyarrow", "zstandard", "tensorboard"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def _copy(folder: Path) -> Path:
    """What hatchling packs, by links, so that a test can have pages or none without touching those that are built."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        (folder / name).symlink_to(ROOT / name)
    package, pages = folder / "src" / "limner", ROOT / "src" / "limner" / "assets" / "web"
    (package / "assets").mkdir(parents=True)
    for here, there in ((ROOT / "src" / "limner", package), (pages.parent, package / "assets")):
        for entry in here.iterdir():
            if entry not in (pages, pages.parent):
                (there / entry.name).symlink_to(entry)
    return folder


def _pack(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


PAGES = ("studio/index.html", "studio/THIRD-PARTY.md", "studio/assets/index.js", "report.html")


def test_no_wheel_without_the_pages(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    done = _pack(folder)
    assert done.returncode != 0
    assert "no studio/index.html, no studio/THIRD-PARTY.md, no report.html" in done.stderr
    assert "Run `make web` first." in done.stderr
    assert not list(folder.glob("dist/*"))


def test_the_wheel_holds_the_code_the_assets_the_pages_and_the_licence(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    for name in PAGES:
        page = folder / "src" / "limner" / "assets" / "web" / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(name)
    done = _pack(folder)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("dist/*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src/limner"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    needed = {name.removeprefix("src/") for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    assert needed <= held
    assert "limner/py.typed" in held
    assert any(name.startswith("limner/assets/") for name in held)
    assert {f"limner/assets/web/{name}" for name in PAGES} <= held
    assert any(name.endswith("licenses/LICENSE") for name in held)


@pytest.mark.parametrize(("file", "library"), [("rows.parquet", "pyarrow"), ("story.txt.zst", "zstandard")])
def test_a_missing_extra_is_named_with_its_pip_command(tmp_path: Path, file: str, library: str) -> None:
    (tmp_path / file).write_bytes(b"\x28\xb5\x2f\xfd")
    code = f"""{WITHOUT_EXTRAS}
from pathlib import Path
from limner import MissingExtraError
from limner.data.documents import read_documents
from limner.data.report import ReadReport
try:
    list(read_documents([Path({str(tmp_path / file)!r})], report=ReadReport()))
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{library} is not installed" in done.stdout
    assert "pip install 'limner[data]'" in done.stdout


def test_torch_is_asked_for_in_one_place() -> None:
    """The Makefile takes torch's range from pyproject.toml, and so does nobody else need to know it."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (torch,) = [line for line in project["dependencies"] if line.startswith("torch")]
    assert torch == "torch>=2.9,<2.14"
    assert "2.14" not in (ROOT / "Makefile").read_text()


def test_the_tools_are_pinned_in_one_place() -> None:
    """pre-commit and make run what .venv holds, and .venv holds what pyproject.toml pins."""
    import tomllib
    from importlib.metadata import version

    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    tools = dict(line.split("==") for line in pins if "==" in line)
    assert {"ruff", "mypy", "import-linter"} <= set(tools)
    for tool, pinned in tools.items():
        assert version(tool) == pinned
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert hooks.count("entry: .venv/bin/") == hooks.count("entry:") == hooks.count("language: system")
    assert "rev:" not in hooks

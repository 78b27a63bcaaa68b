"""Nothing is ever unpickled or evaluated, no network is used, and no machine's private places are named."""

from __future__ import annotations

import ast
import ipaddress
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FORBIDDEN_MODULES = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve",  # they run what they read
    "socket", "http", "urllib", "requests", "httpx", "aiohttp", "huggingface_hub", "ftplib",  # they leave the machine
}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {("torch", "load"), ("torch", "save"), ("pickle", "load"), ("os", "system"), ("hub", "load")}
PUBLIC_HOSTS = {
    "arxiv.org", "cdla.dev", "creativecommons.org", "github.com", "huggingface.co", "keepachangelog.com", "semver.org",
    "www.apache.org",
}  # fmt: skip


def findings(source: str) -> list[str]:
    """What a file does that nothing in the package may do."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [a.name for a in names if a.name.split(".")[0] in FORBIDDEN_MODULES]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in FORBIDDEN_MODULES:
                found.append(module)
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                found.append(f"{name}()")
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)) if (
                owner,
                name,
            ) in FORBIDDEN_METHODS:
                found.append(f"{owner}.{name}()")
            case ast.keyword(arg="allow_pickle" | "trust_remote_code" | "shell", value=ast.Constant(value=True)):
                found.append(str(node.arg))
            case _:
                pass
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from urllib.request import urlopen",
        "eval('1')",
        "torch.load('a')",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert findings(source)


def test_a_models_eval_method_is_allowed() -> None:
    assert findings("model.eval(); re.compile('a'); torch.compile(model)") == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_nothing_is_unpickled_evaluated_or_fetched(path: Path) -> None:
    assert findings(path.read_text()) == []


def repository_texts() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    suffixes = {".py", ".md", ".toml", ".yaml", ".json", ".txt", ""}
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [p for p in paths if p.suffix in suffixes and p.is_file() and p.stat().st_size < 1_000_000]


def leads_nowhere(host: str) -> bool:
    """Whether a host is this machine, or a name or an address that is set aside for examples and private networks."""
    if host == "localhost" or host.endswith((".example", ".invalid")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def test_no_private_place_is_named() -> None:
    """Links lead to a few public places or nowhere, and no path begins in somebody's home or a server's own folders."""
    place = re.compile(r"(?<![\w./}~-])/(?:home|root|work|opt|mnt|srv|Users)/\w+")
    link = re.compile(r"https?://([\w.-]+)")
    for path in repository_texts():
        text = path.read_text(errors="replace")
        assert not place.findall(text), f"{path.relative_to(ROOT)}: {place.findall(text)}"
        if path.suffix in (".py", ".md", ".toml", ".yaml") or path.suffix == "":
            hosts = {host for host in link.findall(text) if not leads_nowhere(host)}
            assert hosts <= PUBLIC_HOSTS, f"{path.relative_to(ROOT)}: {hosts - PUBLIC_HOSTS}"

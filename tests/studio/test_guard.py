"""Who may ask the studio, and what every answer tells the browser to keep to."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from limner.core.errors import ConfigError
from limner.studio.app import make_app
from limner.studio.guard import check_key, is_loopback, make_key
from limner.studio.state import Studio
from tests.studio.conftest import OWN, refused

KEY = "only-for-friends-17"


@pytest.fixture
def open_to_others(studio: Studio) -> TestClient:
    """A studio that others can reach, seen by somebody without the key."""
    return TestClient(make_app(studio, host="0.0.0.0", key=KEY), base_url="http://192.168.1.7:8410")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8410", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.5", ""]
)
def test_a_foreign_name_that_points_here_is_refused(page: TestClient, host: str) -> None:
    refused(page.get("/api/models", headers={"host": host}), 403, "host")
    refused(page.get("/", headers={"host": host}), 403)


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:8410", "[::1]:8410", "LOCALHOST:8410"])
def test_the_machine_s_own_names_are_not(page: TestClient, host: str) -> None:
    assert page.get("/api/about", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:3000", "null", "http://localhost:84109"])
def test_another_origin_is_refused_whatever_it_asks(page: TestClient, origin: str) -> None:
    refused(page.get("/api/models", headers={"origin": origin}), 403, "own pages")
    refused(page.post("/api/write", headers={"origin": origin}, json={"model": "tiny", "prompt": "a"}), 403)


def test_the_studio_s_own_origin_is_not(page: TestClient) -> None:
    assert page.get("/api/about", headers={"origin": OWN}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_browser_says_comes_from_elsewhere_is_refused(page: TestClient, site: str) -> None:
    refused(page.get("/api/models", headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}), 403, "another site")
    refused(page.get("/app.js", headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}), 403, "another site")
    link = page.get("/", headers={"sec-fetch-site": site, "sec-fetch-mode": "navigate"})
    assert link.status_code == 503  # only because no pages are built here


def test_every_answer_keeps_the_browser_on_its_guard(page: TestClient) -> None:
    for answer in (page.get("/"), page.get("/api/about"), page.get("/api/x"), page.get("/", headers={"host": "evil"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self';" in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


# ── the key ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_the_key_nothing_is_answered(open_to_others: TestClient) -> None:
    for path in ("/", "/api/about", "/assets/app.js", "/api/about?key=", f"/api/about?key={KEY}x", "/?key=%00"):
        refused(open_to_others.get(path, follow_redirects=False), 401, "key")
    refused(open_to_others.post("/api/write", json={"model": "tiny", "prompt": "a"}), 401)
    refused(open_to_others.get("/api/about", headers={"authorization": "Bearer wrong-wrong-wrong"}), 401)


def test_the_key_is_given_once_and_leaves_the_address(open_to_others: TestClient) -> None:
    first = open_to_others.get(f"/text?model=tiny&key={KEY}&seed=1", follow_redirects=False)
    assert first.status_code == 303
    assert first.headers["location"] == "/text?model=tiny&seed=1"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite" in cookie
    assert open_to_others.get("/api/about").status_code == 200


def test_a_program_may_bring_the_key_in_a_header(open_to_others: TestClient) -> None:
    answer = open_to_others.get("/api/about", headers={"authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/x", "///evil.example/x", "/\\evil.example/x"])
def test_the_key_leads_nowhere_else(open_to_others: TestClient, path: str) -> None:
    answer = open_to_others.get(f"http://192.168.1.7:8410{path}?key={KEY}", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"].replace("%5C", "") == "/evil.example/x"


def test_with_the_key_foreign_origins_and_names_are_refused_still(open_to_others: TestClient) -> None:
    known = {"authorization": f"Bearer {KEY}"}
    refused(open_to_others.get("/api/about", headers=known | {"origin": "http://evil.example"}), 403)
    refused(open_to_others.get("/api/about", headers=known | {"host": "evil.example"}), 403)
    assert open_to_others.get("/api/about", headers=known | {"host": "localhost:8410"}).status_code == 200


def test_keys_are_long_and_differ() -> None:
    made = {make_key() for _ in range(20)}
    assert len(made) == 20
    assert all(check_key(key) == key for key in made)


@pytest.mark.parametrize("key", ["short", "sixteen letters!", "sixteen;letters;", ""])
def test_a_weak_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{len(key)} characters"):
        check_key(key)


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.1.2.3", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.7", False), ("box.example", False)],
)  # fmt: skip
def test_which_addresses_only_this_machine_can_reach(host: str, only_here: bool) -> None:
    assert is_loopback(host) == only_here


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_where_nothing_is_built_a_page_says_how(page: TestClient) -> None:
    answer = page.get("/")
    assert answer.status_code == 503
    assert "make web" in answer.text


def test_pages_and_their_files(page: TestClient, studio: Studio) -> None:
    (studio.pages / "assets").mkdir(parents=True)
    (studio.pages / "index.html").write_text("<!doctype html><title>limner</title>")
    (studio.pages / "assets" / "app-1a2b.js").write_text("export {}")
    for address in ("/", "/text", "/lessons/3", "/text?model=tiny"):
        answer = page.get(address)
        assert answer.status_code == 200
        assert "<title>limner</title>" in answer.text
        assert answer.headers["cache-control"] == "no-cache"
    script = page.get("/assets/app-1a2b.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" in script.headers["cache-control"]
    refused(page.get("/assets/gone-3c4d.js"), 404, "gone-3c4d.js")


@pytest.mark.parametrize(
    "address", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/..%5csecret.txt", "/link.txt", "/a%00.txt"]
)  # fmt: skip
def test_nothing_outside_the_pages_is_sent(page: TestClient, studio: Studio, tmp_path: Path, address: str) -> None:
    (studio.pages / "assets").mkdir(parents=True)
    (studio.pages / "index.html").write_text("<!doctype html>")
    (tmp_path / "secret.txt").write_text("secret")
    (studio.pages / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert "secret" not in page.get(address).text.replace("secret.txt", "")

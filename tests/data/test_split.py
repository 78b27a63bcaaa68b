from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.core.errors import DataError
from limner.data import bundled, corpora, read_documents
from limner.data.split import DigestSet, cut_near, digest, held_back, plan_split


def sized(*sizes: int) -> list[tuple[bytes, int]]:
    return [(digest(str(number).encode()), size) for number, size in enumerate(sizes)]


class TestPlan:
    def test_many_documents_are_drawn_by_hash_without_reading_on(self) -> None:
        asked = 0

        def endless() -> object:
            nonlocal asked
            while True:
                asked += 1
                yield digest(str(asked).encode()), 100

        plan = plan_split(endless(), share=0.05, seed=0)  # type: ignore[arg-type]
        assert asked == 200
        keys = [digest(str(number).encode()) for number in range(20_000)]
        share = sum(plan.part(key) == "validation" for key in keys) / len(keys)
        assert 0.045 < share < 0.055
        other = plan_split(sized(*[9] * 200), share=0.05, seed=1)
        assert [plan.part(key) for key in keys] != [other.part(key) for key in keys]

    @given(
        st.lists(st.integers(1, 10_000), min_size=1, max_size=150).filter(lambda sizes: sum(sizes) >= 200),
        st.integers(0, 9),
    )
    def test_both_parts_of_few_documents_get_something(self, sizes: list[int], seed: int) -> None:
        few = sized(*sizes)
        plan = plan_split(few, share=0.05, seed=seed)
        held = sum(size for key, size in few if plan.part(key) == "validation")
        held += sum(share * size for key, size in few for cut, share in plan.cuts.items() if cut == key)
        assert 0 < held <= 0.1 * sum(sizes)
        assert plan.note is not None

    def test_one_document_is_cut(self) -> None:
        plan = plan_split(sized(10_000), share=0.05, seed=0)
        assert list(plan.cuts.values()) == [0.05]
        assert "last 500 bytes" in str(plan.note)

    def test_too_little(self) -> None:
        with pytest.raises(DataError, match=r"is 5 bytes of text, but at least 200"):
            plan_split(sized(5), share=0.05, seed=0)

    @given(st.text(st.sampled_from("a \n"), min_size=2), st.integers(0, 100))
    def test_a_cut_leaves_something_on_both_sides(self, text: str, at: int) -> None:
        assert 1 <= cut_near(text, min(at, len(text))) <= len(text) - 1

    def test_a_cut_prefers_paragraphs(self) -> None:
        assert cut_near("one two\n\nthree\nfour five", 10) == len("one two\n\n")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=400))
def test_digest_set_is_a_set(numbers: list[int]) -> None:
    seen, known = DigestSet(), set()
    seen._SMALLEST_MERGE = 16  # type: ignore[misc]
    for number in numbers:
        key = digest(str(number).encode())
        assert seen.add(key) == (number not in known)
        known.add(number)
    assert len(seen) == len(known)


def test_digests_that_end_in_zeros_are_told_apart() -> None:
    seen = DigestSet()
    seen._SMALLEST_MERGE = 1  # type: ignore[misc]
    assert seen.add(b"a" + b"\0" * 15)
    assert seen.add(b"a" + b"\0" * 14 + b"b")
    assert not seen.add(b"a" + b"\0" * 15)
    assert seen.add(b"\0" * 16)
    assert not seen.add(b"\0" * 16)


# ── the bundled corpora ────────────────────────────────────────────────────────────────────────────────────


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[at : at + 8]) for at in range(max(1, len(words) - 7))}


def test_bundled_corpora_are_there_with_their_licences() -> None:
    licences = (bundled("stories")[0].parent / "LICENSES.md").read_text(encoding="utf-8")
    for corpus in corpora():
        for path in corpus.paths:
            assert path.is_file()
            assert path.name in licences
        assert corpus.licence.lower() in licences.lower()
    with pytest.raises(DataError, match=r"'storys'.*Did you mean 'stories'"):
        bundled("storys")


def test_no_recased_story_shares_much_with_a_held_back_one() -> None:
    stories = [document.text for document in read_documents(bundled("stories"))]
    held = [text for text in stories if held_back(digest(text.encode()), 0.05, seed=0)]
    assert (len(stories), len(held)) == (10_936, 520)
    known = set().union(*map(shingles, held))
    for document in read_documents(bundled("stories_recased")):
        own = shingles(document.text)
        assert len(own & known) <= 0.2 * len(own), document.source

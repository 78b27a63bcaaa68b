"""A trace comes back from its file as it was, and what is no trace is said to be none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.core.errors import DataError
from limner.explain.trace import Trace, as_bytes, load_trace, read_about, trace_of


@pytest.fixture
def trace() -> Trace:
    weights, scale = as_bytes(torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0)))
    arrays = {"ids": np.arange(3, dtype=np.int32), "attention.0": weights, "norm": np.array([1.5, 2.25], np.float16)}
    return Trace("text", {"tokens": [{"text": "Großmutter </script>"}]}, arrays, {"attention.0": scale})


def test_a_trace_comes_back_as_it_was(trace: Trace, tmp_path: Path) -> None:
    trace.save(tmp_path / "run.trace")
    back = load_trace(tmp_path / "run.trace")
    assert (back.kind, back.about, back.scales) == (trace.kind, trace.about, trace.scales)
    assert sorted(back) == sorted(trace)
    for name in trace:
        assert back.arrays[name].dtype == trace.arrays[name].dtype
        np.testing.assert_array_equal(back[name], trace[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.trace"]


def test_shares_are_near_what_they_stand_for() -> None:
    values = np.random.default_rng(1).random((50, 50)).astype(np.float32) * 0.3
    kept, scale = as_bytes(torch.from_numpy(values))
    back = Trace("text", {}, {"x": kept}, {"x": scale})["x"]
    assert np.abs(back - values).max() <= values.max() / 510 * 1.001
    assert as_bytes(torch.zeros(3))[1] == 0.0


def test_halves_are_read_as_plain_floats(trace: Trace) -> None:
    assert trace["norm"].dtype == np.float32


def test_a_name_that_is_not_there_is_answered_with_the_nearest(trace: Trace) -> None:
    with pytest.raises(KeyError, match=r"name is 'attention\.1', but.*attention\.0"):
        trace["attention.1"]


@pytest.mark.parametrize("cut", [0, 4, 8, 40, -1])
def test_a_file_cut_off_is_said_to_be(trace: Trace, cut: int) -> None:
    with pytest.raises(DataError, match=r"mine is (no trace|damaged)"):
        trace_of(trace.to_bytes()[:cut], "mine")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" * 9, b"{}", b"\xff" * 64, (2).to_bytes(8, "little") + b"{}"])
def test_other_files_are_no_traces(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(DataError, match="other is no trace"):
        load_trace(path)


def test_another_version_is_named(trace: Trace) -> None:
    content = trace.to_bytes().replace(b'"version":"1"', b'"version":"9"')
    with pytest.raises(DataError, match="version '9', but this limner reads version 1"):
        trace_of(content)


def test_a_header_that_promises_what_is_not_there(trace: Trace) -> None:
    content = trace.to_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    said = json.loads(header["__metadata__"]["trace"])
    for wrong in (
        said | {"kind": "tune"}, said | {"scales": {"nowhere": 1.0}}, said | {"scales": []}, said | {"scales": None},
        said | {"scales": {"attention.0": math.nan}}, said | {"scales": {"attention.0": 10**400}}, said | {"about": 3}, {},
    ):  # fmt: skip
        header["__metadata__"]["trace"] = json.dumps(wrong)
        made = json.dumps(header).encode()
        made += b" " * (-len(made) % 8)
        with pytest.raises(DataError, match="damaged"):
            trace_of(len(made).to_bytes(8, "little") + made + content[8 + length :])


def with_header(header: bytes) -> bytes:
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize("whole", [True, False])
def test_a_header_that_has_no_bottom_is_refused(whole: bool, tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    noted = {"format": "limner-trace", "version": "1", "trace": deep}
    content = with_header(deep.encode() if whole else json.dumps({"__metadata__": noted}).encode())
    (tmp_path / "deep.trace").write_bytes(content)
    for read in (load_trace, read_about):
        with pytest.raises(DataError, match=r"deep\.trace is no trace" if whole else r"deep\.trace is damaged"):
            read(tmp_path / "deep.trace")


def test_a_place_that_cannot_be_written_is_named(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.run\.trace cannot be written"):
        trace.save(tmp_path / "nowhere" / "run.trace")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone cannot be read"):
        load_trace(tmp_path / "gone")


def test_what_a_file_is_about_is_read_without_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    Trace("text", {"model": {"name": "tiny"}}, {"ids": np.arange(3, dtype=np.int32)}).save(path)
    assert read_about(path) == ("text", {"model": {"name": "tiny"}})
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])  # the numbers are cut off
    assert read_about(path)[0] == "text"
    for content, says in [
        (b"", "no trace"),
        (b"\xff" * 20, "no trace"),
        (whole[:60], "no trace"),
        (whole.replace(b'"version":"1"', b'"version":"9"'), "version '9'"),
        (whole.replace(b'\\"kind\\"', b'\\"kinf\\"'), "damaged"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=says):
            read_about(path)
    with pytest.raises(DataError, match=r"none\.trace"):
        read_about(tmp_path / "none.trace")

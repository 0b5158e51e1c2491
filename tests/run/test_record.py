"""The record of a run: nothing damaged, missing or out of place in it goes unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.run.storage import record

EVENTS = [
    {"step": 2, "event": "quick", "scores": {"ddi": {"f1": 0.1 + 0.2}}},
    {"step": 4, "event": "memory", "used": 7},
]


def written(path: Path, steps: int = 5) -> list[dict]:
    """A record of so many steps, with events between them."""
    lines = []
    for step in range(1, steps + 1):
        lines.append({"step": step, "loss": {"ddi": step / 3}, "norm": float("nan")})
        lines += [event for event in EVENTS if event["step"] == step]
    for line in lines:
        record.append(path, line)
    return lines


def same(one: object, other: object) -> bool:
    """Also where something is not a number."""
    return json.dumps(one) == json.dumps(other)


def test_what_is_written_is_read_and_sound(tmp_path):
    lines = written(tmp_path / "m")
    found = record.sound(tmp_path / "m")
    assert same(list(found.lines), lines)
    assert (found.steps, found.checked, found.problem) == (5, True, "")
    assert same(list(record.lines(tmp_path / "m")), lines)
    assert same(found.by_step[2], lines[1:3])


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_ends_what_is_sound(tmp_path_factory, at, bit):
    path = tmp_path_factory.mktemp("record") / "m"
    lines = written(path)
    data = bytearray(path.read_bytes())
    at %= len(data) - 1  # the last end of a line aside: without it, the line is one that a kill left half-written
    data[at] ^= 1 << bit
    path.write_bytes(data)
    found = record.sound(path)
    assert found.problem
    whole = bytes(data[:at]).count(b"\n")
    assert same(list(found.lines), lines[:whole])


def without(raw: list[bytes], *gone: int) -> list[bytes]:
    return [line for i, line in enumerate(raw) if i not in gone]


@pytest.mark.parametrize(
    ("change", "steps", "problem"),
    [
        (lambda raw: without(raw, 0), 0, "line 1 (after step 0) is of step 2, expected 1"),
        (lambda raw: without(raw, 3), 2, "line 4 (after step 2) is of step 4, expected 3"),
        (lambda raw: [raw[0], *raw], 1, "line 2 (after step 1) is of step 1, expected 2"),
        (lambda raw: [raw[0], raw[2], raw[1], *raw[3:]], 1, "line 2 (after step 1) is of step 2, expected 1"),
        (lambda raw: [*raw[:3], b"", *raw[3:]], 2, "line 4 (after step 2) is not what was written"),
        (lambda raw: [*raw[:3], b"[3]", *raw[3:]], 2, "line 4 (after step 2) is not what was written"),
        (lambda raw: [], 0, ""),
    ],
)
def test_lines_that_are_missing_doubled_or_out_of_place(tmp_path, change, steps, problem):
    path = tmp_path / "m"
    written(path)
    raw = change(path.read_bytes().split(b"\n")[:-1])
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    found = record.sound(path)
    assert (found.steps, found.problem) == (steps, problem)


def test_what_is_cut_back_stays_to_the_byte_and_half_a_line_goes(tmp_path):
    path = tmp_path / "m"
    assert record.cut(path, record.sound(path), 3) == ()
    assert not path.exists()
    lines = written(path)
    raw = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(raw[:-1]) + b"\n" + b'{"step": 6, "lo')
    assert same(list(record.cut(path, record.sound(path), 2)), lines[:3])
    assert path.read_bytes() == b"".join(line + b"\n" for line in raw[:3])


def test_lines_of_older_versions_are_read_and_told(tmp_path):
    path = tmp_path / "m"
    path.write_text('{"step": 1}\n{"step": 1, "event": "quick"}\n{"step": 2}\n')
    found = record.sound(path, older=True)
    assert (found.steps, found.checked, found.problem) == (2, False, "")
    record.append(path, {"step": 3})
    assert record.sound(path, older=True).steps == 3
    assert record.sound(path).problem == "line 1 (after step 0) is not what was written"


def test_how_a_run_is_watched_is_what_was_said_last():
    began = {"save_every_steps": 200, "quick_eval_examples": 500, "seed": 1}
    later = {"step": 4, "event": "watch", "save_every_steps": 9, "quick_eval_examples": 0}
    assert record.watching([], began) == {"save_every_steps": 200, "quick_eval_examples": 500}
    assert record.watching([{"step": 1}, later], began) == {"save_every_steps": 9, "quick_eval_examples": 0}

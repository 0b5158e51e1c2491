"""Nothing that comes from data makes a console do anything: names, labels, ids and files are shown as characters."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.analysis.reporting import html, markdown
from mtlfn.analysis.reporting.blocks import Cell, Figure, Figures, Items, Missing, Report, Section, Table, Text
from mtlfn.run import documents
from mtlfn.run.commands.command import data as check
from mtlfn.run.terminal import Lasting, shown
from mtlfn.run.watch.observers import Reporter
from tests.run.test_bad_input import damage, refused

CLIPBOARD, TITLE, C1, BIDI = "\x1b]52;c;ZXZpbA==\x07", "\x1b]0;title\x07", "\x9b2J", "\u202egnp.exe"
EVIL = f"a{CLIPBOARD}{TITLE}{C1}{BIDI}\x08\x7f\u2066"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> None:
    assert not RAW.search(text), RAW.search(text)


@given(st.text())
def test_what_is_shown_is_characters_alone_and_other_texts_stay(text):
    found = shown(text)
    clean(found)
    found.encode()
    assert "\n" not in found
    if text.isprintable():
        assert found == text
    assert shown(found) == found


def test_it_is_shown_how_it_is_written():
    assert shown("a\x1b[31mb\x9b\u202e\ud800\n") == r"a\x1b[31mb\x9b\u202e\ud800\n"
    assert shown("a\n\tb\x1b", "\n\t") == "a\n\tb\\x1b"


def test_the_last_door_lets_colours_and_progress_bars_through_and_nothing_else():
    stream = io.StringIO()
    ours = "\x1b[1;31mred\x1b[0m \r\x1b[2K\x1b[1A\x1b[A\x1b[?25l\x1b[?25h\n\ttext"
    assert Lasting(stream).write(ours) == len(ours)
    assert stream.getvalue() == ours
    for evil in (CLIPBOARD, TITLE, C1, BIDI, "\x1b[2J", "\x1b[6n", "\x1bc", "\x07", "\x1b", "\ud800"):
        stream = io.StringIO()
        Lasting(stream).write(evil)
        clean(stream.getvalue())


def test_a_console_that_cannot_write_a_character_shows_its_number():
    written = io.BytesIO()
    stream = Lasting(io.TextIOWrapper(written, encoding="ascii"))
    stream.write("a·é\n")
    stream.flush()
    assert written.getvalue() == b"a\\xb7\\xe9\n"


def test_lines_of_a_run_and_of_its_log(tmp_path):
    stream = io.StringIO()
    report = Reporter(tmp_path / "log", stream)
    report.say(f"one {EVIL}\ntwo")
    report.log(EVIL)
    for text in (stream.getvalue(), (tmp_path / "log").read_text()):
        clean(text)
    assert stream.getvalue().splitlines()[1] == "two"


@pytest.mark.parametrize("change", ["column", "label", "id", "text", "key"])
def test_a_complaint_about_data(go, data, tmp_path, change):
    copied = Path(shutil.copytree(data, tmp_path / "data"))
    changes = {
        "column": lambda row: {EVIL + "\nmtlfn: all is well": 1},
        "label": lambda row: {**row, "label": EVIL},
        "id": lambda row: {**row, "id": EVIL, "label": "x"},
        "text": lambda row: {**row, "id": EVIL, "head": {"spans": [[0, 10**6]]}},
        "key": f'{{"id": "1", {json.dumps(EVIL)}: 1, {json.dumps(EVIL)}: 2}}',
    }
    damage(copied, "ddi", "train", 2, changes[change])
    ended = go(data_dir=copied, output_dir=tmp_path / "run")
    refused(ended, 2, "train.jsonl, line 2")
    clean(ended.err)


def test_file_names(go, data, tmp_path):
    copied = Path(shutil.copytree(data, tmp_path / f"d{EVIL}"))
    (copied / "ddi" / "train.jsonl").write_text("{")
    ended = go(data_dir=copied, output_dir=tmp_path / f"run{EVIL}")
    refused(ended, 2, "line 1")
    clean(ended.err)


def test_a_run_whose_folders_are_called_so_and_what_its_banner_and_data_say(go, data, tmp_path):
    copied = Path(shutil.copytree(data, tmp_path / f"d{EVIL}\nline"))
    path = copied / "ddi" / "dev.jsonl"
    rows = [json.loads(line) | {"label": "none"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / f"run{EVIL}\nfake      line"
    ended = go(data_dir=copied, output_dir=folder)
    assert ended.code == 0, ended.err
    clean(ended.out)
    clean((folder / "train.log").read_text())
    assert "\nfake" not in ended.out.split("batch  ")[0]
    said = "no relation but the negative class in dev: nothing to be found there"
    assert [line for line in ended.out.splitlines() if line.startswith("notice    ddi: no")] == [
        f"notice    ddi: {said}"
    ]
    assert said in documents.read(folder / "data.json")["ddi"]["notices"]


def test_the_check_of_a_data_set(data, tmp_path, bert, capfd):
    copied = Path(shutil.copytree(data, tmp_path / f"d{EVIL}"))
    assert check(["check", str(copied), "--task", "ddi", "--backbone", str(bert)]) == 0
    clean(capfd.readouterr().out)


def test_a_report_shows_them():
    figure = Figures((Figure("f", EVIL, EVIL, f"<svg>{EVIL}</svg>", b""),))
    table = Table((EVIL, "b"), ((EVIL, Cell(EVIL, "code")),), EVIL)
    blocks = (Text(EVIL), Missing(EVIL, EVIL), Items(((EVIL, EVIL),)), table, figure)
    made = Report(EVIL, (Text(EVIL),), (Section("a", EVIL, blocks),))
    for text in (html.page(made), markdown.text(made)):
        clean(text)
        assert r"\x1b]52;c;" in text.replace(r"\\", "\\").replace(r"\]", "]")


def test_an_error_that_nobody_caught():
    code = f"""
from mtlfn.run.commands.guard import guarded

def bug():
    raise RuntimeError({EVIL!r})

guarded(bug)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "RuntimeError" in ended.stderr
    clean(ended.stderr)

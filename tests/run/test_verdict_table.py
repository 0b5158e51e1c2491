"""The table of a verdict, on terminals of any width and in a log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mtlfn.analysis import outcome, study
from tests.analysis.made import write_study

LONG = "a_task_with_a_name_of_many_characters_" * 2
CLAIMS = ("inconclusive", "data exposure only (exploratory)")


@pytest.mark.parametrize("width", [None, 200, 80, 40])
def test_nothing_of_a_verdict_is_cut_on_a_narrow_terminal_or_in_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int | None
) -> None:
    """``width``: of a terminal; None: a log, whatever COLUMNS says, where every line is whole."""
    monkeypatch.setenv("COLUMNS", str(width or 80))
    monkeypatch.setenv("TTY_COMPATIBLE", "0" if width is None else "1")
    monkeypatch.setenv("NO_COLOR", "1")
    document = study.judge([write_study(tmp_path)], draws=1000)
    tasks = document["studies"][0]["tasks"]
    tasks["answers"] |= {"verdict": CLAIMS[0], "row": CLAIMS[0]}
    tasks[LONG] = tasks.pop("mentions")
    capsys.readouterr()
    outcome.show(document)
    lines = re.sub("\x1b[^m]*m", "", capsys.readouterr().out).split("controlled, plain: ")[0].splitlines()
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines if line[:1] in "│┃"]
    assert "…" not in "".join(lines)
    if width is None:
        said = {cell for row in cells for cell in row}
        assert {LONG, "RQ5, controlled alone", *CLAIMS} <= said
    else:
        assert max(map(len, lines)) <= width
        columns = ["".join(column) for column in zip(*cells, strict=True)]
        assert LONG in columns[0]
        for claim in CLAIMS:
            assert claim.replace(" ", "") in columns[4].replace(" ", "")
        assert CLAIMS[0] in columns[5]
        if width >= 80:
            assert CLAIMS[0] in next(row[4] for row in cells if row[4].startswith("incon"))

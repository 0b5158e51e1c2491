"""The study on public data: its page says what its file asks for. What came out needs data that are not here."""

from __future__ import annotations

import re
from pathlib import Path

from mtlfn.analysis import study

ROOT = Path(__file__).parents[2]
FILE, PAGE = ROOT / "experiments/study-public.toml", (ROOT / "docs/study-public.md").read_text(encoding="utf-8")


def test_the_page_says_what_the_file_asks_for():
    made = study.read(FILE)
    first, last = made.run.seed, made.run.seed + made.seeds - 1
    assert f"{len(study.nodes(made))} runs" in PAGE
    assert (made.seeds, f"({first} to {last})" in PAGE, f"Seeds {first} to {last}" in PAGE) == (6, True, True)
    assert f"margin, {made.margin}," in PAGE
    assert f"{made.run.budget_tokens:,} tokens and six seeds" in PAGE
    for table in PAGE.split("\n\n| task |")[1:]:
        assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(made.run.tasks.split(","))


def test_every_difference_lies_in_its_interval():
    table = PAGE.partition("## What was seen")[2].replace("−", "-")
    found = re.findall(r"([-+][\d.]+) \(([-+][\d.]+) to ([-+][\d.]+)\)", table)
    assert len(found) == 2 * 3
    for value, low, high in ((float(number) for number in each) for each in found):
        assert low < value < high

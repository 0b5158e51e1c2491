"""The report on a study of straw: what it must hold, what it must not, and that it stays the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mtlfn.analysis import study as studies
from mtlfn.analysis.command import report as command
from mtlfn.analysis.reporting import figures, html, markdown, report, sections_runs
from mtlfn.analysis.runs import cells, records
from mtlfn.analysis.statistics.verdict import CLAIMS, INCONCLUSIVE, NOT_LEARNT
from tests.analysis import study_folder
from tests.analysis.study_folder import HOSTILE, TASKS, edit

TITLES = (
    "Verdict",
    "Differences",
    "What it can show",
    "Learning curves",
    "Which tokens were equal",
    "What the data lack",
    "Exclusion control",
    "Conflicts between tasks",
    "Transfer between pairs of tasks",
    "Learnt task weights (sigma)",
    "Parameter parity",
    "Hyper-parameters",
    "Reproducibility",
    "Cost",
    "What is missing",
)
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a page holds; an unbalanced tag raises."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]

    def of(self, tag: str) -> list[str]:
        return [text for holder, text in self.texts if holder == tag]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole study with its report; tests do not change it."""
    root = study_folder.write(tmp_path_factory.mktemp("whole") / "study")
    assert command([str(root), "--draws", "1200"]) == 0
    return root


@pytest.fixture(scope="module")
def page(study: Path) -> Page:
    return Page((study / "report" / "report.html").read_text())


def again(root: Path, *flags: str) -> str:
    """The Markdown of a fresh report: the same blocks as the page, in fewer signs."""
    assert command([str(root), "--draws", "1200", *flags]) == 0
    return (root / "report" / "report.md").read_text()


def part(text: str, title: str) -> str:
    """One section of it."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    """A study of one's own to break."""
    shutil.copytree(study, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    return tmp_path / "copy"


def test_every_section_is_there_and_the_contents_lead_to_it(page, study):
    assert tuple(page.of("h2")) == TITLES
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert len(links) == len(TITLES)
    assert {link.removeprefix("#") for link in links} <= set(page.all("id"))
    text = (study / "report" / "report.md").read_text()
    assert tuple(re.findall("^## (.*)$", text, re.M)) == TITLES
    assert tuple(re.findall(r"^- \[(.*)\]\(#", text, re.M)) == TITLES


def test_the_verdict_comes_first_with_what_it_means(study):
    text = (study / "report" / "report.md").read_text()
    first = part(text, "Verdict")
    assert first.lstrip().startswith("s3b on 3 tasks, 2 seeds: 3 genuine transfer.")
    assert "| mentions | ▲ genuine transfer (exploratory) | genuine transfer | 0.600 micro_f1 | +0.100 (+" in first
    assert "EXPLORATORY, not the study's own verdict: no study fixed the margin" in first
    for meant in (*CLAIMS, NOT_LEARNT, INCONCLUSIVE):
        assert re.search(rf"^- \*\*. {meant}\*\*: \w", first, re.M)
    assert "at most 0.01 (the margin" in first
    assert "level 0.05, corrected (Holm) for 3 tasks" in first


def test_every_verdict_has_a_dress():
    for name in (*CLAIMS, NOT_LEARNT, INCONCLUSIVE):
        assert f".{name.replace(',', '').replace(' ', '-')}" in html.STYLE, name


def test_a_task_that_no_run_learnt_is_named(study, copy):
    assert "No run beats" not in (study / "report" / "report.md").read_text()
    for path in copy.rglob("result.json"):
        scores = json.loads(path.read_text())["scores"]
        for task, found in scores.items():
            found["baselines"] = {"majority": 0.1, "random": 0.6 if task == "mentions" else 0.59}
        edit(path, scores=scores)
    assert "**No run beats the simple baselines on mentions (best dev score 0.600, baseline 0.600)." in part(
        again(copy), "Verdict"
    )


def test_the_page_runs_nothing_and_fetches_nothing(page, study):
    tags = {tag for tag, _, _ in page.attributes} | {tag for tag, _ in page.texts}
    assert not tags & {"script", "iframe", "object", "embed", "link", "img", "image"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for _, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "poster"):
            assert value.startswith("#")
    assert not re.search(r"url\((?!#)", (study / "report" / "report.html").read_text())
    assert "default-src 'none'" in " ".join(page.all("content"))
    assert "width=device-width" in " ".join(page.all("content"))


def test_ids_are_unique_and_references_have_a_target(page, study):
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    text = (study / "report" / "report.html").read_text()
    for target in (*re.findall(r"url\(#([^)]*)\)", text), *(v[1:] for v in page.all("xlink:href"))):
        assert target in ids
    for target in page.all("aria-labelledby"):
        assert target in ids


def test_every_picture_says_what_it_shows(page, study):
    figures = sorted((study / "report" / "figures").iterdir())
    assert len(page.of("title")) == len(figures) + 1  # the page's own
    assert len([1 for tag, name, value in page.attributes if (tag, name, value) == ("svg", "role", "img")]) == len(
        figures
    )
    assert all(len(title) > 30 for title in page.of("title"))
    assert any("mentions: +0.100 (" in title for title in page.of("title"))


def test_hostile_names_stay_text(page, study):
    text = (study / "report" / "report.html").read_text()
    assert "<img" not in text
    assert HOSTILE in page.of("th")
    assert HOSTILE in page.of("figcaption")
    assert escape(HOSTILE) in text
    said = (study / "report" / "report.md").read_text()
    assert "<img" not in said
    row = next(line for line in part(said, "Verdict").splitlines() if "&lt;img" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 8
    assert (study / "report" / "figures" / "curves-2.png").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b", r"a\_b"),
        ("100 % & #1", r"100 \% \& \#1"),
        ("$x^{2}$~", r"\$x\textasciicircum{}\{2\}\$\textasciitilde{}"),
        ("\\input{/etc}", r"\textbackslash{}input\{/etc\}"),
        ("a\nb\x00", "a b"),
        ("−0.1 – <b>|", r"$-$0.1 -- \textless{}b\textgreater{}\textbar{}"),
    ],
)
def test_latex_special_characters_are_escaped(text, shown):
    assert markdown.tex(text) == shown


def test_the_latex_table_has_as_many_fields_as_columns(study):
    lines = (study / "report" / "verdict.tex").read_text().splitlines()
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 1 + len(TASKS)
    assert all(len(re.findall(r"(?<!\\)&", row)) == 6 for row in rows)
    assert rows[1].startswith(r"mentions & micro\_f1 & 0.600 & +0.100 [")
    assert {r"\toprule", r"\midrule", r"\bottomrule"} <= set(lines)


def test_pictures_are_images_that_the_markdown_names(study):
    folder, text = study / "report", (study / "report" / "report.md").read_text()
    named = re.findall(r"\]\((figures/[^)]*)\)", text)
    assert sorted(named) == sorted(f"figures/{path.name}" for path in (folder / "figures").iterdir())
    assert len(named) == 1 + len(TASKS) + 4 + 1 + 1
    for name in named:
        data = (folder / name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert data.endswith(b"IEND\xaeB`\x82")
        width, height = struct.unpack(">II", data[16:24])
        assert width == 740
        assert height > 300


def test_the_same_study_gives_the_same_bytes_wherever_it_lies(study, copy):
    assert command([str(copy), "--draws", "1200"]) == 0
    for path in sorted((study / "report").rglob("*")):
        if path.is_file() and path.name not in ("verdict.json",):  # which names the runs by their place
            assert path.read_bytes() == (copy / "report" / path.relative_to(study / "report")).read_bytes(), path.name
    assert str(study) not in (study / "report" / "report.html").read_text()
    assert "/somewhere" not in (study / "report" / "report.html").read_text()


def test_equal_tokens_are_said_to_be_equal_and_both_sides_shown(study):
    said = part((study / "report" / "report.md").read_text(), "Which tokens were equal")
    assert "All 12 pairs of runs agree to the token: the difference is 0 in each." in said
    assert "| mentions | 1 | token-controlled S1 | 300 | 300 | 0 |" in said
    assert "| mentions | 0 | plain S1 | 100 | 100 | 0 |" in said
    assert "| mentions | 0 | token-controlled S1 | input tokens | 100 | 300 | −200 |" in said
    assert "| mentions | 0 | token-controlled S1 | loss tokens | 50 | 150 | −100 |" in said
    assert "| mentions | 0 | plain S1 | slots computed | 107 | 107 | 0 |" in said


def test_unequal_tokens_are_an_alarm(copy):
    (found,) = cells.find([copy]).studies
    path = found.controls["total", "mentions", 1].path / "result.json"
    edit(path, tokens={**json.loads(path.read_text())["tokens"], "total": 299})
    first = sections_runs.tokens("x", records.of_study(found, copy)).blocks[0]
    assert first.tone == "alarm"
    assert first.text == "NOT equal: token-controlled S1 of mentions, seed 1."


def test_missing_runs_are_shown_as_missing_with_the_reason(copy):
    for seed in (0, 1):
        shutil.rmtree(copy / f"seed-{seed}" / "total" / "t1")
    (copy / "seed-0" / "per-task" / "t0" / "result.json").unlink()
    text = again(copy)
    assert "| answers | ? inconclusive (exploratory) | inconclusive | 0.600 micro_f1 | missing | +0.2" in part(
        text, "Verdict"
    )
    assert "Missing: 3 runs; see the list at the end." in part(text, "Verdict")
    end = part(text, "What is missing")
    assert "| token-controlled S1 of answers, seed 1 | no run is the total control of seed-1/multi |" in end
    assert "| plain S1 of mentions, seed 0 | no run is the per-task control of seed-0/multi |" in end
    assert "| seed-0/per-task/t0 | has not finished |" in end
    assert "missing" in (copy / "report" / "verdict.tex").read_text()
    assert '<span class="gone">missing</span>' in (copy / "report" / "report.html").read_text()


def test_one_seed_is_said_to_decide_nothing(study, copy):
    assert "nits only" not in (study / "report" / "report.md").read_text()
    shutil.rmtree(copy / "seed-1")
    said = part(again(copy), "Verdict")
    assert "1 seed: 3 inconclusive. One seed cannot show any claim" in said
    assert "Units only: with one seed, intervals know of the test units alone." in said
    assert re.search(r"^\| mentions \| \? inconclusive \(exploratory\) \| .*, units only\) \|", said, re.M)


def test_a_bare_study_says_what_it_lacks(tmp_path):
    root = study_folder.write(tmp_path / "bare", weighting="equal", pairs=False, exclusion=False)
    for path in (*root.rglob("metrics.jsonl"), *root.rglob("env.json")):
        path.unlink()
    for path in root.rglob("result.json"):
        edit(path, conflicts={}, parameters={})
    text = again(root)
    lacking = {
        "Learning curves": "**Missing: learning curve of mentions** – no run has evaluations",
        "What the data lack": "**Missing: notices** – no data.json has any; older versions did not look",
        "Exclusion control": "**Missing: exclusion control** – the study has no finished exclusion control",
        "Conflicts between tasks": "**Missing: conflicts** – no two tasks that train the same tensors met in a step",
        "Transfer between pairs of tasks": "**Missing: transfer matrix** – the study trained no pairs of tasks",
        "Learnt task weights (sigma)": "**Missing: sigma over time** – the multi-task runs use equal weights",
        "Parameter parity": "**Missing: parameters** – no result.json counts them",
        "Reproducibility": "**Missing: environment** – no run has an env.json",
    }
    for title, said in lacking.items():
        assert said in part(text, title), title
    assert "- **resumes**: not recorded" in text
    assert "**Missing: overlap of words** – the training texts cannot be read" in text
    assert "Nothing: every run of the comparison is there." in part(text, "What is missing")


def test_what_the_data_lack_is_told_once(copy):
    for path in copy.rglob("data.json"):
        edit(path, mentions={"notices": []}, answers={"notices": []})
    assert "Every label occurs in training" in part(again(copy), "What the data lack")
    for path in copy.rglob("data.json"):
        edit(path, mentions={"notices": ["no mention in dev: nothing to be found there"]})
    said = part(again(copy), "What the data lack")
    assert said.count("| mentions | no mention in dev: nothing to be found there |") == 1
    assert "answers" not in said


def test_the_exclusion_control_says_whether_the_slot_stayed_the_same(study, copy):
    said = part((study / "report" / "report.md").read_text(), "Exclusion control")
    assert "The shared slot was the same, bit for bit" in said
    assert "| answers | 0.600 micro_f1 | +0.1" in said
    assert "| mentions |" not in said
    edit(copy / "seed-1" / "exclusion" / "excluded" / "result.json", slots={"shared": "another"})
    said = part(again(copy), "Exclusion control")
    assert "**The shared slot changed" in said
    assert "| seed 1 | the same shared slot | another | NOT EQUAL | none |" in said
    assert "| seed 0 | the same shared slot | the same shared slot | equal | none |" in said


def test_conflicts_and_transfer_are_told(study):
    text = (study / "report" / "report.md").read_text()
    said = part(text, "Conflicts between tasks")
    assert "The first conflicted with the second in 50% of the meetings" in said
    assert "both directions of a pair are alike" in said
    assert "mentions and answers from 100 to 0" in said
    assert "mentions and answers from -50 to 25" in said
    said = part(text, "Transfer between pairs of tasks")
    assert "mentions to answers −0.100" in said
    assert "| mentions – answers | 0.33 | missing |" in said
    assert "| frequency of conflict | missing | 6 |" in said  # the same for all pairs: no ranks
    assert re.search(r"\| overlap of label names \| [+−]0\.\d+ \| 6 \|", said)


def test_other_sizes_are_an_alarm(study, copy):
    assert "agree within 5 %" in part((study / "report" / "report.md").read_text(), "Parameter parity")
    edit(copy / "seed-0" / "total" / "t0" / "result.json", parameters={"active_adapter": {"mentions": 1051}})
    said = part(again(copy), "Parameter parity")
    assert "**MORE than 5 % apart: mentions." in said
    assert "| mentions | 1,000 | 1,000, 1,051 | 5.1 % |" in said


def test_reproducibility_names_resumes_breaks_and_other_environments(study, copy):
    said = part((study / "report" / "report.md").read_text(), "Reproducibility")
    assert "All 24 runs had the same environment." in said
    for line in ("- **backbone**: tiny", "- **backbone SHA-256**: sha of tiny", "- **versions**: torch 2.13.0",
                 "- **resumes**: not recorded",
                 "| mentions | train | 9 | 100 | sha of mentions | made up |"):  # fmt: skip
        assert line in said
    multi = copy / "seed-1" / "multi"
    study_folder.save(multi / "resumes.json", {"steps": [3, 9]})
    edit(multi / "result.json", environment_breaks=["threads: 1 before, 2 now"])
    must = json.loads((multi / "env.json").read_text())["must_match"]
    edit(multi / "env.json", must_match={**must, "threads": 2})
    said = part(again(copy), "Reproducibility")
    assert "- **resumes**: 2, in 1 run; not recorded of 23 runs" in said
    assert "seed-1/multi: threads: 1 before, 2 now" in said
    assert "**The runs had different environments: threads: 1 in 23 runs, 2 in 1 run.**" in said


def test_settings_that_differ_between_sides_come_first(study, copy):
    said = part((study / "report" / "report.md").read_text(), "Hyper-parameters")
    assert "All sides have the same." in said
    assert "| weighting | uncertainty | uncertainty | uncertainty |" in said
    for path in copy.glob("seed-*/total/*/config.json"):
        edit(path, identity={**json.loads(path.read_text())["identity"], "learning_rate": 0.003})
    said = part(again(copy), "Hyper-parameters")
    assert "Not the same on all sides: learning_rate." in said
    assert "| learning_rate | – | 0.003 | – |" in said


def test_replays_are_shown(study, copy):
    untouched = part((study / "report" / "report.md").read_text(), "Reproducibility")
    assert "- **replay**: not done; mtlfn replay RUN" in untouched
    found = {"digest": "multi0", "steps": [0, 20], "equal": 3, "skipped": 0, "mismatches": [], "environment": []}
    for name, change in (
        ("seed-0/multi", {}),
        ("seed-1/multi", {"digest": "multi1", "steps": [10, 20], "equal": 1}),
        ("seed-0/total/t0", {"digest": "of another state"}),  # of an older run in the same folder
        ("seed-0/total/t1", {"digest": "total01", "equal": 0, "mismatches": ["steps 0 to 20: another tensor"]}),
    ):
        (copy / name / "replay.json").write_text(json.dumps(found | change))
    said = part(again(copy), "Reproducibility")
    assert "- **replay**: 3 of 24 runs, 2 of them from the first step to the last; equal digests in 4 segments" in said
    assert "**seed-0/total/t1: replay found what is not as it was: steps 0 to 20: another tensor**" in said


def test_cost_adds_up(study):
    said = part((study / "report" / "report.md").read_text(), "Cost")
    assert "| multi-task | 2 | 600 | 0.2 | 50 |" in said
    assert "| all | 24 | 4,800 | 2.4 | 33 |" in said
    assert "- **hardware**: A processor, 1 thread, Linux" in said


def test_the_margin_is_that_of_the_studys_verdict_unless_another_is_given(copy, tmp_path):
    assert "at most 0.3 (the margin" in again(copy, "--margin", "0.3")
    assert "at most 0.3 (the margin" in again(copy)
    assert command([str(copy), "--margin", "0.02", "--output", str(tmp_path / "out")]) == 0
    assert "at most 0.02 (the margin" in (tmp_path / "out" / "report.md").read_text()
    assert "at most 0.3 (the margin" in (copy / "report" / "report.md").read_text()


def test_a_study_ends_in_its_report(copy):
    studies.conclude(studies.Study(margin=0.05, draws=1000), copy, ())
    assert "at most 0.05 (the margin" in (copy / "report" / "report.md").read_text()
    assert json.loads((copy / "report" / "verdict.json").read_text())["settings"]["margin"] == 0.05


def test_two_studies_in_one_folder_have_sections_of_their_own(copy):
    study_folder.write(copy / "more", pairs=False, exclusion=False)
    for path in (copy / "more").rglob("*.json"):
        path.write_text(re.sub(r'"(multi|total|plain)(\d+)"', r'"other \1\2"', path.read_text()))
    for path in (copy / "more").rglob("config.json"):
        edit(path, identity={**json.loads(path.read_text())["identity"], "learning_rate": 1})
    again(copy)
    page = Page((copy / "report" / "report.html").read_text())
    assert len(page.of("h2")) == 2 * (len(TITLES) - 1) + 1
    assert len(page.all("id")) == len(set(page.all("id")))


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert command([str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_what_a_run_left_out_of_its_settings_is_not_read(tmp_path):
    assert report.recorded(tmp_path) == {}
    (tmp_path / "verdict.json").write_text('{"settings": {"margin": 1}}')
    assert report.recorded(tmp_path) == {}


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "inline", "no-such-backend"])
def test_a_report_started_from_a_notebook_has_its_figures(backend):
    drawn = "from mtlfn.analysis.reporting.figures import draw\nprint(draw('a', 'A', 'A', 1, lambda a: None).png[1:4])"
    env = {**os.environ, "MPLBACKEND": backend}
    ended = subprocess.run([sys.executable, "-c", drawn], env=env, capture_output=True, text=True)
    assert ended.stdout == "b'PNG'\n", ended.stderr


def test_the_module_is_a_command(study, monkeypatch, capsys):
    import runpy

    monkeypatch.setattr(sys, "argv", ["report", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("mtlfn.report", run_name="__main__")
    assert ended.value.code == 0
    assert "python -m mtlfn.report" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bc5cdr_disease", "bc5cdr_disease"),
        ("world_together_exposure", "world_together_\nexposure"),
        ("a" * 25, "a" * 19 + "…"),
        ("ab_" + "c" * 30, "ab_\n" + "c" * 19 + "…"),
    ],
)
def test_long_names_take_two_lines_of_an_axis(name, shown):
    assert figures.short(name) == shown

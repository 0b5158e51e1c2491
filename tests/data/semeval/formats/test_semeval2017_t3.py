"""SemEval-2017 Task 3: files are chosen by name, threads become queries, and the scorer's files keep their order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data.document import Candidate, Log, Query
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats import relevancy
from mtlfn.data.semeval.formats import semeval2017_t3 as t3
from tests.data.semeval import relevancy as judgements

STEM = "SemEval2016-Task3-CQA-QL"
DECLARED = (
    '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE xml [\n<!ELEMENT xml (OrgQuestion*)>\n'
    "<!ATTLIST xml version CDATA #REQUIRED>\n]>\n"
)
SKIP = ' SubtaskA_Skip_Because_Same_As_RelQuestion_ID="Q9_R9"'


def comment(name: str, text: str = "Try the port.", org: str | None = "Bad", rel: str | None = "Good") -> str:
    labels = "" if org is None else f' RELC_RELEVANCE2ORGQ="{org}"'
    labels += "" if rel is None else f' RELC_RELEVANCE2RELQ="{rel}"'
    return f'<RelComment RELC_ID="{name}"{labels}>\n<RelCText>{text}</RelCText>\n</RelComment>\n'


def thread(
    name: str,
    comments: str | None = None,
    more: str = "",
    order: str | None = None,
    label: str | None = "Relevant",
    body: str = "Which one?",
) -> str:
    attributes = "" if order is None else f' RELQ_RANKING_ORDER="{order}"'
    attributes += "" if label is None else f' RELQ_RELEVANCE2ORGQ="{label}"'
    inner = comment(f"{name}_C1") if comments is None else comments
    return (
        f'<Thread THREAD_SEQUENCE="{name}"{more}>\n<RelQuestion RELQ_ID="{name}"{attributes}>\n'
        f"<RelQSubject>Boat of {name}</RelQSubject>\n<RelQBody>{body}</RelQBody>\n</RelQuestion>\n{inner}</Thread>\n"
    )


def org(name: str, *threads: str, body: str = "I need a boat.") -> str:
    """The question once per thread, as the official files repeat it."""
    head = f'<OrgQuestion ORGQ_ID="{name}">\n<OrgQSubject>Boats</OrgQSubject>\n<OrgQBody>{body}</OrgQBody>\n'
    return "".join(f"{head}{one}</OrgQuestion>\n\n" for one in threads)


def save(folder: Path, name: str, *content: str, root: str = "xml", start: str = "") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f'{start}<{root} version="1.0">\n{"".join(content)}</{root}>\n'.encode())
    return path


def read(folder: Path, subtask: t3.Subtask, split: str = "dev") -> tuple[Query, ...]:
    """Strictly: whatever is logged is an error."""
    return t3.read(folder, subtask, Log(strict=True))[split]


def logged(folder: Path, subtask: t3.Subtask, split: str = "dev") -> tuple[tuple[Query, ...], list[str]]:
    log = Log()
    queries = t3.read(folder, subtask, log)[split]
    return queries, [str(problem).removeprefix(f"{folder}/") for problem in log.problems]


def ids(queries: tuple[Query, ...]) -> dict[str, list[str]]:
    return {query.id: [candidate.id for candidate in query.candidates] for query in queries}


MAIN = org(
    "Q7",
    thread("Q7_R12", comment("Q7_R12_C1") + comment("Q7_R12_C2", "No &lt;br&gt; idea", "Good", "Bad"), order="12"),
    thread("Q7_R3", more=SKIP, order="3", label="PerfectMatch", body=""),
) + org("Q2", thread("Q2_R1", comment("Q2_R1_C1", org="PotentiallyUseful"), order="1", label="Irrelevant"))


def test_the_three_subtasks_of_one_main_file(tmp_path: Path) -> None:
    save(tmp_path, f"v3.2/dev/{STEM}-dev.xml", MAIN, start=DECLARED)
    assert read(tmp_path, "B") == (
        Query(
            id="Q7",
            text="Boats\n\nI need a boat.",
            candidates=(
                Candidate(id="Q7_R12", text="Boat of Q7_R12\n\nWhich one?", label="Relevant", rank=12),
                Candidate(id="Q7_R3", text="Boat of Q7_R3", label="PerfectMatch", rank=3),
            ),
        ),
        Query(
            id="Q2",
            text="Boats\n\nI need a boat.",
            candidates=(Candidate(id="Q2_R1", text="Boat of Q2_R1\n\nWhich one?", label="Irrelevant", rank=1),),
        ),
    )
    first, second = read(tmp_path, "C")
    assert first.text == second.text == "Boats\n\nI need a boat."
    assert first.candidates == (
        Candidate(id="Q7_R12_C1", text="Try the port.", label="Bad", rank=1201),
        Candidate(id="Q7_R12_C2", text="No <br> idea", label="Good", rank=1202),
        Candidate(id="Q7_R3_C1", text="Try the port.", label="Bad", rank=301),
    )
    assert [(c.id, c.label, c.rank) for c in second.candidates] == [("Q2_R1_C1", "PotentiallyUseful", 101)]


def test_subtask_a_leaves_out_and_counts_repeated_threads_even_with_a_strict_log(tmp_path: Path) -> None:
    save(tmp_path, f"dev/{STEM}-dev.xml", MAIN)
    log = Log(strict=True)
    first, second = t3.read(tmp_path, "A", log)["dev"]
    assert (first.id, first.text) == ("Q7_R12", "Boat of Q7_R12\n\nWhich one?")
    assert [(c.id, c.label, c.rank) for c in first.candidates] == [("Q7_R12_C1", "Good", 1), ("Q7_R12_C2", "Bad", 2)]
    assert second.id == "Q2_R1"
    assert log.counts == {"threads that the files mark as repetitions": 1}
    assert log.problems == []  # no flaw: the file asks for it


def test_file_of_subtask_a_has_threads_under_the_root_and_comes_first(tmp_path: Path) -> None:
    save(tmp_path, f"dev/{STEM}-dev.xml", MAIN)
    save(tmp_path, f"dev/{STEM}-dev-subtaskA.xml", thread("Q7_R5", comment("Q7_R5_C4", org=None), label=None))
    assert ids(read(tmp_path, "A")) == {"Q7_R5": ["Q7_R5_C4"]}
    assert read(tmp_path, "A")[0].candidates[0].rank == 4
    assert list(ids(read(tmp_path, "B"))) == list(ids(read(tmp_path, "C"))) == ["Q7", "Q2"]


def test_train_parts_are_joined_each_by_the_better_of_its_files(tmp_path: Path) -> None:
    for part in "21":
        save(tmp_path, f"train/{STEM}-train-part{part}.xml", org(f"Q{part}", thread(f"Q{part}_R1", order="1")))
    save(tmp_path, f"train/{STEM}-train-part2-subtaskA.xml", thread("Q2_R8", label=None))
    save(tmp_path, f"train/{STEM}-train-part1-with-multiline.xml", "no XML <")
    save(tmp_path, f"train/{STEM}-train-part1-subtaskA-with-multiline.xml", "no XML <")
    save(tmp_path, f"train/._{STEM}-train-part1.xml", "no XML <")
    (tmp_path / f"train/{STEM}-train-part1.xml.subtaskB.relevancy").write_text("Q1")
    assert list(ids(read(tmp_path, "A", "train"))) == ["Q1_R1", "Q2_R8"]
    assert list(ids(read(tmp_path, "B", "train"))) == ["Q1", "Q2"]
    assert read(tmp_path, "B", "dev") == read(tmp_path, "B", "test") == ()


def test_question_whose_threads_are_in_two_parts_is_one_query(tmp_path: Path) -> None:
    save(
        tmp_path,
        f"{STEM}-train-part1.xml",
        org("Q1", thread("Q1_R1", order="1")),
        org("Q2", thread("Q2_R1", order="1")),
    )
    save(tmp_path, f"{STEM}-train-part2.xml", org("Q1", thread("Q1_R2", order="2")))
    assert ids(read(tmp_path, "B", "train")) == {"Q1": ["Q1_R1", "Q1_R2"], "Q2": ["Q2_R1"]}
    assert ids(read(tmp_path, "C", "train"))["Q1"] == ["Q1_R1_C1", "Q1_R2_C1"]


@pytest.mark.parametrize("name", ["dev", "test", "train"])
def test_reformatted_files_of_2015_train_subtask_a_alone(tmp_path: Path, name: str) -> None:
    stem = f"train-more-for-subtaskA-from-2015/SemEval2015-Task3-CQA-QL-{name}-reformatted"
    save(
        tmp_path, f"{stem}-excluding-2016-questions-cleansed.xml", thread("Q8", comment("Q8_C2", org=None), label=None)
    )
    save(tmp_path, f"{stem}-multiline.xml", "no XML <")
    log = Log(strict=True)
    splits = t3.read(tmp_path, "A", log)
    assert {split: len(queries) for split, queries in splits.items()} == {"train": 1, "dev": 0, "test": 0}
    assert [(c.id, c.rank) for c in splits["train"][0].candidates] == [("Q8_C2", 2)]
    assert t3.read(tmp_path, "C", log) == {"train": (), "dev": (), "test": ()}


@pytest.mark.parametrize("subtask", ["A", "B", "C"])
def test_the_test_file_of_2016_is_training_data_beside_that_of_2017(tmp_path: Path, subtask: t3.Subtask) -> None:
    save(tmp_path, f"train/{STEM}-train-part1.xml", org("Q1", thread("Q1_R1", order="1")))
    save(tmp_path, f"{STEM}-test.xml", org("Q2", thread("Q2_R1", order="1")))
    assert [name[:2] for name in ids(read(tmp_path, subtask, "test"))] == ["Q2"]
    save(tmp_path, "SemEval2017-task3-English-test.xml", org("Q3", thread("Q3_R1", order="1")))
    splits = t3.read(tmp_path, subtask, Log(strict=True))
    found = {split: [query.id[:2] for query in queries] for split, queries in splits.items()}
    assert found == {"train": ["Q2", "Q1"], "dev": [], "test": ["Q3"]}


@pytest.mark.parametrize("subtask", ["A", "B", "C"])
def test_input_without_labels_yields_to_the_file_with_labels(tmp_path: Path, subtask: t3.Subtask) -> None:
    name = "SemEval2017-task3-English-test"
    blank = thread("Q5_R1", comment("Q5_R1_C1", org="?", rel="?"), order="1", label="?")
    save(tmp_path, f"English-ABC/{name}-input.xml", org("Q5", blank))
    save(tmp_path, f"English-ABC/{name}-subtaskA-input.xml", thread("Q5_R1", comment("Q5_R1_C1", org=None, rel="?")))
    (query,) = read(tmp_path, subtask, "test")
    assert [candidate.label for candidate in query.candidates] == [None]
    save(tmp_path, f"English/{name}.xml", org("Q5", thread("Q5_R1", order="1")))
    (query,) = read(tmp_path, subtask, "test")
    assert [c.label for c in query.candidates] == [{"A": "Good", "B": "Relevant", "C": "Bad"}[subtask]]


@pytest.mark.parametrize("reverse", [False, True])
def test_order_is_that_of_the_files_and_not_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reverse: bool
) -> None:
    for part in (3, 1, 2):
        save(tmp_path, f"{STEM}-train-part{part}.xml", org(f"Q{9 - part}", thread(f"Q{9 - part}_R1", order="1")))
    found = sorted(tmp_path.rglob("*"), reverse=reverse)
    monkeypatch.setattr(Path, "rglob", lambda *_: found)
    assert list(ids(read(tmp_path, "B", "train"))) == ["Q8", "Q7", "Q6"]


@pytest.mark.parametrize("start", ["", DECLARED, DECLARED.replace("\n", "\r\n")])
@pytest.mark.parametrize("root", ["xml", "root"])
def test_root_declaration_and_line_ends_do_not_matter(tmp_path: Path, start: str, root: str) -> None:
    path = save(tmp_path, "dev.xml", MAIN, root=root, start=start.replace("xml [", f"{root} ["))
    plain = read(tmp_path, "C")
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert read(tmp_path, "C") == plain
    assert len(plain[0].candidates) == 3


@pytest.mark.parametrize("label", ["?", "N/A", "", None])
def test_no_label_is_no_problem(tmp_path: Path, label: str | None) -> None:
    save(
        tmp_path, "dev.xml", org("Q1", thread("Q1_R1", comment("Q1_R1_C1", "x", label, label), order="1", label=label))
    )
    for subtask in t3.LABELS:
        assert read(tmp_path, subtask)[0].candidates[0].label is None


def test_unknown_labels_are_no_labels_and_counted(tmp_path: Path) -> None:
    comments = "".join(comment(f"Q1_R1_C{i}", org=label) for i, label in enumerate(["good", "Good", "good"], 1))
    save(tmp_path, "dev.xml", org("Q1", thread("Q1_R1", comments, order="1", label="Good")))
    (query,), said = logged(tmp_path, "C")
    assert [candidate.label for candidate in query.candidates] == [None, "Good", None]
    assert said == [
        "dev.xml, element xml: RELC_RELEVANCE2ORGQ is 'good' 2 times, expected Good, PotentiallyUseful, Bad; "
        "taken as no label (repaired)"
    ]
    (query,), said = logged(tmp_path, "B")
    assert query.candidates[0].label is None
    assert "RELQ_RELEVANCE2ORGQ is 'Good' 1 times, expected PerfectMatch, Relevant, Irrelevant" in said[0]


def test_positive() -> None:
    assert {label: t3.positive("B", label) for label in ("PerfectMatch", "Relevant", "Irrelevant", "Good", None)} == {
        "PerfectMatch": True,
        "Relevant": True,
        "Irrelevant": False,
        "Good": None,
        None: None,
    }
    for subtask in ("A", "C"):
        labels = ("Good", "PotentiallyUseful", "Bad", "Relevant", None)
        assert [t3.positive(subtask, label) for label in labels] == [True, False, False, None, None]


def test_empty_texts_survive(tmp_path: Path) -> None:
    empty = thread("Q1_R1", comment("Q1_R1_C1", ""), order="1", body="").replace("Boat of Q1_R1", "")
    save(tmp_path, "dev.xml", org("Q1", empty, body="").replace("<OrgQBody></OrgQBody>", "<OrgQBody/>"))
    assert (read(tmp_path, "A")[0].text, read(tmp_path, "A")[0].candidates[0].text) == ("", "")
    assert (read(tmp_path, "B")[0].text, read(tmp_path, "B")[0].candidates[0].text) == ("Boats", "")


@pytest.mark.parametrize(
    ("subtask", "content", "found", "said"),
    [
        (
            "B",
            org("Q1", thread("Q1_R1", order="1"), thread("Q1_R1", order="2")),
            {"Q1": ["Q1_R1"]},
            "Thread Q1_R1: the RELQ_ID 'Q1_R1' occurs more than once, expected unique ids (skipped)",
        ),
        (
            "A",
            thread("Q1", comment("Q1_C1") + comment("Q1_C1")),
            {"Q1": ["Q1_C1"]},
            "RelComment Q1_C1: the RELC_ID 'Q1_C1' occurs more than once, expected unique ids (skipped)",
        ),
        (
            "C",
            org("Q1", thread("Q1_R1", order="1")) + thread("Q2_R1"),
            {"Q1": ["Q1_R1_C1"]},
            "element xml: 1 threads outside an OrgQuestion, which subtask C does not have (skipped)",
        ),
        ("A", "", {}, "element xml: holds no Thread, expected some, in OrgQuestion elements or directly (skipped)"),
        ("A", '<Thread THREAD_SEQUENCE="Q1"/>', {}, "Thread Q1: has no RelQuestion (skipped)"),
        (
            "A",
            thread("Q1").replace('RELQ_ID="Q1"', ""),
            {"Q1": ["Q1_C1"]},
            "Thread Q1: its RelQuestion has no RELQ_ID, THREAD_SEQUENCE is taken (repaired)",
        ),
        (
            "A",
            thread("Q1").replace('RELQ_ID="Q1"', "").replace('THREAD_SEQUENCE="Q1"', ""),
            {},
            "Thread at position 1: has neither RELQ_ID nor THREAD_SEQUENCE (skipped)",
        ),
        (
            "B",
            org("", thread("Q1_R1", order="1")),
            {},
            "Thread Q1_R1: its OrgQuestion has no ORGQ_ID (skipped)",
        ),
        (
            "C",
            org("Q1", thread("Q1_R1", order="1")).replace(' ORGQ_ID="Q1"', ""),
            {},
            "Thread Q1_R1: its OrgQuestion has no ORGQ_ID (skipped)",
        ),
        (
            "A",
            thread("Q1", comment("") + comment("Q1_C2")),
            {"Q1": ["Q1_C2"]},
            "Thread Q1: its comment at position 1 has no RELC_ID (skipped)",
        ),
        (
            "A",
            thread("Q1", comment("Q1_C1") + comment("last")),
            {"Q1": ["Q1_C1", "last"]},
            "RelComment last: its RELC_ID does not end in _C and the number of the comment; took 2 (repaired)",
        ),
        (
            "B",
            org("Q1", thread("Q1_R4", order="fourth")),
            {"Q1": ["Q1_R4"]},
            "Thread Q1_R4: RELQ_RANKING_ORDER is 'fourth', expected a number; took 4 (repaired)",
        ),
        (
            "C",
            org("Q1", thread("Q1x", comment("Q1x_C2"), order="5")),
            {"Q1": ["Q1x_C2"]},
            "Thread Q1x: its RELQ_ID does not end in _R and the number of the question; took 5 (repaired)",
        ),
        (
            "C",
            org("Q1", thread("Q1x")),
            {},
            "Thread Q1x: its RELQ_ID does not end in _R and the number of the question, "
            "and RELQ_RANKING_ORDER is None, expected a number (skipped)",
        ),
        (
            "A",
            thread("Q1").replace("<RelQBody>Which one?</RelQBody>", ""),
            {"Q1": ["Q1_C1"]},
            "Thread Q1: has no RelQBody, taken as empty (repaired)",
        ),
        (
            "A",
            thread("Q1").replace("<RelCText>Try the port.</RelCText>", ""),
            {"Q1": ["Q1_C1"]},
            "RelComment Q1_C1: has no RelCText, taken as empty (repaired)",
        ),
        (
            "B",
            org("Q1", thread("Q1_R1", order="1")) + org("Q1", thread("Q1_R2", order="2"), body="Another."),
            {"Q1": ["Q1_R1", "Q1_R2"]},
            "candidate Q1_R2: the text of its query Q1 differs from the first, which is kept (repaired)",
        ),
    ],
)
def test_dirt_is_survived_and_told(
    tmp_path: Path, subtask: t3.Subtask, content: str, found: dict[str, list[str]], said: str
) -> None:
    save(tmp_path, "dev.xml", content)
    queries, problems = logged(tmp_path, subtask)
    assert ids(queries) == found
    assert problems == [f"dev.xml, {said}"]
    with pytest.raises(DataError):
        read(tmp_path, subtask)


def test_repaired_ranks_are_those_that_the_log_tells(tmp_path: Path) -> None:
    save(
        tmp_path,
        "dev.xml",
        org("Q1", thread("Q1_R4", order=None), thread("Q1x", comment("a") + comment("b"), order="5")),
    )
    assert [c.rank for c in logged(tmp_path, "B")[0][0].candidates] == [4, 5]
    assert [c.rank for c in logged(tmp_path, "C")[0][0].candidates] == [401, 501, 502]


def test_ids_that_repeat_in_another_part_are_skipped_but_not_in_another_split(tmp_path: Path) -> None:
    for name in ("train-part1", "train-part2", "dev"):
        save(tmp_path, f"{STEM}-{name}.xml", org("Q1", thread("Q1_R1", order="1")))
    queries, said = logged(tmp_path, "C", "train")
    assert ids(queries) == {"Q1": ["Q1_R1_C1"]} == ids(t3.read(tmp_path, "C", Log())["dev"])
    assert [line.split(":")[0] for line in said] == [f"{STEM}-train-part2.xml, Thread Q1_R1"]


def test_damaged_file_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    save(tmp_path, "train1.xml", "<Thread>")
    save(tmp_path, "train2.xml", thread("Q1"))
    queries, said = logged(tmp_path, "A", "train")
    assert ids(queries) == {"Q1": ["Q1_C1"]}
    assert len(said) == 1
    assert said[0].startswith("train1.xml, line ")


def test_missing_folder_and_unknown_subtask(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no does not exist; expected one with the XML files of SemEval-2017 Task 3"):
        t3.read(tmp_path / "no", "A", Log())
    wrong: Any = "D"
    for use in (
        lambda: t3.read(tmp_path, wrong, Log()),
        lambda: t3.write(tmp_path, "dev", wrong, ()),
        lambda: relevancy.write_predictions(tmp_path / "x", wrong, (), {}),
    ):
        with pytest.raises(DataError, match="found the subtask 'D', expected one of A, B, C"):
            use()
    assert t3.read(tmp_path, "A", Log(strict=True)) == {"train": (), "dev": (), "test": ()}


TEXTS = st.one_of(
    st.sampled_from(
        ["", "\n", "\n\n", "a\n\n", "\n\nb", "a\n\nb\n\nc", "a\r\n\r\nb", ' <a> & "b" ]]> ', "\t\x85\u2028"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=8),
)


@st.composite
def files(draw: st.DrawFn) -> tuple[t3.Subtask, str, tuple[Query, ...]]:
    """A subtask, a split and queries as official files have them."""
    subtask: t3.Subtask = draw(st.sampled_from(["A", "B", "C"]))
    labels = st.sampled_from([None, *t3.LABELS[subtask]])
    numbers = st.integers(1, 120)
    queries = []
    for number in draw(st.lists(numbers, unique=True, max_size=3)):
        found: list[Candidate] = []
        for related in draw(st.lists(numbers, unique=True, min_size=1, max_size=1 if subtask == "A" else 3)):
            name = f"Q{number}_R{related}"
            if subtask == "B":
                order = draw(st.integers(0, 10**9 - 1))
                found.append(Candidate(id=name, text=draw(TEXTS), label=draw(labels), rank=order))
                continue
            for c in draw(st.lists(numbers, unique=True, min_size=1, max_size=3)):
                rank = c + (100 * related if subtask == "C" else 0)
                found.append(Candidate(id=f"{name}_C{c}", text=draw(TEXTS), label=draw(labels), rank=rank))
        query = found[0].id.rpartition("_C")[0] if subtask == "A" else f"Q{number}"
        queries.append(Query(id=query, text=draw(TEXTS), candidates=tuple(found)))
    return subtask, draw(st.sampled_from(["train", "dev", "test"])), tuple(queries)


@given(files())
@settings(deadline=None)
def test_what_is_written_is_read_back(case: tuple[t3.Subtask, str, tuple[Query, ...]]) -> None:
    subtask, split, queries = case
    with TemporaryDirectory() as folder:
        path = t3.write(Path(folder), split, subtask, queries)
        assert path == Path(folder) / split / f"{STEM}-{split}{'-subtaskA' * (subtask == 'A')}.xml"
        log = Log(strict=bool(queries))
        assert t3.read(Path(folder), subtask, log) == {"train": (), "dev": (), "test": ()} | {split: queries}


def test_ids_with_characters_of_markup_are_read_back(tmp_path: Path) -> None:
    candidate = Candidate(id="\"<&>\t\n\r'_C1", text="", label="Good", rank=1)
    queries = (Query(id="\"<&>\t\n\r'", text="", candidates=(candidate,)),)
    t3.write(tmp_path, "dev", "A", queries)
    assert read(tmp_path, "A") == queries


def test_written_layouts_are_the_official_ones(tmp_path: Path) -> None:
    save(tmp_path / "source", f"{STEM}-dev.xml", MAIN)
    for subtask in ("A", "B", "C"):
        queries = t3.read(tmp_path / "source", subtask, Log())["dev"]
        text = t3.write(tmp_path / subtask, "dev", subtask, queries).read_text(encoding="utf-8")
        assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n<xml version="1.0">\n')
        assert text.count("<OrgQuestion ") == {"A": 0, "B": 3, "C": 3}[subtask]  # one for each thread
        assert (
            text.count('="?"') == {"A": 0, "B": 0, "C": 3 + 4}[subtask]
        )  # threads, and comments for their own question
        assert text.count("RELC_RELEVANCE2ORGQ=") == {"A": 0, "B": 0, "C": 4}[subtask]
        assert ("RELQ_RANKING_ORDER=" in text, "RELQ_RELEVANCE2ORGQ=" in text) == ((subtask != "A",) * 2)


ONE = Candidate(id="Q1_R2_C3", text="", label="Good", rank=203)
QUERY = Query(id="Q1", text="", candidates=(ONE,))


@pytest.mark.parametrize(
    ("queries", "said"),
    [
        ((evolve(QUERY, candidates=()),), "the query 'Q1' has 0 candidates, expected an id and at least one candidate"),
        ((evolve(QUERY, id=""),), "the query '' has 1 candidates, expected an id"),
        ((QUERY, QUERY), "the query id 'Q1' occurs more than once"),
        ((QUERY, evolve(QUERY, id="Q2")), "the candidate 'Q1_R2_C3' of the query 'Q2' has an empty or repeated id"),
        ((evolve(QUERY, text="\x0b"),), "the query 'Q1' or a candidate of it: the character '\\x0b' at 0 cannot be"),
        ((evolve(QUERY, candidates=(evolve(ONE, rank=3),)),), "has the rank 3, expected 203"),
        ((evolve(QUERY, candidates=(evolve(ONE, id="c"),)),), "has the rank 203, expected an id that ends in _C and"),
        ((evolve(QUERY, candidates=(evolve(ONE, id="Q_C1"),)),), "has the rank 203, expected an id with _R and the"),
        ((evolve(QUERY, candidates=(evolve(ONE, label="Fine"),)),), "has the label 'Fine', expected None or one of"),
        (
            (
                evolve(
                    QUERY,
                    candidates=(
                        ONE,
                        evolve(ONE, id="Q1_R1_C1", rank=101),
                        evolve(ONE, id="Q1_R2_C4", rank=204),
                    ),
                ),
            ),
            "the candidate 'Q1_R2_C4' of the query 'Q1' is apart from the others of 'Q1_R2', expected them one after",
        ),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, queries: tuple[Query, ...], said: str) -> None:
    with pytest.raises(DataError) as caught:
        t3.write(tmp_path, "dev", "C", queries)
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_unknown_split_and_a_rank_that_no_file_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found the split 'devel', expected one of train, dev, test"):
        t3.write(tmp_path, "devel", "C", (QUERY,))
    related = evolve(QUERY, candidates=(Candidate(id="Q1_R1", text="", label=None, rank=-1),))
    with pytest.raises(DataError, match="has the rank -1, expected 0 to 999999999"):
        t3.write(tmp_path, "dev", "B", (related,))


@pytest.mark.parametrize(
    ("subtask", "expected"),
    [
        ("B", [("Q7_R12", 12, True), ("Q7_R3", 3, True), ("Q2_R1", 1, False)]),
        (
            "C",
            [
                ("Q7_R12_C1", 1201, False),
                ("Q7_R12_C2", 1202, True),
                ("Q7_R3_C1", 301, False),
                ("Q2_R1_C1", 101, False),
            ],
        ),
    ],
)
def test_ranks_and_what_counts_as_relevant(tmp_path: Path, subtask: t3.Subtask, expected: list) -> None:
    save(tmp_path, "dev.xml", MAIN)
    assert [(c, rank, label) for _, c, rank, label in judged(read(tmp_path, subtask), subtask)] == expected


def judged(queries: tuple[Query, ...], subtask: t3.Subtask) -> list[tuple[str, str, int, bool | None]]:
    """What the scorer's gold file holds of them: query, candidate, rank, label."""
    return [(q.id, c.id, c.rank, t3.positive(subtask, c.label)) for q in queries for c in q.candidates]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_predictions_keep_every_score_and_its_sign(scores: list[float]) -> None:
    candidates = tuple(evolve(ONE, id=f"Q1_R1_C{i}", label=None) for i in range(len(scores)))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "x.pred"
        relevancy.write_predictions(path, "C", (evolve(QUERY, candidates=candidates),), {"Q1": scores, "other": [1.0]})
        lines = judgements.read(path)
    assert [line.score for line in lines] == scores
    assert [line.label for line in lines] == [score > 0 for score in scores]
    assert [(line.query, line.candidate, line.rank) for line in lines] == [("Q1", c.id, 0) for c in candidates]


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({}, "the query 'Q1' has no scores, expected 1"),
        ({"Q1": [0.5, 1.0]}, "the query 'Q1' has 2 scores for 1 candidates, expected one each"),
        ({"Q1": [float("nan")]}, "the candidate 'Q1_R2_C3' of 'Q1' has the score nan, expected a finite number"),
        ({"Q1": [float("inf")]}, "the candidate 'Q1_R2_C3' of 'Q1' has the score inf, expected a finite number"),
    ],
)
def test_scores_that_do_not_fit(tmp_path: Path, scores: dict[str, list[float]], said: str) -> None:
    with pytest.raises(DataError) as caught:
        relevancy.write_predictions(tmp_path / "x", "C", (QUERY,), scores)
    assert str(caught.value) == said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\rb"])
def test_ids_that_would_break_a_line_are_refused(tmp_path: Path, name: str) -> None:
    for query in (evolve(QUERY, id=name), evolve(QUERY, candidates=(evolve(ONE, id=name),))):
        with pytest.raises(DataError, match="found a tab or line break in"):
            relevancy.write_predictions(tmp_path / "x", "C", (query,), {query.id: [1]})


@pytest.mark.parametrize("subtask", ["A", "B", "C"])
def test_gold_of_the_samples(subtask: t3.Subtask, samples: Path) -> None:
    folder = samples / "semeval2017_t3"
    splits = t3.read(folder, subtask, Log(strict=True))
    assert {split: len(queries) for split, queries in splits.items()} == (
        {"train": 3, "dev": 1, "test": 1} if subtask == "A" else {"train": 1, "dev": 1, "test": 1}
    )
    stem = f"{STEM}-dev{'-subtaskA' * (subtask == 'A')}.xml.subtask{subtask}"
    gold = judgements.read(folder / "dev" / f"{stem}.relevancy")
    assert [(q, c, rank, label) for q, c, rank, _, label in gold] == judged(splits["dev"], subtask)
    lines = judgements.read(folder / "dev" / f"{stem}.pred")
    assert [line.candidate for line in lines] == [c.id for query in splits["dev"] for c in query.candidates]
    assert {c.label for query in splits["test"] for c in query.candidates} == {None}


@pytest.mark.parametrize(
    ("subtask", "sizes", "skipped"),
    [
        ("A", {"train": (379, 3790), "dev": (244, 2440)}, 291 + 256),
        ("B", {"train": (67, 670), "dev": (50, 500)}, 0),
        ("C", {"train": (67, 6700), "dev": (50, 5000)}, 0),
    ],
)
def test_real_files_have_the_documented_sizes(
    tmp_path: Path, subtask: t3.Subtask, sizes: dict[str, tuple[int, int]], skipped: int, real_data: Path
) -> None:
    log = Log(strict=True)
    splits = t3.read(real_data / "semeval2017_t3", subtask, log)
    found = {split: (len(queries), sum(len(q.candidates) for q in queries)) for split, queries in splits.items()}
    assert found == sizes | {"test": (0, 0)}
    assert log.counts == ({"threads that the files mark as repetitions": skipped} if skipped else {})
    for split in ("train", "dev"):
        t3.write(tmp_path, split, subtask, splits[split])
    assert t3.read(tmp_path, subtask, Log(strict=True)) == splits
    if subtask == "B":
        dev = [candidate for query in splits["dev"] for candidate in query.candidates]
        assert Counter(c.label for c in dev) == {"PerfectMatch": 59, "Relevant": 155, "Irrelevant": 286}
        assert max(candidate.rank for candidate in dev) == 98
        assert sum("\n\n" not in candidate.text for candidate in dev) == 5  # empty bodies

"""From official files to examples, official scores and official prediction files, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from mtlfn.data import sources, windows
from mtlfn.data.document import Candidate, Document, Link, Log, Mention, Query
from mtlfn.data.example import DataError
from mtlfn.data.official import OFFICIAL
from mtlfn.data.semeval import evaluation, loading, pairs
from mtlfn.data.semeval.disorders import LABEL as DISORDER
from mtlfn.data.semeval.formats import semeval2014_t7, semeval2015_t14, semeval2016_t12, semeval2017_t3, semeval2021_t6
from mtlfn.data.semeval.semeval2016_t12 import CONTAINS
from mtlfn.data.task import PROBLEMS, Dataset

TEXT = "Chest pain, no fever.\nThe left atrium is mildly dilated. Pain in chest again on 1 May."


def text_of(name: str) -> str:
    """Every document has a text of its own: what one task is evaluated on, no other one trains on."""
    return f"{TEXT} {name[:5]}"


def mention(number: int, label: str, *pieces: tuple[int, int], **attributes: str) -> Mention:
    return Mention(id=str(number), label=label, pieces=pieces, attributes=tuple(attributes.items()))


def span(word: str, start: int = 0) -> tuple[int, int]:
    at = TEXT.index(word, start)
    return at, at + len(word)


def disorders(name: str) -> Document:
    held = [
        mention(1, DISORDER, span("Chest pain"), cui="C0000001"),
        mention(2, DISORDER, span("left atrium"), span("dilated"), cui="CUI-less"),
    ]
    return Document(id=name, text=text_of(name), mentions=tuple(held))


SLOTS = {
    **{slot: value for slot, value in (("negation", "no"), ("subject", "patient"), ("uncertainty", "no"))},
    **{slot: "unmarked" for slot in ("course", "severity")},
    **{slot: "false" for slot in ("conditional", "generic")},
    "bodyloc": "null",
}


def slotted(document: Document) -> Document:
    filled = tuple((key, v) for slot, value in SLOTS.items() for key, v in ((slot, value), (f"{slot}_cue", "null")))
    held = [
        Mention(id=m.id, label=m.label, pieces=m.pieces, attributes=(*m.attributes, *filled)) for m in document.mentions
    ]
    return Document(id=document.id, text=document.text, mentions=tuple(held))


def timeline(name: str) -> Document:
    event = {"DocTimeRel": "BEFORE", "Type": "N/A", "Degree": "N/A", "Polarity": "POS"}
    held = [
        mention(1, "EVENT", span("pain"), **event),
        mention(2, "EVENT", span("fever"), **event),
        mention(3, "EVENT", span("Pain"), **event),
        mention(4, "TIMEX3", span("1 May"), Class="DATE"),
    ]
    links = (Link(id="9", label="TLINK:CONTAINS", source="4", target="3"),)
    far = (Link(id="10", label="TLINK:CONTAINS", source="4", target="1"),)
    return Document(id=f"ID{name}_clinic_1", text=text_of(name), mentions=tuple(held), links=links + far)


def memes(name: str) -> Document:
    held = (mention(0, "Doubt", span("no fever")), mention(1, "Smears", (0, 21)))
    return Document(id=name, text=text_of(name), mentions=held)


def thread(name: str) -> Query:
    made = [
        Candidate(id=f"{name}_R1_C{i}", text=f"answer {i}", label="Good" if i % 3 == 0 else "Bad", rank=i)
        for i in range(1, 11)
    ]
    return Query(id=f"{name}_R1", text="A question\n\nwith a body", candidates=tuple(made))


def write_all(folder: Path) -> Path:
    """A small corpus of every format, written by its own writer."""
    for split, names in (("train", ("90001-000101", "90002-000102")), ("dev", ("90003-000103",))):
        semeval2014_t7.write(folder / "semeval2014_t7", split, [disorders(f"{n}-ECHO_REPORT") for n in names])
        semeval2015_t14.write(folder / "semeval2015_t14", split, [slotted(disorders(n)) for n in names])
        semeval2016_t12.write(folder / "semeval2016_t12", split, [timeline(n[4]) for n in names])
        semeval2017_t3.write(folder / "semeval2017_t3", split, "A", [thread(f"Q{n[4]}") for n in names])
        semeval2021_t6.write(folder / "semeval2021_t6", split, [memes(n[4]) for n in names])
        semeval2021_t6.write_labels(
            folder / "semeval2021_t6", split, [(n[4], text_of(n[4]), ("Doubt", "Smears")) for n in names]
        )
    return folder


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("official"))


NAMES = [name for name in OFFICIAL if name not in ("semeval2017_t3_b", "semeval2017_t3_c")]


@pytest.fixture(params=NAMES)
def dataset(request: pytest.FixtureRequest, corpora: Path) -> Dataset:
    (found,) = sources.resolve([request.param], corpora, {})
    return found


def gold_predictions(dataset: Dataset, split: str = "dev") -> list:
    if dataset.task.kind == "spans":
        return [[[label, [list(p) for p in pieces]] for label, pieces in e.mentions] for e in dataset[split]]
    if dataset.task.kind == "ranking":
        return [[1.0 if label == "relevant" else -1.0 for label in e.labels] for e in dataset[split]]
    return [e.labels[0] if dataset.task.kind == "relation" else list(e.labels) for e in dataset[split]]


def test_every_split_has_examples_of_its_documents(dataset):
    assert [len(dataset.gold[split]) for split in ("train", "dev", "test")] == [2, 1, 0]
    assert len({e.unit for e in dataset.train}) == 2
    assert dataset.notes["skipped"] == dataset.notes["repaired"] == 0


def test_gold_scores_as_high_as_its_examples_can_hold(dataset):
    found = evaluation.score(dataset, "dev", dataset.dev, gold_predictions(dataset), whole=True)
    assert found[dataset.task.metric] == pytest.approx(2 / 3 if dataset.task.name == "semeval2016_t12" else 1.0)


def test_predicting_nothing_scores_low_and_baselines_are_between(dataset):
    empty = {"spans": [], "multilabel": [], "relation": "none"}
    if dataset.task.kind in empty:
        nothing = [empty[dataset.task.kind]] * len(dataset.dev)
        assert evaluation.score(dataset, "dev", dataset.dev, nothing, whole=True)[dataset.task.metric] == 0.0
    assert all(0.0 <= value <= 1.0 for value in evaluation.baselines(dataset).values())


def test_links_that_no_candidate_holds_are_counted_and_missed(corpora):
    (dataset,) = sources.resolve(["semeval2016_t12"], corpora, {})
    assert dataset.notes["links that are no candidates"] == {"train": 2, "dev": 1, "test": 0}
    scores = evaluation.score(dataset, "dev", dataset.dev, gold_predictions(dataset), whole=True)
    assert (scores["contains_precision"], scores["contains_recall"]) == (1.0, 0.5)
    example = next(e for e in dataset.dev if e.labels == ("CONTAINS",))
    text = example.texts[0][0]
    assert [text[a:b] for a, b in (*example.head, *example.tail)] == ["1 May", "Pain"]


READ: dict[str, Callable[[Path], list]] = {
    "semeval2021_t6": lambda f: json.loads((f / "data" / "dev_set_task2.txt").read_text()),
    "semeval2021_t6_labels": lambda f: json.loads((f / "data" / "dev_set_task1.txt").read_text()),
}


def test_predictions_are_written_as_the_organisers_want_them(dataset, tmp_path):
    """What is written for perfect predictions holds the gold annotations, read back by eye or by the format."""
    OFFICIAL[dataset.task.official].write(dataset, "dev", tmp_path, gold_predictions(dataset))
    name = dataset.task.name
    files = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    if name == "semeval2014_t7":
        (path,) = tmp_path.rglob("*.pipe")
        rows = [line.split("||") for line in path.read_text().splitlines()]
        assert {tuple(map(int, row[3:])) for row in rows} == {(0, 10), (*span("left atrium"), *span("dilated"))}
    elif name == "semeval2015_t14":
        (path,) = tmp_path.rglob("*.pipe")
        rows = [line.split("|") for line in path.read_text().splitlines()]
        assert {row[1] for row in rows} == {"0-10", "{}-{},{}-{}".format(*span("left atrium"), *span("dilated"))}
        assert {len(row) for row in rows} == {19}
    elif name == "semeval2016_t12":
        assert files == ["ID3_clinic_1.Temporal-Relation.system.completed.xml"]
        (path,) = tmp_path.rglob("*.xml")
        assert path.read_text().count("<type>TLINK</type>") == 1
    elif name == "semeval2016_t12_spans":
        assert files == ["ID3_clinic_1.Temporal-Relation.system.completed.xml"]
        (path,) = tmp_path.rglob("*.xml")
        assert path.parent.relative_to(tmp_path) == Path("coloncancer/Dev/ID3_clinic_1")
        found = path.read_text()
        assert [found.count(f"<type>{kind}</type>") for kind in ("EVENT", "TIMEX3", "TLINK")] == [3, 1, 0]
        assert "<span>{},{}</span>".format(*span("1 May")) in found
        assert "<id>0@e@ID3_clinic_1@system</id>" in found
    elif name == "semeval2017_t3":
        rows = [line.split("\t") for line in (tmp_path / "dev.subtaskA.pred").read_text().splitlines()]
        assert [row[4] for row in rows] == ["true" if i % 3 == 0 else "false" for i in range(1, 11)]
    else:
        (row,) = READ[name](tmp_path)
        labels = [label["technique"] if isinstance(label, dict) else label for label in row["labels"]]
        assert sorted(labels) == ["Doubt", "Smears"]


def test_without_a_dev_or_test_split_a_hash_of_ids_makes_them(tmp_path):
    documents = [memes(str(i)) for i in range(60)]
    semeval2021_t6.write(tmp_path / "semeval2021_t6", "train", documents)
    (found,) = sources.resolve(["semeval2021_t6"], tmp_path, {})
    assert 2 <= len(found.dev) <= 12
    assert 2 <= len(found.test) <= 12
    assert len(found.train) + len(found.dev) + len(found.test) == 60
    assert not {e.unit for e in found.train} & {e.unit for e in found.dev + found.test}
    assert {d.id for d in found.gold["test"]} == {e.unit for e in found.test}


def test_subtasks_of_a_folder_hold_out_the_same_documents(tmp_path):
    names = [f"{i:02}" for i in range(60)]
    semeval2016_t12.write(tmp_path / "semeval2016_t12", "train", [timeline(name) for name in names])
    semeval2021_t6.write(tmp_path / "semeval2021_t6", "train", [memes(name) for name in names])
    labelled = [(name, text_of(name), ("Doubt",)) for name in names]
    semeval2021_t6.write_labels(tmp_path / "semeval2021_t6", "train", labelled)
    for pair in (["semeval2016_t12", "semeval2016_t12_spans"], ["semeval2021_t6", "semeval2021_t6_labels"]):
        one, other = ({e.unit for e in dataset.dev} for dataset in sources.resolve(pair, tmp_path, {}))
        assert one == other


def test_a_missing_folder_and_a_strict_reading_are_clear(corpora, tmp_path):
    with pytest.raises(DataError, match="semeval2014_t7 does not exist"):
        loading.load("semeval2014_t7", tmp_path / "nowhere")
    broken = write_all(tmp_path) / "semeval2014_t7"
    path = next(broken.rglob("90001*.pipe"))
    path.write_text(path.read_text() + "nonsense\n")
    assert loading.load("semeval2014_t7", broken).notes["skipped"] == 1
    with pytest.raises(DataError, match=r"90001.*line 3"):
        loading.load("semeval2014_t7", broken, strict=True)


def test_pairs_reach_a_neighbouring_sentence_only_from_times():
    document = timeline("1")
    made = {tuple(e.id.split("|")[1:]) for e in pairs.examples(document, CONTAINS)}
    assert ("4", "3") in made
    assert ("1", "2") in made
    assert ("1", "3") not in made  # two events in different sentences
    assert ("4", "1") not in made  # two sentences apart
    unlinked = Document(id="x", text=TEXT, mentions=document.mentions, linked=False)
    assert pairs.examples(unlinked, CONTAINS) == ()


def test_windows_of_a_document_are_one_unit():
    document = disorders("d")
    made = windows.examples(document, (DISORDER,), training=False, limit=8)
    assert len(made) > 1
    assert {e.unit for e in made} == {"d"}


def test_a_log_tells_what_was_done():
    log = Log()
    log.skipped(Path("a.pipe"), "line 3", "found 2 fields")
    assert [str(p) for p in log.problems] == ["a.pipe, line 3: found 2 fields (skipped)"]


# Times and events of Clinical TempEval


@pytest.fixture
def times_and_events(tmp_path: Path) -> Dataset:
    """A clinical note with a document time and an event of two pieces, a pathology note, and one without annotation."""
    folder = tmp_path / "semeval2016_t12"
    note = timeline("1")
    others = (mention(5, "DOCTIME", span("Chest")), mention(6, "EVENT", span("left"), span("dilated"), Type="N/A"))
    note = attrs.evolve(note, mentions=(*note.mentions, *others))
    entities = tuple(m for m in note.mentions if m.id in "14")
    pathology = Document(id="ID2_path_1", text=TEXT, mentions=entities, linked=False)
    for split in ("train", "dev"):
        semeval2016_t12.write(folder, split, [note, pathology])
        bare = folder / "coloncancer" / split.capitalize() / "ID3_clinic_1"
        bare.mkdir()
        (bare / bare.name).write_text(TEXT)
    assert OFFICIAL["semeval2016_t12_spans"].folder == "semeval2016_t12"
    (found,) = sources.resolve(["semeval2016_t12_spans"], tmp_path, {})
    return found


def test_pathology_notes_count_and_notes_without_annotation_do_not(times_and_events):
    task = times_and_events.task
    assert (task.kind, task.level, task.metric, task.labels) == ("spans", 1, "es_f1", ("EVENT", "TIMEX3"))
    assert task.discontiguous
    assert [e.unit for e in times_and_events.train] == ["ID1_clinic_1", "ID2_path_1"]
    assert [len(e.mentions) for e in times_and_events.train] == [5, 2]  # the document time is not to be found
    assert times_and_events.notes["skipped"] == 2
    (told,) = times_and_events.notes[PROBLEMS]
    assert told.startswith("2 skipped, first ")
    assert "ID3_clinic_1, the folder: has no file" in told


def test_time_and_event_scores_are_those_of_the_two_subtasks(times_and_events):
    def scores(predictions: list) -> dict[str, float]:
        return evaluation.score(times_and_events, "dev", times_and_events.dev, predictions, whole=True)

    parts = ("precision", "recall", "f1")
    perfect = gold_predictions(times_and_events)
    assert scores(perfect) == {f"{subtask}_{part}": 1.0 for subtask in ("es", "ts") for part in parts}
    nothing = {f"{subtask}_{part}": float(part == "precision") for subtask in ("es", "ts") for part in parts}
    assert scores([[], []]) == nothing
    (*clinic,), _ = perfect
    wrong = [["EVENT", [list(span("1 May"))]], ["EVENT", [list(span("left atrium"))]]]
    found = scores([[*clinic, *wrong], []])
    assert [found[f"es_{part}"] for part in parts] == pytest.approx([4 / 6, 4 / 5, 8 / 11])
    assert [found[f"ts_{part}"] for part in parts] == pytest.approx([1.0, 1 / 2, 2 / 3])


def test_written_times_and_events_are_read_back(times_and_events, tmp_path):
    out = tmp_path / "out"
    OFFICIAL["semeval2016_t12_spans"].write(times_and_events, "dev", out, gold_predictions(times_and_events))
    for path in list(out.rglob("*.xml")):
        path.with_name(path.parent.name).write_text(TEXT)
        path.rename(path.with_name(path.name.replace(".system.", ".gold.")))
    back = semeval2016_t12.read(out, Log())["dev"]
    for gold, read in zip(times_and_events.gold["dev"], back, strict=True):
        wanted = {(m.label, m.pieces) for m in gold.mentions if m.label != "DOCTIME"}
        assert {(m.label, m.pieces) for m in read.mentions} == wanted
        assert all(m.id.endswith(f"@e@{gold.id}@system") for m in read.mentions)
        assert read.links == ()


def test_subtasks_without_a_dev_file_hold_out_the_same_questions(tmp_path):
    """Subtask A asks the related questions of those that B and C ask: a comment is dev, test or training to all."""
    held: dict[str, dict[str, set[str]]] = {}
    for subtask, name in (("A", "semeval2017_t3"), ("B", "semeval2017_t3_b"), ("C", "semeval2017_t3_c")):
        queries = []
        for number in range(60):
            related = [f"Q{number}_R{r}" for r in (1, 12)]
            comments = [f"{r}_C{c}" for r in related for c in (1, 2)]
            label = "Relevant" if subtask == "B" else "Good"
            asked = (
                {r: [c for c in comments if c.startswith(f"{r}_")] for r in related}
                if subtask == "A"
                else {f"Q{number}": related if subtask == "B" else comments}
            )
            for query, candidates in asked.items():
                numbers = [[int(n) for n in re.findall("[RC]([0-9]+)", c)] for c in candidates]
                ranks = [n[-1] if subtask != "C" else 100 * n[0] + n[1] for n in numbers]
                held_by = tuple(
                    Candidate(id=c, text=f"text of {c}", label=label, rank=rank)
                    for c, rank in zip(candidates, ranks, strict=True)
                )
                queries.append(Query(id=query, text=f"text of {query}", candidates=held_by))
        folder = tmp_path / subtask / "semeval2017_t3"
        semeval2017_t3.write(folder, "train", subtask, queries)
        dataset = loading.load(name, folder)
        held[name] = {s: {e.unit.partition("_")[0] for e in dataset[s]} for s in ("train", "dev", "test")}
        assert sum(map(len, held[name].values())) == 60
        assert all(held[name].values())
    assert held["semeval2017_t3"] == held["semeval2017_t3_b"] == held["semeval2017_t3_c"]

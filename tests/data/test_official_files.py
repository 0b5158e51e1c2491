"""The files of predictions hold what is scored: read back and scored again, they give the score that is reported."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtlfn.data import official, sources, units
from mtlfn.data.example import Example
from mtlfn.data.formats import (
    relevancy,
    semeval2014_t7,
    semeval2015_t14,
    semeval2016_t12,
    semeval2017_t3,
    semeval2021_t6,
)
from mtlfn.data.formats.document import Candidate, Log, Query
from mtlfn.data.scoring import classes, ranking, spans, temporal
from mtlfn.data.task import Dataset
from tests.data.test_official import TEXT
from tests.data.test_units import Rng, corpora, drawn, prediction

__all__ = ["corpora"]
Read = Callable[[Dataset, Path], dict[str, float]]  # the files of predictions for the test split -> their scores
UNMARKED = "is an EVENT without properties; it is read without attributes"
ODD = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-300, 1e308)


def mentions(module: Any, scores: Callable[[Any, Any], dict[str, float]]) -> Read:
    def read(dataset: Dataset, folder: Path) -> dict[str, float]:
        gold = dataset.gold["test"]
        log = Log()
        found = {d.id: d.mentions for d in module.read(folder, log)["test"]}
        assert {problem.what for problem in log.problems} <= {UNMARKED}
        assert found.keys() == {d.id for d in gold}
        return scores({d.id: d.mentions for d in gold}, found)

    return read


def disorders(gold: Any, found: Any) -> dict[str, float]:
    return spans.share_strict_relaxed(gold, found, with_cui=False)


def times_and_events(gold: Any, found: Any) -> dict[str, float]:
    scores = temporal.entities(gold, found)
    parts = ("precision", "recall", "f1")
    return {f"{name}_{p}": scores[f"{p}:{label}"] for label, name in official.SUBTASKS.items() for p in parts}


def pair_by_pair(gold: Any, found: Any) -> dict[str, float]:
    """Techniques as the organisers count: every span of the file with every gold span, nothing merged."""

    def shares(ones: Any, others: Any) -> list[float]:
        out = []
        for name, marked in ones.items():
            for m in marked:
                ((a, b),) = m.pieces
                both = [n.pieces[0] for n in others[name] if n.label == m.label]
                out.append(sum(max(min(b, d) - max(a, c), 0) for c, d in both) / (b - a))
        return out

    precision, recall = ((sum(s) / len(s) if s else 0.0) for s in (shares(found, gold), shares(gold, found)))
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"partial_precision": precision, "partial_recall": recall, "partial_f1": f1}


def links(dataset: Dataset, folder: Path) -> dict[str, float]:
    found = {d.id: d for d in semeval2016_t12.read(folder, Log(strict=True))["test"]}
    return temporal.contains({d.id: d for d in dataset.gold["test"]}, found)


def ranks(subtask: semeval2017_t3.Subtask) -> Read:
    def read(dataset: Dataset, folder: Path) -> dict[str, float]:
        held: dict[str, list[relevancy.Judgement]] = {}
        for line in relevancy.read_relevancy(folder / f"test.subtask{subtask}.pred"):
            held.setdefault(line.query, []).append(line)
        rows = []
        for query in dataset.gold["test"]:
            assert [line.candidate for line in held[query.id]] == [c.id for c in query.candidates]
            wanted = [bool(semeval2017_t3.positive(subtask, c.label)) for c in query.candidates]
            rows.append((wanted, [line.score for line in held[query.id]], [line.label for line in held[query.id]]))
        return ranking.ranking(rows)

    return read


def labels(dataset: Dataset, folder: Path) -> dict[str, float]:
    found = {name: each for name, _, each in semeval2021_t6.read_labels(folder, Log(strict=True))["test"]}
    return classes.labels_f1({name: each for name, _, each in dataset.gold["test"]}, found, dataset.task.labels)


READ: dict[str, Read] = {
    "semeval2014_t7": mentions(semeval2014_t7, disorders),
    "semeval2015_t14": mentions(semeval2015_t14, disorders),
    "semeval2016_t12": links,
    "semeval2016_t12_spans": mentions(semeval2016_t12, times_and_events),
    "semeval2017_t3": ranks("A"),
    "semeval2017_t3_b": ranks("B"),
    "semeval2017_t3_c": ranks("C"),
    "semeval2021_t6": mentions(semeval2021_t6, pair_by_pair),
    "semeval2021_t6_labels": labels,
}


def laid_out(dataset: Dataset, folder: Path) -> None:
    """What the organisers have beside the predictions, so that the product's reader takes them for a corpus: texts."""
    name, gold = dataset.task.name, dataset.gold["test"]
    if name in ("semeval2014_t7", "semeval2015_t14"):
        for path in list(folder.rglob("*.pipe")):
            path.with_suffix(".text").write_text(next(d.text for d in gold if d.id == path.stem))
    elif official.folder(name) == "semeval2016_t12":
        for path in list(folder.rglob("*.xml")):
            document = next(d for d in gold if d.id == path.parent.name)
            (path.parent / document.id).write_text(document.text)
            path.rename(path.with_name(path.name.replace(".system.", ".gold.")))
    elif official.folder(name) == "semeval2021_t6":
        texts = {official.unit(g): g[1] if isinstance(g, tuple) else g.text for g in gold}
        (path,) = folder.rglob("*.txt")
        items = [{**item, "text": texts[item["id"]]} for item in json.loads(path.read_text())]
        path.write_text(json.dumps(items))


def subtasks(folder: Path, rng: Rng) -> None:
    """Queries of the subtasks B and C with several related questions each."""
    for split, numbers in (("train", range(2)), ("dev", range(2, 4)), ("test", range(4, 11))):
        for subtask in ("B", "C"):
            queries = []
            for n in numbers:
                related = [f"Q{n}_R{r}" for r in range(1, 5)]
                names = related if subtask == "B" else [f"{r}_C{c}" for r in related for c in range(1, 4)]
                known = list(semeval2017_t3.LABELS[subtask])
                made = []
                for i, name in enumerate(names):
                    rank = i + 1 if subtask == "B" else 100 * (i // 3 + 1) + i % 3 + 1
                    label = known[drawn(rng, 0, len(known))]
                    made.append(Candidate(id=name, text=f"{name} text", label=label, rank=rank))
                queries.append(Query(id=f"Q{n}", text=f"question {n}\n\nbody", candidates=tuple(made)))
            semeval2017_t3.write(folder / subtask / "semeval2017_t3", split, subtask, queries)


def loaded(name: str, corpora: Path) -> Dataset:
    lies = corpora
    if name[-2:] in ("_b", "_c"):
        lies = corpora / name[-1].upper()
        if not lies.exists():
            subtasks(corpora, np.random.default_rng(3))
    (found,) = sources.resolve([name], lies, {})
    return found


def odd(dataset: Dataset, rng: Rng, e: Example) -> Any:
    """A prediction that no example of the training data looks like."""
    task = dataset.task
    if task.kind == "ranking":
        return [ODD[drawn(rng, 0, len(ODD))] for _ in e.texts]
    if task.kind == "multilabel":
        return rng.choice(task.labels, size=drawn(rng, 0, 6)).tolist()  # some twice
    if task.kind != "spans":
        return prediction(task, rng, e)
    held = []
    for _ in range(drawn(rng, 0, 8)):  # nested, overlapping, touching, equal, one character, in any order
        count = drawn(rng, 1, 4) if task.discontiguous else 1
        starts = [drawn(rng, 0, len(TEXT) - 1) for _ in range(count)]
        pieces = [[a, min(a + drawn(rng, 1, 12), len(TEXT))] for a in starts]
        held.append([task.labels[drawn(rng, 0, min(len(task.labels), 3))], pieces])
    return held + held[:1]


def agree(dataset: Dataset, predictions: Sequence[Any], folder: Path) -> None:
    official.write(dataset, "test", folder, predictions)
    laid_out(dataset, folder)
    read = READ[dataset.task.name](dataset, folder)
    reported = official.score(dataset, "test", dataset.test, predictions, whole=True)
    reported = {name: value for name, value in reported.items() if not name.startswith("partial_f1:")}
    assert {name: read[name] for name in reported} == pytest.approx(reported, abs=1e-12)
    sums = units.statistics(dataset, "test", predictions).values.sum(0)
    assert units.value(dataset.task, sums) == pytest.approx(read[dataset.task.metric], abs=1e-12)


@pytest.mark.parametrize("name", official.OFFICIAL)
@pytest.mark.parametrize("draw", [lambda d, rng, e: prediction(d.task, rng, e), odd], ids=["usual", "odd"])
def test_what_is_written_scores_what_is_reported(name, draw, corpora, tmp_path):
    dataset = loaded(name, corpora)
    assert len(dataset.test) >= 7
    for seed in range(12):
        rng = np.random.default_rng(seed)
        agree(dataset, [draw(dataset, rng, e) for e in dataset.test], tmp_path / str(seed))


def test_spans_of_one_technique_that_share_characters_are_written_as_one(corpora, tmp_path):
    dataset = loaded("semeval2021_t6", corpora)
    first, *rest = dataset.test
    marks = [["Doubt", [[0, 10]]], ["Doubt", [[5, 20]]], ["Doubt", [[20, 25]]], ["Smears", [[5, 8]]]]
    predictions = [marks, *([] for _ in rest)]
    official.write(dataset, "test", tmp_path, predictions)
    (path,) = tmp_path.rglob("test_set_task2.txt")
    items = {item["id"]: item["labels"] for item in json.loads(path.read_text())}
    found = [(each["start"], each["end"], each["technique"]) for each in items[first.unit]]
    assert found == [(0, 20, "Doubt"), (5, 8, "Smears"), (20, 25, "Doubt")]
    agree(dataset, predictions, tmp_path / "again")


def test_all_tasks_are_here():
    assert READ.keys() == official.OFFICIAL.keys()


def test_scores_that_are_no_numbers_are_written_as_they_are_ranked(corpora, tmp_path):
    dataset = loaded("semeval2017_t3", corpora)
    first, *rest = dataset.test
    scores = [math.inf, math.nan, -math.inf, *([0.5] * (len(first.texts) - 3))]
    agree(dataset, [scores, *([0.0] * len(e.texts) for e in rest)], tmp_path)
    lines = [line for line in relevancy.read_relevancy(tmp_path / "test.subtaskA.pred") if line.query == first.id]
    assert [line.label for line in lines[:4]] == [True, False, False, True]
    assert all(math.isfinite(line.score) for line in lines)

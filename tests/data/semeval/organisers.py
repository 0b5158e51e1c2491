"""Files of predictions read back and scored as the organisers' scorers do it: an oracle for what a run reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtlfn.data.document import Log
from mtlfn.data.official import OFFICIAL
from mtlfn.data.scoring import classes, ranking, spans, temporal
from mtlfn.data.semeval.formats import (
    semeval2014_t7,
    semeval2015_t14,
    semeval2016_t12,
    semeval2017_t3,
    semeval2021_t6,
)
from mtlfn.data.semeval.semeval2016_t12 import SUBTASKS
from mtlfn.data.task import Dataset
from tests.data.semeval import relevancy

Read = Callable[[Dataset, Path], dict[str, float]]  # the files of predictions for the test split -> their scores
UNMARKED = "is an EVENT without properties; it is read without attributes"


def mentions(module: Any, scores: Callable[[Any, Any], dict[str, float]]) -> Read:
    def read(dataset: Dataset, folder: Path) -> dict[str, float]:
        gold = dataset.gold["test"]
        log = Log()
        predicted = {d.id: d.mentions for d in module.read(folder, log)["test"]}
        assert {problem.what for problem in log.problems} <= {UNMARKED}
        assert predicted.keys() == {d.id for d in gold}
        return scores({d.id: d.mentions for d in gold}, predicted)

    return read


def disorders(gold: Any, predicted: Any) -> dict[str, float]:
    return spans.share_strict_relaxed(gold, predicted, with_cui=False)


def times_and_events(gold: Any, predicted: Any) -> dict[str, float]:
    scores = temporal.entities(gold, predicted)
    parts = ("precision", "recall", "f1")
    return {f"{name}_{p}": scores[f"{p}:{label}"] for label, name in SUBTASKS.items() for p in parts}


def pair_by_pair(gold: Any, predicted: Any) -> dict[str, float]:
    """Techniques as the organisers count: every span of the file with every gold span, nothing merged."""

    def shares(ones: Any, others: Any) -> list[float]:
        out = []
        for name, marked in ones.items():
            for m in marked:
                ((a, b),) = m.pieces
                both = [n.pieces[0] for n in others[name] if n.label == m.label]
                out.append(sum(max(min(b, d) - max(a, c), 0) for c, d in both) / (b - a))
        return out

    precision, recall = ((sum(s) / len(s) if s else 0.0) for s in (shares(predicted, gold), shares(gold, predicted)))
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"partial_precision": precision, "partial_recall": recall, "partial_f1": f1}


def links(dataset: Dataset, folder: Path) -> dict[str, float]:
    predicted = {d.id: d for d in semeval2016_t12.read(folder, Log())["test"]}
    return temporal.contains({d.id: d for d in dataset.gold["test"]}, predicted)


def ranks(subtask: semeval2017_t3.Subtask) -> Read:
    def read(dataset: Dataset, folder: Path) -> dict[str, float]:
        lines: dict[str, list[relevancy.Judgement]] = {}
        for line in relevancy.read(folder / f"test.subtask{subtask}.pred"):
            lines.setdefault(line.query, []).append(line)
        rows = []
        for query in dataset.gold["test"]:
            assert [line.candidate for line in lines[query.id]] == [c.id for c in query.candidates]
            wanted = [bool(semeval2017_t3.positive(subtask, c.label)) for c in query.candidates]
            rows.append((wanted, [line.score for line in lines[query.id]], [line.label for line in lines[query.id]]))
        return ranking.ranking(rows)

    return read


def labels(dataset: Dataset, folder: Path) -> dict[str, float]:
    predicted = {name: each for name, _, each in semeval2021_t6.read_labels(folder, Log(strict=True))["test"]}
    return classes.labels_f1({name: each for name, _, each in dataset.gold["test"]}, predicted, dataset.task.labels)


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


def read(dataset: Dataset, folder: Path) -> dict[str, float]:
    """The scores of the prediction files for the test split in a folder, which is changed for it."""
    _laid_out(dataset, folder)
    return READ[dataset.task.name](dataset, folder)


def _laid_out(dataset: Dataset, folder: Path) -> None:
    """What the organisers have beside the predictions, so that our reader takes them for a corpus: texts."""
    name, gold = dataset.task.name, dataset.gold["test"]
    if name in ("semeval2014_t7", "semeval2015_t14"):
        for path in list(folder.rglob("*.pipe")):
            path.with_suffix(".text").write_bytes(next(d.text for d in gold if d.id == path.stem).encode())
    elif OFFICIAL[name].folder == "semeval2016_t12":
        for path in list(folder.rglob("*.xml")):
            document = next(d for d in gold if d.id == path.parent.name)
            (path.parent / document.id).write_bytes(document.text.encode())
            path.rename(path.with_name(path.name.replace(".system.", ".gold.")))
    elif OFFICIAL[name].folder == "semeval2021_t6":
        texts = {OFFICIAL[name].unit(g): g[1] if isinstance(g, tuple) else g.text for g in gold}
        (path,) = folder.rglob("*_task*.txt")
        items = [{**item, "text": texts[item["id"]]} for item in json.loads(path.read_text())]
        path.write_text(json.dumps(items))
        (folder / semeval2021_t6.LIST).write_text("".join(f"{label}\n" for label in dataset.task.labels))

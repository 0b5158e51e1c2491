"""What a data set lacks, in a line each: labels that training never shows, splits with nothing to find, unread words.

A model trains on all of it without an error and ends in a score of 0, which would be taken for the method's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from mtlfn.data.example import Example
from mtlfn.data.task import HIDDEN_TEST, SPLITS, Dataset, Task, kind_of

SHOWN = 5  # labels that a line names


def notices(dataset: Dataset, cut: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The lines, none of which begins with the name of the task.

    Args:
        cut: split -> ``Corpus.notes``; what is not there is not told.
    """
    counts = {split: _labels(dataset.task, dataset[split]) for split in SPLITS if dataset[split]}
    lacks = (_without_positives(dataset.task, counts), _labels_lacking(dataset.task, counts))
    return [*_hidden(dataset), *chain(*lacks), *_bare(dataset), *_unread(cut)]


def _hidden(dataset: Dataset) -> Iterable[str]:
    if why := dataset.notes.get(HIDDEN_TEST):
        instead = "; a tenth of the training units takes its place" if dataset.test else ""
        yield f"the test split is left out: {why}{instead}"


def _labels(task: Task, examples: Iterable[Example]) -> Counter[str]:
    """How often each label occurs."""
    return Counter(label for e in examples for label in kind_of(task).mentioned(e))


def _positives(task: Task, counts: Counter[str]) -> int:
    return counts.total() - counts[task.negative or ""]


def _without_positives(task: Task, counts: Mapping[str, Counter[str]]) -> Iterable[str]:
    bare = [split for split, labels in counts.items() if kind_of(task).positive and not _positives(task, labels)]
    if bare:
        what = "nothing to learn" if "train" in bare else "nothing to be found there"
        yield f"no {kind_of(task).positive} in {_listed(bare)}: {what}"


def _labels_lacking(task: Task, counts: Mapping[str, Counter[str]]) -> Iterable[str]:
    train = counts.get("train", Counter())
    if kind_of(task).positive and not _positives(task, train):
        return  # said of all of them
    lacking = [label for label in task.labels if not train[label]]
    totals = {label: sum(labels[label] for labels in counts.values()) for label in lacking}
    if task.negative in lacking and not totals[task.negative]:
        yield f"no split has an example of {task.negative!r}, so a model will hardly ever say it"
    if nowhere := [label for label in lacking if not totals[label] and label != task.negative]:
        yield f"declared, but in no split: {_quoted(nowhere)}; do the data call it so?"
    if unlearnt := [label for label in lacking if totals[label]]:
        places = [split for split in counts if any(counts[split][label] for label in unlearnt)]
        yield f"in {_listed(places)} but never in training, so that it cannot be learnt: {_quoted(unlearnt)}"


def _bare(dataset: Dataset) -> Iterable[str]:
    bare = {s: sum(all(not p or p.isspace() for pair in e.texts for p in pair) for e in dataset[s]) for s in SPLITS}
    if places := [f"{number:,} of {split}" for split, number in bare.items() if number]:
        yield f"examples whose text is empty: {_listed(places)}"


def _unread(cut: Mapping[str, Mapping[str, int]]) -> Iterable[str]:
    parts = []
    for split, notes in cut.items():
        words, entities = (notes.get(f"{what} without a token", 0) for what in ("words", "entities"))
        if words:
            parts.append(f"{words:,} words of {split}, with {entities:,} entities that cannot be found")
    if parts:
        yield f"without a token: {'; '.join(parts)}"


def _quoted(labels: Sequence[str]) -> str:
    rest = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return ", ".join(map(repr, labels[:SHOWN])) + rest


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

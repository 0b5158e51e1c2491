"""What the values of a column say as classes: their names, the one that stands for none, and what is odd about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from mtlfn.run.draft.values import distinct, label_of, number_of

FEW = 20  # different values of a column of classes, where its name does not say that it is one
MOST = 2_000  # different labels; more are no labels
NONE = (  # names of the class that says no, the surest first
    "none",
    "no_relation",
    "no relation",
    "norel",
    "negative",
    "other",
    "false",
    "na",
    "n/a",
    "null",
    "no",
    "0",
    "o",
)


def labels_and_names(values: Iterable[Any], classes: tuple[str, ...] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels of a column, and the names of its values where they are no labels themselves.

    ``classes``: what the column itself calls its integers, of which -1 is none.
    """
    if classes:
        return classes, ()
    present = [value for value in values if value is not None]
    if all(type(value) is bool for value in present):
        return ("false", "true"), ("false", "true")
    if all(type(value) is int for value in present):
        numbers = sorted(set(present))
        return tuple(map(str, numbers)) if len(numbers) <= MOST else (), ()
    return distinct(map(str, present)), ()


def negative(labels: Sequence[str], values: Iterable[Any], classes: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """The class that says that there is no relation: by its name, the surest one, else the most frequent; and what to
    look at where it is a guess."""
    named = sorted((each for each in labels if each.lower() in NONE), key=lambda each: NONE.index(each.lower()))
    if len(named) == 1:
        return named[0], {}
    if named:
        return named[0], {"negative": f"{', '.join(named[1:])} could say that there is no relation, too"}
    counts = Counter(label_of(value, classes) for value in values if value is not None)
    return max(sorted(counts), key=counts.__getitem__), {
        "negative": "the most frequent class; name the one that says no"
    }


def doubtful(labels: Sequence[str]) -> str:
    """What makes some of the labels look like none of their own; empty where nothing does."""
    if any(not label.strip() for label in labels):
        return "an empty cell is a class of its own here; if it stands for none, fill it or leave the row out"
    alike = Counter(label.strip().casefold() for label in labels)
    same = [label for label in labels if alike[label.strip().casefold()] > 1]
    return f"{same[0]!r} and {same[1]!r} differ in white space or case alone; make them one in the data" if same else ""


def amounts(values: Iterable[Any]) -> bool:
    """Whether the values are numbers that are no classes."""
    present = [value for value in values if value is not None]
    numbers = [number_of(value) for value in present]
    if any(number is None for number in numbers) or any(type(value) is bool for value in present):
        return False
    return any(not n.is_integer() for n in numbers if n is not None) or len(set(numbers)) > FEW

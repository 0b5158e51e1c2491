"""What a kind of task is: one value, with all that its data, tokens, labels, predictions and scores need.

The defaults are those of most kinds: one text an example, one label or set of labels for all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from mtlfn.data.example import DataError, Example, Span, short
from mtlfn.data.kinds import shuffle

if TYPE_CHECKING:
    import numpy as np

    from mtlfn.data.statistic import Row, Statistic
    from mtlfn.data.task import Task
    from mtlfn.data.tokens.store import Corpus

IGNORED = -100  # a label that enters no loss
Texts = list[tuple[str, str | None]]
Offsets = Sequence[Span | None]  # of tokens, in characters of the first text; None outside it
Roles = Mapping[str, Any]  # role of a column -> its value in a row


@frozen(kw_only=True)
class Laid:
    """An example as the model is to read it: its sequences, what ``marks`` is to mark, whether something was cut."""

    texts: Texts
    places: Any = None
    cut: bool = False


def as_they_are(examples: Sequence[Example]) -> tuple[Example, ...]:
    """All of them."""
    return tuple(examples)


def lay_as_is(examples: Sequence[Example], tokenizer: Any, max_length: int) -> list[Laid]:
    """The texts as they are."""
    return [Laid(texts=list(e.texts)) for e in examples]


def no_marks(example: Example, offsets: Offsets, places: Any) -> list[int]:
    """-1 for every token."""
    return [-1] * len(offsets)


def no_silence(example: Example, marks: Sequence[int], cut: bool) -> tuple[int, int]:
    """No words that could be silent."""
    return 0, 0


def own_labels(example: Example) -> tuple[str, ...]:
    """The labels of the example."""
    return example.labels


def text_of(roles: Roles, role: str) -> str:
    """A string, or a list of strings that are joined by one blank."""
    value = roles[role]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " ".join(value)
    return of_type(value, str, f"a string for {role}")


def pair_of(roles: Roles) -> tuple[str, str | None]:
    """One text or two."""
    return text_of(roles, "text"), text_of(roles, "text_pair") if roles.get("text_pair") is not None else None


def items_of(roles: Roles, role: str) -> list[Any]:
    """A list."""
    return of_type(roles[role], list, f"a list for {role}")


def named(value: Any, names: Sequence[str]) -> str:
    """A label: a string, or the number of one among the names of the column, which a text file writes as a string."""
    if isinstance(value, str):
        place = int(value) if value.isdecimal() and len(value) < 10 else len(names)
        return names[place] if value not in names and place < len(names) else value
    number: int = of_type(value, int, "a string or a class-label integer")
    if not names:
        raise DataError(
            f"found {short(number)}, a class without a name; list the names in order under names in the mapping"
        )
    if not 0 <= number < len(names):
        raise DataError(f"found the class {short(number)}, expected 0 to {len(names) - 1} ({', '.join(names)})")
    return names[number]


def single(value: Any, names: Sequence[str]) -> str:
    """One class, which some tables keep in a list."""
    if isinstance(value, list) and len(value) != 1:
        raise DataError(f"found {short(value)}, expected one class")
    return named(value[0] if isinstance(value, list) else value, names)


def of_type(value: Any, form: Any, expected: str) -> Any:
    """The value; DataError where it is of another type."""
    if not isinstance(value, form):
        raise DataError(f"found {short(value)}, expected {expected}")
    return value


@frozen(kw_only=True, eq=False)
class Kind:
    """A kind of task.

    Attributes:
        metric: name of the primary metric.
        statistic: what it is a function of.
        level: that its tasks usually have: 1 where they are read from the middle of the model, 2 from its top.
        positive: what there is to be found, as a word; "" where every example has an answer.

        problems: (task, example) -> what is wrong with it, or None.
        classes: labels of the task -> output columns of the head.
        occurrences: example -> the classes that occur in it, as often as they do.
        counted: task -> the classes whose occurrences are counted.
        mentioned: example -> the labels of the task that it shows, as often as it does.
        negative_class: whether one of the classes says that there is nothing, which the metric leaves out.
        tags: whether the gold is a tag a word, whose classes a mapping may name by their tags.
        none_is_an_answer: whether an example without a label is a whole one.
        single: whether an example has one class, so that there is a most frequent one.

        roles, optional: columns that a table must and may have. gold: the one that holds what is to be predicted.
        least_labels: how many labels a mapping must name; 0: none may be named.
        example: (values by role, names of integer labels, id, unit) -> Example.
        unanswered: (task, values by role) -> what stands in the column of ``gold`` where a row is only to be predicted:
            something that a whole example may have, which no prediction depends on.
        parts: (example, for training) -> the examples that it is read as: long texts in windows.
        united: predictions of the parts -> that of the whole.
        fitted: (task, training examples) -> the task with what it takes from them.

        training: examples -> what training draws from.
        shuffled: (examples, generator) -> the same texts with labels that say nothing of them (``shuffle``).
        lay: (examples, tokenizer, longest sequence) -> how the model reads them.
        marks: (example, offsets of tokens, places) -> a number a token; see ``Inputs``.
        labels: (task, example, marks of the first sequence) -> labels as numbers, mentions that cannot be expressed.
        shown: marks of the first sequence -> whether it still shows what the label speaks of.
        silent: (example, marks, cut) -> words without a token, and entities with such a word.
        label_type: of the labels in the token store.
        targets: (corpus, examples, sequence -> row, sequences that are whole, marks) -> labels of a micro-batch as in
            ``Inputs``, and how many enter the loss. It may take away marks.

        prediction_problem: (task, example, prediction) -> why it cannot be scored, or None.
        joined: (task, example, predictions of its rows) -> its prediction; a row is None where a text has no token.
        nothing: (task, example, most frequent class) -> the prediction for a text without a token.
        answer: example -> what its prediction is compared with, in the same form.

        guesses: (task, training examples, examples) -> name -> predictions that read nothing, for official scorers.
        rows: (task, examples, predictions) -> a unit and a row of the statistic each.
        score: (task, examples, predictions) -> metric name -> value.
        baselines: (task, training examples, examples) -> name -> primary metric of predictions that read nothing.
    """

    metric: str
    statistic: Statistic
    level: int = 2
    positive: str = ""

    problems: Callable[[Task, Example], str | None]
    classes: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda labels: labels
    occurrences: Callable[[Example], tuple[str, ...]] = own_labels
    counted: Callable[[Task], tuple[str, ...]] = lambda task: task.classes
    mentioned: Callable[[Example], Iterable[str]] = own_labels
    negative_class: bool = False
    tags: bool = False
    none_is_an_answer: bool = False
    single: bool = False

    roles: tuple[str, ...] = ()
    optional: tuple[str, ...] = ("id", "unit")
    gold: str = "label"
    least_labels: int = 2
    example: Callable[[Roles, tuple[str, ...], str, str], Example]
    unanswered: Callable[[Task, Roles], Any] = lambda task, roles: task.labels[0]
    parts: Callable[[Example, bool], tuple[Example, ...]] = lambda example, training: (example,)
    united: Callable[[list[Any]], Any] = lambda predictions: predictions[0]
    fitted: Callable[[Task, Sequence[Example]], Task] = lambda task, train: task

    training: Callable[[Sequence[Example]], tuple[Example, ...]] = as_they_are
    shuffled: Callable[[Sequence[Example], np.random.Generator], tuple[Example, ...]] = shuffle.among_texts
    lay: Callable[[Sequence[Example], Any, int], list[Laid]] = lay_as_is
    marks: Callable[[Example, Offsets, Any], list[int]] = no_marks
    labels: Callable[[Task, Example, Sequence[int]], tuple[list[Any], int]]
    shown: Callable[[Sequence[int]], bool] = lambda marks: True
    silent: Callable[[Example, Sequence[int], bool], tuple[int, int]] = no_silence
    label_type: str = "int32"
    targets: Callable[[Corpus, Sequence[int], Mapping[int, int], set[int], np.ndarray], tuple[np.ndarray, int]]

    prediction_problem: Callable[[Task, Example, Any], str | None]
    joined: Callable[[Task, Example, list[Any]], Any]
    nothing: Callable[[Task, Example, str | None], Any]
    answer: Callable[[Example], Any]

    guesses: Callable[[Task, Sequence[Example], Sequence[Example]], dict[str, list[Any]]] = lambda *_: {}
    rows: Callable[[Task, Sequence[Example], Sequence[Any]], Iterable[tuple[str, Row]]]
    score: Callable[[Task, Sequence[Example], Sequence[Any]], dict[str, float]]
    baselines: Callable[[Task, Sequence[Example], Sequence[Example]], dict[str, float]]

"""Scores and baselines against definitions written out by hand, seqeval and scikit-learn."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data.example import DataError, Example
from mtlfn.data.metrics import baselines, score
from mtlfn.data.task import Task

NER = Task(name="ner", kind="tagging", level=1, labels=("X", "Y"))
PAIRS = Task(name="pairs", kind="relation", level=2, labels=("none", "a", "b"), negative="none")
CLASSES = Task(name="classes", kind="classification", level=2, labels=("a", "b", "c"))
MANY = Task(name="many", kind="multilabel", level=2, labels=("a", "b", "c"))
ONE = Task(name="one", kind="multilabel", level=2, labels=("a",))
RANK = Task(name="rank", kind="ranking", level=2)

valid_tags = st.lists(st.sampled_from(NER.classes), min_size=1, max_size=6).map(lambda tags: repaired(tags))
any_tags = st.lists(st.sampled_from(NER.classes), min_size=1, max_size=6)
sentences = st.lists(
    valid_tags.flatmap(
        lambda g: st.tuples(st.just(g), st.lists(st.sampled_from(NER.classes), min_size=len(g), max_size=len(g)))
    ),
    min_size=1,
    max_size=6,
)


def repaired(tags: Sequence[str]) -> list[str]:
    """IOB2: an I- that continues nothing begins something."""
    out: list[str] = []
    for tag in tags:
        continues = bool(out) and out[-1][2:] == tag[2:] and out[-1] != "O"
        out.append(f"B{tag[1:]}" if tag[0] == "I" and not continues else tag)
    return out


def entities(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """(first, last + 1, type): a B- and all I- of its type that follow directly."""
    found = set()
    for start, tag in enumerate(tags):
        if tag[0] == "B":
            end = start + 1
            while end < len(tags) and tags[end] == f"I{tag[1:]}":
                end += 1
            found.add((start, end, tag[2:]))
    return found


def exactly(**scores: float) -> Any:
    """The scores but for rounding."""
    return pytest.approx(scores, rel=0, abs=1e-12)


def prf(hits: int, predicted: int, gold: int) -> tuple[float, float, float]:
    precision = hits / predicted if predicted else 0.0
    recall = hits / gold if gold else 0.0
    return precision, recall, 2 * hits / (predicted + gold) if predicted + gold else 0.0


def tagged(*tags: Sequence[str], words: Sequence[Sequence[str]] | None = None) -> list[Example]:
    examples = []
    for i, sentence in enumerate(tags):
        tokens = words[i] if words else [f"w{j}" for j in range(len(sentence))]
        starts = [sum(len(t) + 1 for t in tokens[:j]) for j in range(len(tokens))]
        spans = tuple((s, s + len(t)) for s, t in zip(starts, tokens, strict=True))
        examples.append(
            Example(id=str(i), unit=str(i), texts=((" ".join(tokens), None),), words=spans, tags=tuple(sentence))
        )
    return examples


def labelled(*labels: Sequence[str]) -> list[Example]:
    return [
        Example(id=str(i), unit=str(i), texts=(("text", None),), labels=tuple(names)) for i, names in enumerate(labels)
    ]


def ranked(*relevant: Sequence[bool]) -> list[Example]:
    return [
        Example(
            id=str(i),
            unit=str(i),
            texts=tuple(("q", str(j)) for j in range(len(flags))),
            labels=tuple("relevant" if flag else "irrelevant" for flag in flags),
        )
        for i, flags in enumerate(relevant)
    ]


def average_precision(relevant: Sequence[bool]) -> Fraction:
    """Of candidates in ranked order, from the definition."""
    if not any(relevant):
        return Fraction(0)
    precisions = [Fraction(sum(relevant[:k]), k) for k in range(1, len(relevant) + 1) if relevant[k - 1]]
    return sum(precisions, Fraction(0)) / sum(relevant)


@given(sentences)
@settings(max_examples=60, deadline=None)
def test_entity_scores_are_counts_of_exact_entities(cases: list[tuple[list[str], list[str]]]) -> None:
    gold = [entities(g) for g, _ in cases]
    predicted = [entities(p) for _, p in cases]
    hits = sum(len(g & p) for g, p in zip(gold, predicted, strict=True))
    precision, recall, f1 = prf(hits, sum(map(len, predicted)), sum(map(len, gold)))
    assert score(NER, tagged(*(g for g, _ in cases)), [p for _, p in cases]) == pytest.approx(
        {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall}
    )


@given(sentences)
@settings(max_examples=60, deadline=None)
def test_entity_scores_are_those_of_seqeval(cases: list[tuple[list[str], list[str]]]) -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    options = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    gold, predicted = [g for g, _ in cases], [p for _, p in cases]
    assert score(NER, tagged(*gold), predicted) == exactly(
        entity_f1=f1_score(gold, predicted, **options),
        entity_precision=precision_score(gold, predicted, **options),
        entity_recall=recall_score(gold, predicted, **options),
    )


def test_entity_scores_where_nothing_is_there() -> None:
    nothing = {"entity_f1": 0.0, "entity_precision": 0.0, "entity_recall": 0.0}
    assert score(NER, tagged(["O", "O"]), [["O", "O"]]) == nothing
    assert score(NER, tagged(["O", "O"]), [["B-X", "O"]]) == nothing
    assert score(NER, tagged(["B-X", "O"]), [["O", "O"]]) == nothing
    assert score(NER, tagged(["B-X", "I-X"]), [["O", "I-X"]]) == nothing


@given(st.lists(st.tuples(st.sampled_from(PAIRS.labels), st.sampled_from(PAIRS.labels)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_relation_scores_leave_the_negative_class_out(cases: list[tuple[str, str]]) -> None:
    hits = sum(g == p != "none" for g, p in cases)
    precision, recall, f1 = prf(hits, sum(p != "none" for _, p in cases), sum(g != "none" for g, _ in cases))
    assert score(PAIRS, labelled(*([g] for g, _ in cases)), [p for _, p in cases]) == pytest.approx(
        {"relation_f1": f1, "relation_precision": precision, "relation_recall": recall}
    )


@given(st.lists(st.tuples(st.sampled_from(CLASSES.labels), st.sampled_from(CLASSES.labels)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_classification_scores(cases: list[tuple[str, str]]) -> None:
    present = {name for case in cases for name in case}
    f1 = [
        prf(sum(g == p == c for g, p in cases), sum(p == c for _, p in cases), sum(g == c for g, _ in cases))[2]
        for c in present
    ]
    found = score(CLASSES, labelled(*([g] for g, _ in cases)), [p for _, p in cases])
    assert found == pytest.approx(
        {"macro_f1": sum(f1) / len(f1), "accuracy": sum(g == p for g, p in cases) / len(cases)}
    )


@given(st.data(), st.sampled_from([MANY, ONE]))
@settings(max_examples=60, deadline=None)
def test_multilabel_scores(data: st.DataObject, task: Task) -> None:
    names = st.sets(st.sampled_from(task.labels)).map(sorted)
    cases = data.draw(st.lists(st.tuples(names, names), min_size=1, max_size=10))

    def counts(label: str) -> tuple[int, int, int]:
        return (
            sum(label in g and label in p for g, p in cases),
            sum(label in p for _, p in cases),
            sum(label in g for g, _ in cases),
        )

    each = [counts(label) for label in task.labels]
    precision, recall, micro = prf(*(sum(column) for column in zip(*each, strict=True)))
    expected = {
        "micro_f1": micro,
        "micro_precision": precision,
        "micro_recall": recall,
        "macro_f1": sum(prf(*c)[2] for c in each) / len(each),
    }
    assert score(task, labelled(*(g for g, _ in cases)), [p for _, p in cases]) == pytest.approx(expected)


@given(st.data(), st.integers(2, 12))
@settings(max_examples=80, deadline=None)
def test_class_scores_are_those_of_scikit_learn(data: st.DataObject, count: int) -> None:
    """With classes that nobody names, one class alone, and more classes than examples among the cases."""
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

    labels = tuple(f"c{i}" for i in range(count))
    named = st.sampled_from(labels[: data.draw(st.integers(1, count))])
    cases = data.draw(st.lists(st.tuples(named, named), min_size=1, max_size=20))
    gold, predicted = [g for g, _ in cases], [p for _, p in cases]
    examples = labelled(*([g] for g in gold))
    assert score(Task(name="t", kind="classification", level=2, labels=labels), examples, predicted) == exactly(
        macro_f1=f1_score(gold, predicted, average="macro", zero_division=0), accuracy=accuracy_score(gold, predicted)
    )
    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, predicted, average="micro", labels=labels[1:], zero_division=0
    )
    pairs = Task(name="t", kind="relation", level=2, labels=labels, negative="c0")
    assert score(pairs, examples, predicted) == exactly(
        relation_f1=f1, relation_precision=precision, relation_recall=recall
    )


@given(st.data(), st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_label_scores_are_those_of_scikit_learn(data: st.DataObject, count: int) -> None:
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    labels = tuple(f"c{i}" for i in range(count))
    names = st.sets(st.sampled_from(labels)).map(sorted)
    cases = data.draw(st.lists(st.tuples(names, names), min_size=1, max_size=12))
    # An empty column more, since scikit-learn takes a matrix of one column for one binary vector.
    gold, predicted = (np.array([[name in case[side] for name in (*labels, "")] for case in cases]) for side in (0, 1))
    options = {"labels": range(count), "zero_division": 0}
    precision, recall, micro, _ = precision_recall_fscore_support(gold, predicted, average="micro", **options)
    task = Task(name="t", kind="multilabel", level=2, labels=labels)
    assert score(task, labelled(*(g for g, _ in cases)), [p for _, p in cases]) == exactly(
        micro_f1=micro,
        micro_precision=precision,
        micro_recall=recall,
        macro_f1=f1_score(gold, predicted, average="macro", **options),
    )


def test_many_classes_and_few_examples_do_not_warn() -> None:
    labels = tuple(f"c{i}" for i in range(30))
    task = Task(name="t", kind="classification", level=2, labels=labels)
    assert score(task, labelled(*([c] for c in labels)), list(labels)) == {"macro_f1": 1.0, "accuracy": 1.0}


ranking_cases = st.lists(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([math.nan, -math.inf, -1.0, 0.0, 0.5, math.inf])),
        min_size=1,
        max_size=6,
    ),
    min_size=1,
    max_size=4,
)


@given(ranking_cases)
@settings(deadline=None)
def test_ranking_scores_with_ties_and_nan(cases: list[list[tuple[bool, float]]]) -> None:
    total, reciprocal = Fraction(0), Fraction(0)
    for case in cases:
        value = [-math.inf if s != s else s for _, s in case]
        # A candidate comes after all that score more, and after the equal ones before it in the list.
        rank = [sum(o > v for o in value) + value[:i].count(v) for i, v in enumerate(value)]
        order = [case[rank.index(k)][0] for k in range(len(case))]
        total += average_precision(order)
        reciprocal += Fraction(1, order.index(True) + 1) if any(order) else 0
    found = score(RANK, ranked(*([r for r, _ in c] for c in cases)), [[s for _, s in c] for c in cases])
    assert found == pytest.approx({"map": float(total / len(cases)), "mrr": float(reciprocal / len(cases))})


@given(st.lists(st.booleans(), min_size=1, max_size=8).filter(any), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_average_precision_is_that_of_scikit_learn_without_ties(relevant: list[bool], rng: Any) -> None:
    from sklearn.metrics import average_precision_score

    scores = [float(i) for i in range(len(relevant))]
    rng.shuffle(scores)
    expected = average_precision_score(relevant, scores)
    assert score(RANK, ranked(relevant), [scores])["map"] == pytest.approx(expected)


def test_query_without_a_relevant_candidate_counts_zero() -> None:
    examples = ranked([False, True], [False, False])
    assert score(RANK, examples, [[0.1, 0.9], [0.1, 0.9]]) == {"map": 0.5, "mrr": 0.5}
    assert score(RANK, examples[1:], [[0.0, 0.0]]) == {"map": 0.0, "mrr": 0.0}


@pytest.mark.parametrize(
    ("task", "examples", "prediction", "said"),
    [
        (NER, tagged(["O", "O"]), ["O"], "example '0': the prediction has 1 values, expected 2"),
        (NER, tagged(["O", "O"]), ["O", "B-Z"], "example '0': the prediction holds 'B-Z', expected one of O, B-X"),
        (NER, tagged(["O"]), "O", "example '0': the prediction is 'O', expected a list"),
        (PAIRS, labelled(["a"]), "z", "example '0': the prediction holds 'z', expected one of none, a, b"),
        (CLASSES, labelled(["a"]), ["a"], "example '0': the prediction is ['a'], expected a class name"),
        (MANY, labelled(["a"]), ["z"], "example '0': the prediction holds 'z', expected one of a, b, c"),
        (RANK, ranked([True, False]), [0.5], "example '0': the prediction has 1 values, expected 2"),
    ],
)
def test_prediction_that_does_not_fit(task: Task, examples: list[Example], prediction: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        score(task, examples, [prediction])
    assert str(caught.value).startswith(f"task {task.name}, {said}")


def test_numbers_of_predictions_and_examples() -> None:
    with pytest.raises(DataError, match="task one: 2 predictions for 1 examples, expected one each"):
        score(ONE, labelled([]), [[], []])
    with pytest.raises(DataError, match="0 predictions for 0 examples, expected one each and at least one"):
        score(ONE, [], [])
    for train, examples in (([], labelled([])), (labelled([]), [])):
        with pytest.raises(DataError, match="task one: baselines need training examples"):
            baselines(ONE, train, examples)


def test_primary_metric_is_among_the_scores() -> None:
    cases: list[tuple[Task, list[Example], Any]] = [
        (NER, tagged(["B-X"]), ["B-X"]),
        (PAIRS, labelled(["a"]), "a"),
        (CLASSES, labelled(["a"]), "a"),
        (MANY, labelled(["a"]), ["a"]),
        (RANK, ranked([True]), [0.0]),
    ]
    for task, examples, prediction in cases:
        found = score(task, examples, [prediction])
        assert found[task.metric] == 1.0
        assert all(type(value) is float for value in found.values())


def test_majority_is_the_score_of_the_constant_prediction() -> None:
    examples = labelled(["a"], ["b"], ["none"], ["a"])
    train = labelled(["none"], ["none"], ["none"], ["b"], ["b"], ["a"])
    assert baselines(PAIRS, train, examples)["majority"] == pytest.approx(
        score(PAIRS, examples, ["b"] * 4)["relation_f1"]
    )
    examples, train = labelled(["a"], ["b"], ["b"]), labelled(["a"], ["a"], ["c"])
    assert baselines(CLASSES, train, examples)["majority"] == pytest.approx(
        score(CLASSES, examples, ["a"] * 3)["macro_f1"]
    )
    examples, train = labelled(["a", "b"], [], ["b"]), labelled([], ["b", "c"], ["b"], ["a"], [])
    assert baselines(MANY, train, examples)["majority"] == pytest.approx(score(MANY, examples, [["b"]] * 3)["micro_f1"])
    assert baselines(MANY, train, labelled([], []))["majority"] == 0.0
    assert baselines(NER, tagged(["B-X"]), tagged(["B-X"]))["majority"] == 0.0
    examples = ranked([False, True, True], [True])
    assert baselines(RANK, examples, examples)["majority"] == pytest.approx((7 / 12 + 1) / 2)


def test_random_order_is_the_mean_over_all_orders() -> None:
    for n in range(1, 6):
        for relevant in itertools.product([False, True], repeat=n):
            orders = list(itertools.permutations(relevant))
            expected = sum(map(average_precision, orders), Fraction(0)) / len(orders)
            example = ranked(relevant)
            assert baselines(RANK, example, example)["random"] == pytest.approx(float(expected))


@pytest.mark.parametrize("task", [PAIRS, CLASSES])
def test_random_draws_follow_the_training_labels(task: Task) -> None:
    train = labelled(*[[task.labels[0]]] * 700, *[[task.labels[1]]] * 200, *[[task.labels[2]]] * 100)
    # With gold drawn alike, precision and recall of a class are both its share, up to the noise of 20 x 1000 draws.
    shares = [0.7, 0.2, 0.1]
    expected = sum(shares) / 3 if task is CLASSES else sum(s * s for s in shares[1:]) / sum(shares[1:])
    found = baselines(task, train, train)
    assert found["random"] == pytest.approx(expected, abs=0.02)
    assert found == baselines(task, train, train)


def test_random_draws_of_label_sets() -> None:
    train = labelled(*[["a", "b"]] * 500, *[[]] * 500)
    found = baselines(MANY, train, labelled(*[["a", "b"]] * 400))
    assert found["random"] == pytest.approx(2 * 0.5 / 1.5, abs=0.02)
    assert baselines(MANY, labelled([], []), train) == {"majority": 0.0, "random": 0.0}


def test_random_tags_follow_the_training_tags() -> None:
    # One word a sentence: I- becomes B-, and an entity is hit with the share of both.
    train = tagged(*[["B-X", "I-X"]] * 250, *[["O", "O"]] * 250)
    found = baselines(NER, train, tagged(*[["B-X"]] * 1000))
    assert found["random"] == pytest.approx(2 * 0.5 / 1.5, abs=0.02)
    # Two words: the one entity over both is hit by (B- or I-, then I-).
    found = baselines(NER, train, tagged(*[["B-X", "I-X"]] * 1000))
    predicted = 0.5 + 0.5 * 0.25 + 0.5 * 0.5  # the first word; the second by B-; by I- after O
    assert found["random"] == pytest.approx(2 * 0.125 / (1 + predicted), abs=0.02)


def test_tags_are_not_joined_across_sentences() -> None:
    # The word "on" was I-X in training; alone in a sentence it begins an entity, whatever ended the one before.
    train = tagged(["B-X", "I-X"], words=[["it", "on"]])
    examples = tagged(["B-X"], ["B-X"], words=[["it"], ["on"]])
    assert baselines(NER, train, examples)["lookup"] == 1.0


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(NER.classes)), min_size=1, max_size=5),
                min_size=2, max_size=8))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_lookup_is_the_score_of_the_usual_tags(cases: list[list[tuple[str, str]]]) -> None:
    sentences = tagged(*(repaired([t for _, t in c]) for c in cases), words=[[w for w, _ in c] for c in cases])
    train, examples = sentences[: len(cases) // 2], sentences[len(cases) // 2 :]
    seen = [(w, t) for e, c in zip(train, cases, strict=False) for (w, _), t in zip(c, e.tags, strict=True)]

    def usual(word: str) -> str:
        tags = [t for w, t in seen if w == word]
        return max(NER.classes, key=tags.count) if tags else "O"  # max keeps the first of equals

    predictions = [repaired([usual(w) for w, _ in c]) for c in cases[len(cases) // 2 :]]
    assert baselines(NER, train, examples)["lookup"] == pytest.approx(score(NER, examples, predictions)["entity_f1"])


def test_baselines_are_fast() -> None:
    sentence = ["O", "B-X", "I-X", "O", "O", "B-Y", *["O"] * 14]
    examples = tagged(*[sentence] * 5000)
    start = time.process_time()
    baselines(NER, examples, examples)
    assert time.process_time() - start < 4  # measured 0.5 s; other work on the machine must not fail the test

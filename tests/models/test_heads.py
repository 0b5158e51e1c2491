"""Heads of every kind: what the loss counts, what it passes over, and what predictions look like."""

from __future__ import annotations

import math

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlfn.data.iob2 import valid_iob2
from mtlfn.data.kinds.kind import IGNORED
from mtlfn.data.kinds.relation import HEAD, HEAD_SIGN, TAIL, TAIL_SIGN
from mtlfn.data.task import Task, label_counts
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models import heads
from mtlfn.models.heads import head
from tests import tiny

TASKS = {
    "tagging": Task(name="tagging", kind="tagging", level=1, labels=("A", "B")),
    "relation": Task(name="relation", kind="relation", level=2, labels=("none", "x", "y"), negative="none"),
    "ranking": Task(name="ranking", kind="ranking", level=2),
    "classification": Task(name="classification", kind="classification", level=2, labels=("p", "q")),
    "multilabel": Task(name="multilabel", kind="multilabel", level=2, labels=("u", "v", "w")),
    "regression": Task(name="regression", kind="regression", level=2, mean=50.0, std=4.0),
}
ROWS, WIDTH, D = 4, 5, 8
LENGTHS = torch.tensor([5, 3, 1, 4])


def inputs(kind: str, labels: Tensor | None = None, marks: Tensor | None = None) -> Inputs:
    made = {
        "tagging": torch.tensor([[0, IGNORED, 1, 2, IGNORED], [3, 4, 0, IGNORED, IGNORED], [IGNORED] * 5, [0] * 5]),
        "relation": torch.tensor([0, 2, IGNORED, 1]),
        "classification": torch.tensor([1, IGNORED, 0, 1]),
        "multilabel": torch.tensor([[1.0, 0, 1], [math.nan] * 3, [0, 0, 0], [0, 1, 0]]),
        "regression": torch.tensor([0.5, math.nan, -2.0, 0.0]),
        "ranking": torch.tensor([[0, 1], [2, 3], [2, 1]]),
    }
    zeros = torch.zeros(ROWS, WIDTH, dtype=torch.int64)
    return Inputs(
        zeros, zeros, LENGTHS, zeros - 1 if marks is None else marks, made[kind] if labels is None else labels
    )


def logits(kind: str) -> Tensor:
    classes = len(TASKS[kind].classes)
    return torch.randn(*((ROWS, WIDTH) if kind == "tagging" else (ROWS,)), classes)


def nothing(kind: str) -> Tensor:
    """Labels of a micro-batch in which every label was cut off."""
    labels = inputs(kind).labels
    if kind == "ranking":
        return labels[:0]
    return torch.full_like(labels, math.nan if labels.is_floating_point() else IGNORED)


@pytest.mark.parametrize("kind", TASKS)
def test_shapes_of_tensors_and_logits(kind):
    task = TASKS[kind]
    params = heads.init(task, D, tiny.KEY)
    out = heads.logits(task, params, torch.randn(ROWS, WIDTH, D), inputs(kind), causal=False)
    classes = {"tagging": 5, "relation": 3, "ranking": 1, "classification": 2, "multilabel": 3, "regression": 1}[kind]
    assert out.shape == ((ROWS, WIDTH, classes) if kind == "tagging" else (ROWS, classes))
    loss = heads.loss_sum(task, out, inputs(kind), None)
    assert (loss.shape, loss.dtype) == ((), torch.float32)
    other = heads.init(attrs.evolve(task, name="other"), D, tiny.KEY)
    assert params.keys() == other.keys()
    assert not torch.equal(params["out.weight"], other["out.weight"])


def brute_force(kind: str, out: Tensor, given: Inputs, weights: Tensor) -> float:
    """The loss label by label, from the definitions."""
    total, labels = 0.0, given.labels
    if kind == "ranking":
        return sum(max(0.0, 1 - float(out[g, 0] - out[b, 0])) for g, b in labels.tolist())
    if kind == "regression":
        return sum((x - y) ** 2 for x, y in zip(out[:, 0].tolist(), labels.tolist(), strict=True) if y == y)
    if kind == "multilabel":
        for row, targets in zip(out.double(), labels.double(), strict=True):
            if not targets[0].isnan():
                p = torch.sigmoid(row)
                terms = [
                    -(w * t * math.log(q) + (1 - t) * math.log(1 - q))
                    for w, t, q in zip(weights, targets, p, strict=True)
                ]
                total += float(sum(terms)) / len(terms)
        return total
    for row, label in zip(out.double().flatten(0, -2), labels.flatten().tolist(), strict=True):
        if label != IGNORED:
            total -= float(weights[label]) * float(row.log_softmax(-1)[label])
    return total


@pytest.mark.parametrize("kind", TASKS)
def test_the_loss_is_the_sum_over_labels(kind):
    out, given = logits(kind), inputs(kind)
    weights = torch.rand(out.shape[-1]) + 0.5
    found = heads.loss_sum(TASKS[kind], out, given, None if kind in ("ranking", "regression") else weights)
    assert float(found) == pytest.approx(brute_force(kind, out, given, weights), rel=1e-5)


@pytest.mark.parametrize("kind", TASKS)
def test_ignored_labels_add_nothing_to_loss_or_gradient(kind):
    out, given = logits(kind).requires_grad_(), inputs(kind)
    (gradient,) = torch.autograd.grad(heads.loss_sum(TASKS[kind], out, given, None), out)
    assert gradient.isfinite().all()
    if kind == "ranking":
        given = attrs.evolve(given, labels=given.labels[:1])
        (gradient,) = torch.autograd.grad(heads.loss_sum(TASKS[kind], out, given, None), out)
        assert not gradient[2:].any()
        return
    passed_over = (
        given.labels.view(ROWS, -1).isnan().any(-1) if given.labels.is_floating_point() else (given.labels == IGNORED)
    )
    assert passed_over.any()
    assert not gradient[passed_over].any()
    assert gradient[~passed_over].any(-1).all()


@pytest.mark.parametrize("kind", TASKS)
def test_a_micro_batch_of_ignored_labels_costs_nothing(kind):
    out = logits(kind).requires_grad_()
    loss = heads.loss_sum(TASKS[kind], out, inputs(kind, nothing(kind)), None)
    (gradient,) = torch.autograd.grad(loss, out)
    assert not loss.detach().any()
    assert not gradient.any()


@pytest.mark.parametrize("rare", [(20, 7, 1), (0, 0, 0)], ids=["all seen", "some never seen"])
@pytest.mark.parametrize("kind", ["tagging", "relation", "classification"])
def test_class_weights_average_1_over_the_training_labels(kind, rare):
    task = TASKS[kind]
    counts = dict(zip(task.classes, (900, 30, *rare), strict=False))
    weights = heads.class_weights(task, counts)
    n = torch.tensor([counts[c] for c in task.classes], dtype=torch.float64)
    assert float((weights.double() * n).sum() / n.sum()) == pytest.approx(1, abs=1e-6)
    # 30 times as rare weighs 30 to this power as much.
    power = 0.5 if kind == "tagging" else 0.75
    assert float(weights[1] / weights[0]) == pytest.approx(30**power, rel=1e-5)


def test_multilabel_weights_are_the_square_root_of_negatives_over_positives():
    weights = heads.class_weights(TASKS["multilabel"], {"u": 50, "v": 10, "w": 0, "": 100})
    assert weights.tolist() == pytest.approx([1, 3, 99**0.5])
    assert heads.class_weights(TASKS["multilabel"], {"u": 5, "v": 5, "w": 5, "": 5}).isfinite().all()


@pytest.mark.parametrize("kind", ["tagging", "relation", "classification"])
def test_a_corpus_of_one_class_alone_has_finite_weights(kind):
    """All negative: nothing but O, none, or one answer."""
    task = TASKS[kind]
    weights = heads.class_weights(task, dict.fromkeys(task.classes, 0) | {task.classes[0]: 40})
    assert weights.isfinite().all()
    assert (weights > 0).all()
    assert float(weights[0]) == 1 < float(weights[1])
    out = logits(kind)
    given = inputs(kind, torch.where(inputs(kind).labels == IGNORED, IGNORED, 0))
    assert heads.loss_sum(task, out, given, weights).isfinite()


def test_kinds_without_classes_have_no_class_weights():
    assert heads.class_weights(TASKS["ranking"], {"relevant": 1, "irrelevant": 9}) is None
    assert heads.class_weights(TASKS["regression"], {"": 10}) is None


def test_the_label_counts_that_weights_are_made_of():
    made = tiny.datasets(train=12)
    tagging = made["bc5cdr_disease"]
    assert sum(label_counts(tagging.task, tagging.train).values()) == sum(len(e.tags) for e in tagging.train)
    assert sum(label_counts(made["ddi"].task, made["ddi"].train).values()) == 12


def test_encoders_are_read_by_the_mean_and_decoders_by_the_last_token():
    features, given = torch.randn(ROWS, WIDTH, D), inputs("classification")
    mean, last = (head.pooled(features, given, causal) for causal in (False, True))
    for row, n in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(mean[row], features[row, :n].mean(0))
        assert torch.equal(last[row], features[row, n - 1])


def test_a_relation_is_read_from_the_text_and_both_mentions_with_their_signs():
    task = TASKS["relation"]
    params, features = heads.init(task, D, tiny.KEY), torch.randn(ROWS, WIDTH, D)
    marks = torch.tensor(
        [
            [HEAD_SIGN, HEAD, HEAD | TAIL_SIGN, HEAD | TAIL, TAIL],
            [HEAD_SIGN, HEAD, TAIL, -1, -1],
            [HEAD | TAIL, -1, -1, -1, -1],
            [0, 0, TAIL, 0, -1],  # a head that was cut off reads as zero
        ]
    )
    found = heads.logits(task, params, features, inputs("relation", marks=marks), causal=False)
    for row, n in enumerate(LENGTHS.tolist()):
        parts = [features[row, :n].mean(0)]
        for bit in (HEAD_SIGN, HEAD, TAIL_SIGN, TAIL):
            inside = [features[row, i] for i, m in enumerate(marks[row].tolist()) if m > 0 and m & bit]
            parts.append(torch.stack(inside).mean(0) if inside else torch.zeros(D))
        hidden = F.gelu(params["dense.weight"] @ torch.cat(parts) + params["dense.bias"])
        torch.testing.assert_close(found[row], params["out.weight"] @ hidden + params["out.bias"], rtol=1e-4, atol=1e-5)


def test_predictions_of_every_kind():
    tag = torch.zeros(1, 4, 5)
    tag[0, [0, 1, 2, 3], [3, 1, 2, 0]] = 9
    marks = torch.tensor([[-1, 0, 3, -1]])  # special token, first word, fourth word, padding
    assert heads.decode(TASKS["tagging"], tag, marks) == [{0: "B-A", 3: "I-A"}]
    none = torch.zeros(2, 1)
    assert heads.decode(TASKS["relation"], torch.tensor([[0.0, 1, 2], [3, 1, 2]]), none) == ["y", "none"]
    assert heads.decode(TASKS["classification"], torch.tensor([[0.0, 1], [1, 0]]), none) == ["q", "p"]
    assert heads.decode(TASKS["multilabel"], torch.tensor([[1.0, -1, 2], [-1, 0, -3]]), none) == [["u", "w"], []]
    assert heads.decode(TASKS["ranking"], torch.tensor([[0.5], [-2.0]]), none) == [0.5, -2.0]
    assert heads.decode(TASKS["regression"], torch.tensor([[0.5], [-2.0]]), none) == [52.0, 42.0]  # the original unit


@pytest.mark.parametrize(
    ("tags", "valid"),
    [
        ("I-A I-A", "B-A I-A"),
        ("O I-A", "O B-A"),
        ("B-A I-B I-B", "B-A B-B I-B"),
        ("B-A I-A O I-A", "B-A I-A O B-A"),
        ("B-A B-A I-A O", "B-A B-A I-A O"),
        ("I-A I-B I-A", "B-A B-B B-A"),
        ("", ""),
    ],
)
def test_an_inside_tag_that_continues_nothing_begins(tags, valid):
    assert valid_iob2(tags.split()) == valid.split()

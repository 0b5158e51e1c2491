"""The span head against loops written from its definition, and the groups of pieces against brute force."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.core.keys import root
from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.heads import spans as span_head

FLAT = Task(name="flat", kind="spans", level=1, labels=("X", "Y", "Z"), max_width=3)
PIECES = Task(name="pieces", kind="spans", level=1, labels=("X", "Y"), max_width=2, discontiguous=True)
D = 6
# Two rows; the second has four words, one of which (number 2) has no token of its own.
MARKS = torch.tensor([[-1, 0, 1, -1, 2, -1, -1], [-1, 0, -1, 1, 3, -1, -1]])


def inputs(labels: list[list[int]]) -> Inputs:
    zeros = torch.zeros_like(MARKS)
    held = torch.tensor(labels, dtype=torch.int64).view(-1, 5)
    return Inputs(zeros, zeros, torch.tensor([7, 7]), MARKS, held)


def made(task: Task) -> tuple[dict, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    params = {n: v + 0.3 * torch.randn(v.shape, generator=random) for n, v in span_head.init(task, D, root(1)).items()}
    return params, torch.randn(2, 7, D, generator=random)


@pytest.mark.parametrize("task", [FLAT, PIECES])
def test_every_candidate_is_scored_by_its_first_word_last_word_mean_and_width(task):
    params, features = made(task)
    found = span_head.logits(task, params, features, inputs([]))
    words = [[1, 2, 4, None], [1, 3, None, 4]]
    assert found.shape[:3] == (2, 4, task.max_width)
    for row, start, width in itertools.product(range(2), range(4), range(task.max_width)):
        end = start + width
        inside = words[row][start : end + 1]
        score = found[row, start, width, : span_head.columns(task)]
        if end > 3 or inside[0] is None or inside[-1] is None:
            assert (score == span_head.NEVER).all()
            continue
        hidden = params["dense.bias"] + params["width.weight"][width]
        hidden = hidden + params["first.weight"] @ features[row, inside[0]]
        hidden = hidden + params["last.weight"] @ features[row, inside[-1]]
        there = [features[row, i] for i in inside if i is not None]
        hidden = hidden + params["mean.weight"] @ torch.stack(there).sum(0) / (width + 1)
        expected = params["out.weight"] @ F.gelu(hidden) + params["out.bias"]
        assert torch.allclose(score, expected, atol=1e-5)


@pytest.mark.parametrize("at_once", [False, True], ids=["as on a CPU", "as on a GPU"])
def test_the_loss_is_its_definition(at_once, monkeypatch):
    monkeypatch.setattr(span_head, "at_once", lambda _: at_once)
    params, features = made(PIECES)
    # Row 0: X at word 0, and X of the pieces 1 and 2 (one word each); Y of the pieces 0-1 and 2. Row 1: nothing.
    labels = [[0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 1, 0, 2, 0], [0, 2, 1, 0, 1], [0, 2, 1, 2, 0]]
    batch = inputs(labels)
    scores = span_head.logits(PIECES, params, features, batch)
    gold = {0: {0: {(0, 0)}, 1: set(), 2: {(1, 0), (2, 0)}, 3: {(0, 1), (2, 0)}}, 1: {c: set() for c in range(4)}}
    total = 0.0
    for row, columns in gold.items():
        for column, spans in columns.items():
            negative = positive = 1.0
            for start, width in itertools.product(range(4), range(2)):
                s = float(scores[row, start, width, column])
                if (start, width) in spans:
                    positive += math.exp(1 - s)
                else:
                    negative += math.exp(s)
            total += (math.log(negative) + math.log(positive)) / 4
    k = span_head.LINK
    left, right = scores[0, ..., 4 : 4 + k], scores[0, ..., 4 + k :]

    def link(p, q) -> float:
        return float(left[p] @ right[q] + left[q] @ right[p])

    # X: the spans 0, 1, 2, of which 1 and 2 belong together; Y: one pair, which does.
    total += math.log1p(math.exp(link((0, 0), (1, 0))) + math.exp(link((0, 0), (2, 0))))
    total += math.log1p(math.exp(1 - link((1, 0), (2, 0))))
    total += math.log1p(math.exp(1 - link((0, 1), (2, 0))))
    assert float(span_head.loss_sum(PIECES, scores, batch)) == pytest.approx(total, rel=1e-5)


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(0, 1), st.integers(0, 3), st.integers(0, 1)),
        max_size=24,
        unique_by=lambda piece: piece[:2] + piece[3:],
    )
)
def test_all_links_at_once_are_those_group_by_group(pieces):
    """Of no group, one, or many of different sizes: the loss and its gradient."""
    params, features = made(PIECES)
    batch = inputs([list(piece) for piece in sorted(pieces)])
    found = []
    for at_once in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(span_head, "at_once", lambda _, at_once=at_once: at_once)
            scores = span_head.logits(PIECES, params, features, batch).detach().requires_grad_()
            loss = span_head.loss_sum(PIECES, scores, batch)
            found.append((loss, *torch.autograd.grad(loss, scores)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_row_that_was_cut_adds_nothing():
    params, features = made(FLAT)
    batch = inputs([[0, 0, 1, 0, 0]])
    alone = Inputs(batch.input_ids, batch.token_types, batch.lengths, MARKS.clone(), batch.labels)
    alone.marks[1] = -1
    both, one = (span_head.loss_sum(FLAT, span_head.logits(FLAT, params, features, b), b) for b in (batch, alone))
    only = Inputs(*(getattr(batch, n)[:1] for n in ("input_ids", "token_types", "lengths", "marks")), batch.labels)
    expected = span_head.loss_sum(FLAT, span_head.logits(FLAT, params, features[:1], only), only)
    assert torch.allclose(one, expected)
    assert both > one


graphs = st.integers(0, 6).flatmap(
    lambda n: st.tuples(st.just(n), st.sets(st.tuples(*[st.integers(0, max(n - 1, 0))] * 2)))
)


@given(graphs)
def test_the_largest_groups_are_those_of_brute_force(drawn):
    n, edges = drawn
    friends = [{j for j in range(n) if j != i and ((i, j) in edges or (j, i) in edges)} for i in range(n)]
    groups = [
        frozenset(group)
        for size in range(1, n + 1)
        for group in itertools.combinations(range(n), size)
        if all(b in friends[a] for a, b in itertools.combinations(group, 2))
    ]
    largest = [g for g in groups if not any(g < other for other in groups)]
    found = span_head.largest_groups(friends)
    assert (found == [frozenset()]) if n == 0 else (set(found) == set(largest) and len(found) == len(largest))


def test_pieces_are_linked_into_mentions_that_may_share_one():
    """Pieces 0, 1, 2: 0 with 2 and 1 with 2, as in "knee and ankle effusions"."""
    scores = torch.full((1, 3, 2, 4), -1.0)
    scores[0, [0, 1, 2], 0, 2] = 1.0
    links = torch.zeros(1, 3, 2, 2 * span_head.LINK)
    left, right = links[..., : span_head.LINK], links[..., span_head.LINK :]
    left[0, 0, 0, 0] = left[0, 1, 0, 0] = 1.0
    right[0, 2, 0, 0] = 1.0
    found = span_head.decode(PIECES, torch.cat([scores, links], -1))
    assert found == [[("X", ((0, 1), (2, 3))), ("X", ((1, 2), (2, 3)))]]

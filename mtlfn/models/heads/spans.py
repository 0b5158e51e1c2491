"""A head for mentions that IOB2 tags cannot hold: spans that overlap, nest, have several labels or several pieces.

Every run of up to ``max_width`` words is a candidate. A candidate's representation is a hidden layer over its first
word, its last word, the mean of its words and its width; each output column scores it, and a score above 0 is a
prediction. Columns: one a label; where mentions may be discontiguous, another one a label for "is a piece of such a
mention". Two pieces belong together where a bilinear score of their representations is above 0, and a mention is a
largest set of pieces that all belong together (Dai et al., ACL 2020, decode discontiguous mentions the same way).

The loss of a column is log(1 + sum exp(s) over what is not gold) + log(1 + sum exp(1 - s) over what is gold) (Su et
al., arXiv:2208.02955, with a margin for gold): a few spans among thousands are learnt without weights, and the
threshold is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor

from mtlfn.core.keys import Key, fold, uniform
from mtlfn.data.example import Span
from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.heads.head import Head, Params
from mtlfn.models.transfer import at_once, moved

HIDDEN = 64
LINK = 16
MOST_PIECES = 16  # of one window and label that are linked, the highest scores first
MARGIN = 1.0  # that a mention must be above the threshold by: without it, few are found while little is learnt
NEVER = -1e4  # the score of what is no candidate


def columns(task: Task) -> int:
    """Output columns of the head."""
    return len(task.labels) * (2 if task.discontiguous else 1)


def init(task: Task, width: int, key: Key) -> dict[str, Tensor]:
    """Head tensors at the start, float32 on the CPU; ``width`` is the size of a feature."""

    def weight(name: str, outputs: int, inputs: int) -> Tensor:
        return uniform(fold(key, "head", task.name, name), (outputs, inputs), 1 / math.sqrt(inputs))

    tensors = {f"{part}.weight": weight(part, HIDDEN, width) for part in ("first", "last", "mean")}
    tensors["dense.bias"] = torch.zeros(HIDDEN)
    tensors["width.weight"] = weight("width", task.max_width, HIDDEN)
    tensors["out.weight"] = weight("out", columns(task), HIDDEN)
    tensors["out.bias"] = torch.full((columns(task),), -4.0)  # few spans are mentions
    if task.discontiguous:
        tensors["link.weight"] = weight("link", 2 * LINK, HIDDEN)
    return tensors


def logits(task: Task, params: Params, features: Tensor, inputs: Inputs, causal: bool = False) -> Tensor:
    """Scores of every candidate, [rows, words, max_width, columns (+ 2 LINK)]: first word, width - 1.

    ``features``: [rows, tokens, d]. A word is read at its first token; what is no candidate scores ``NEVER``.
    """
    at = moved(first_tokens(inputs.marks), features.device)
    there = at >= 0
    # Products instead of indexing and cumulative sums: their gradients are deterministic on every device.
    select = (at[..., None] == torch.arange(features.shape[1], device=features.device)).to(features)
    heads_of_words = select @ features
    n, most = at.shape[1], task.max_width
    sums = torch.ones(n, n, device=features.device, dtype=features.dtype).tril() @ F.linear(
        heads_of_words, params["mean.weight"]
    )
    first = F.linear(heads_of_words, params["first.weight"], params["dense.bias"])
    before = F.pad(sums, (0, 0, 1, 0))[:, :n]
    widths = torch.arange(1, most + 1, device=features.device, dtype=features.dtype)
    mean = (_following(sums, most) - before[:, :, None]) / widths[:, None]
    last = _following(F.linear(heads_of_words, params["last.weight"]), most)
    hidden = F.gelu(first[:, :, None] + last + mean + params["width.weight"])
    scores = F.linear(hidden, params["out.weight"], params["out.bias"])
    candidates = there[:, :, None] & _following(there[..., None], most)[..., 0]
    scores = scores.masked_fill(~candidates[..., None], NEVER)
    if not task.discontiguous:
        return scores
    return torch.cat([scores, F.linear(hidden, params["link.weight"])], dim=-1)


def first_tokens(marks: Tensor) -> Tensor:
    """Where each word's first token is, int64 [rows, words], -1 for a word without one; ``marks`` as in Inputs."""
    rows, count = marks.shape[0], int(marks.max()) + 1 if marks.numel() else 0
    at = torch.full((rows, max(count, 1)), -1, dtype=torch.int64)
    row, token = torch.nonzero(marks >= 0, as_tuple=True)
    at[row, marks[row, token]] = token
    return at


def _following(values: Tensor, most: int) -> Tensor:
    """[rows, n, k] to [rows, n, most, k]: at i, w the value at i + w, zero beyond the end."""
    n = values.shape[1]
    padded = F.pad(values, (0, 0, 0, most - 1))
    return torch.stack([padded[:, w : w + n] for w in range(most)], dim=2)


def loss_sum(task: Task, logits: Tensor, inputs: Inputs, weights: Tensor | None = None) -> Tensor:
    """Sum over the rows of the mean loss of their columns, 0-d; a row without words adds nothing.

    ``inputs.labels``: int64 [pieces, 5]: row, mention, label, first word, width - 1.
    """
    scores = logits[..., : columns(task)]
    gold = torch.zeros(scores.shape, dtype=torch.bool)
    mentions = _mentions(inputs.labels)
    places = [
        (row, word, width, label + (len(task.labels) if len(pieces) > 1 else 0))
        for pieces in mentions
        for row, _, label, word, width in pieces
    ]
    if places:
        gold[tuple(map(list, zip(*places, strict=True)))] = True
    flat, gold = scores.flatten(1, 2), moved(gold.flatten(1, 2), scores.device)
    total = _contrast(flat, gold, dim=1).mean(1).sum()
    if task.discontiguous:
        total = total + _link_loss(task, logits, mentions)
    return total


def _contrast(scores: Tensor, gold: Tensor, dim: int, there: Tensor | None = None) -> Tensor:
    """log(1 + sum exp(s) over not gold) + log(1 + sum exp(MARGIN - s) over gold) along a dimension; ``there``: of what
    there is, if not everything.
    """
    zero = torch.zeros_like(scores.narrow(dim, 0, 1))
    no_negative, no_positive = (gold, ~gold) if there is None else (gold | ~there, ~(gold & there))
    negative = torch.logsumexp(torch.cat([zero, scores.masked_fill(no_negative, NEVER)], dim), dim)
    positive = torch.logsumexp(torch.cat([zero, (MARGIN - scores).masked_fill(no_positive, NEVER)], dim), dim)
    return negative + positive


def _mentions(labels: Tensor) -> list[list[list[int]]]:
    """The pieces of each mention."""
    pieces: dict[tuple[int, int], list[list[int]]] = {}
    for piece in labels.tolist():
        pieces.setdefault((piece[0], piece[1]), []).append(piece)
    return list(pieces.values())


def _link_loss(task: Task, logits: Tensor, mentions: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Over the pairs of different gold spans of a row and label: do they belong to one mention?"""
    total, groups = logits.new_zeros(()), _groups(mentions)
    if at_once(logits.device):
        return total + _links_at_once(task, logits, groups) if groups else total
    for g in groups:
        chosen = _at(_links(task, logits[g.row], g.places), g.ones, g.others)
        total = total + _contrast(chosen, moved(torch.tensor(g.gold), chosen.device), dim=0)
    return total


@frozen
class _Group:
    """The gold spans of a row and label: the pairs of them, ``ones`` and ``others``, and which are of one mention."""

    row: int
    places: list[Span]
    ones: tuple[int, ...]
    others: tuple[int, ...]
    gold: list[bool]


def _groups(mentions: Sequence[Sequence[Sequence[int]]]) -> list[_Group]:
    """Those of two spans and more."""
    spans: dict[tuple[int, int], dict[Span, set[int]]] = {}
    for number, pieces in enumerate(mentions):
        for row, _, label, word, width in pieces:
            spans.setdefault((row, label), {}).setdefault((word, width), set()).add(number)
    groups = []
    for (row, _), owners in spans.items():
        places = list(owners)
        if len(places) > 1:
            ones, others = zip(*((i, j) for i in range(len(places)) for j in range(i)), strict=True)
            gold = [bool(owners[places[i]] & owners[places[j]]) for i, j in zip(ones, others, strict=True)]
            groups.append(_Group(row, places, ones, others, gold))
    return groups


def _links_at_once(task: Task, logits: Tensor, groups: Sequence[_Group]) -> Tensor:
    """The sum over all groups in as many launches as one of them takes: pairs lie in a row a group, filled up."""
    rows = [g.row for g in groups for _ in g.places]
    words, widths = zip(*(place for g in groups for place in g.places), strict=True)
    starts = accumulate((len(g.places) for g in groups), initial=0)
    most = max(len(g.ones) for g in groups)
    # For every pair one, other, whether it is gold, and that it is there.
    pairs = [
        [(i + first, j + first, gold, 1) for i, j, gold in zip(g.ones, g.others, g.gold, strict=True)]
        + [(first, first, 0, 0)] * (most - len(g.ones))
        for g, first in zip(groups, starts, strict=False)
    ]
    places, table = (moved(torch.tensor(each), logits.device) for each in ((rows, words, widths), pairs))
    vectors = logits[tuple(places)][..., columns(task) :]
    one, other = vectors[table[..., 0]], vectors[table[..., 1]]
    left, right = (slice(None, LINK), slice(LINK, None))
    scores = (one[..., left] * other[..., right]).sum(-1) + (other[..., left] * one[..., right]).sum(-1)
    return _contrast(scores, table[..., 2] > 0, dim=1, there=table[..., 3] > 0).sum()


def _links(task: Task, row: Tensor, places: Sequence[Span]) -> Tensor:
    """Scores of belonging together, symmetric, [spans, spans]; ``row``: the logits of one row."""
    at = columns(task)
    words, widths = zip(*places, strict=True)
    vectors = _at(row, words, widths)
    left, right = vectors[:, at : at + LINK], vectors[:, at + LINK :]
    scores = left @ right.T
    return scores + scores.T


def _at(values: Tensor, first: Sequence[int], second: Sequence[int]) -> Tensor:
    """The values at places along the first two dimensions, [places, ...]."""
    return values[tuple(moved(torch.tensor(each), values.device) for each in (first, second))]


def decode(task: Task, logits: Tensor, marks: Tensor | None = None) -> list[list[tuple[str, tuple[Span, ...]]]]:
    """The mentions of each row: (label, pieces in words, end exclusive), in the order of their first words."""
    scores = logits[..., : columns(task)].cpu()
    out: list[list[tuple[str, tuple[Span, ...]]]] = [[] for _ in range(len(scores))]
    pieces: dict[tuple[int, int], list[tuple[float, Span]]] = {}
    count = len(task.labels)
    for row, word, width, column in torch.nonzero(scores > 0).tolist():
        if column < count:
            out[row].append((task.labels[column], ((word, word + width + 1),)))
        else:
            score = float(scores[row, word, width, column])
            pieces.setdefault((row, column - count), []).append((score, (word, width)))
    for (row, label), scored in pieces.items():
        places = [place for _, place in sorted(scored, key=lambda item: (-item[0], item[1]))[:MOST_PIECES]]
        places.sort()
        scores_of = _links(task, logits[row].cpu(), places) > 0
        friends = [{j for j in range(len(places)) if j != i and scores_of[i, j]} for i in range(len(places))]
        for group in largest_groups(friends):
            if len(group) > 1:
                spans = tuple((places[i][0], places[i][0] + places[i][1] + 1) for i in sorted(group))
                out[row].append((task.labels[label], spans))
    return [sorted(row, key=lambda mention: (mention[1], mention[0])) for row in out]


def largest_groups(friends: Sequence[Iterable[int]]) -> list[frozenset[int]]:
    """Every set of numbers that are all friends of each other and that no further number could join.

    The maximal cliques of a graph (Bron and Kerbosch, 1973), in a fixed order; ``friends[i]``: those of i.
    """
    near = [frozenset(each) for each in friends]
    groups: list[frozenset[int]] = []

    def grow(group: frozenset[int], could: frozenset[int], was: frozenset[int]) -> None:
        if not could and not was:
            groups.append(group)
            return
        pivot = max(sorted(could | was), key=lambda i: len(near[i] & could))
        for i in sorted(could - near[pivot]):
            grow(group | {i}, could & near[i], was & near[i])
            could, was = could - {i}, was | {i}

    grow(frozenset(), frozenset(range(len(near))), frozenset())
    return sorted(groups, key=sorted)


HEAD = Head(init=init, logits=logits, loss_sum=loss_sum, decode=decode)

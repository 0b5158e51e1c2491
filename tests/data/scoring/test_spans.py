"""Span scores against the rules played out on sets of positions, exact fractions, and seqeval."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtlfn.data.document import Mention
from mtlfn.data.example import DataError
from mtlfn.data.scoring.spans import matched, partial_credit, share_strict_relaxed

Piece = tuple[int, int]
Marked = tuple[tuple[Piece, ...], str]  # pieces, and a CUI or a label

piece = st.tuples(st.integers(0, 14), st.integers(1, 5)).map(lambda at: (at[0], at[0] + at[1]))
pieces = st.lists(piece, min_size=1, max_size=2).map(tuple)
disorders = st.lists(st.tuples(pieces, st.sampled_from(("C1", "c1", "C2"))), max_size=5)
corpora = st.lists(st.tuples(disorders, disorders), max_size=4)
technique_spans = st.lists(st.tuples(piece.map(lambda at: (at,)), st.sampled_from(("Doubt", "Smears"))), max_size=4)


def disorder(marked: Marked, number: int = 0) -> Mention:
    return Mention(id=str(number), label="Disease_Disorder", pieces=marked[0], attributes=(("cui", marked[1]),))


def technique(marked: Marked, number: int = 0) -> Mention:
    return Mention(id=str(number), label=marked[1], pieces=marked[0])


def two_sides(
    corpus: Sequence[tuple[Sequence[Marked], Sequence[Marked]]], make: Callable[[Marked, int], Mention]
) -> list[dict[str, list[Mention]]]:
    return [
        {f"d{name}": [make(m, i) for i, m in enumerate(sides[side])] for name, sides in enumerate(corpus)}
        for side in (0, 1)
    ]


def single(*spans: Piece, cui: str = "C1") -> dict[str, list[Mention]]:
    return {"d": [disorder(((span,), cui), i) for i, span in enumerate(spans)]}


def f1(hits: int, found: int, total: int) -> Fraction:
    return Fraction(2 * hits, found + total) if found + total else Fraction(0)


def share(part: Fraction | int, whole: int) -> Fraction:
    return Fraction(part) / whole if whole else Fraction(0)


def positions(of: Piece) -> set[int]:
    """Both ends belong to a span."""
    return set(range(of[0], of[1] + 1))


def touching(one: tuple[Piece, ...], other: tuple[Piece, ...]) -> int:
    return max(len(positions(a) & positions(b)) for a, b in itertools.product(one, other))


def played_out(gold: Sequence[Marked], predicted: Sequence[Marked], with_cui: bool) -> tuple[int, int, int, int, int]:
    """True positives strict and relaxed, false positives and false negatives of the relaxed score, exact spans."""
    golds = [[p, c.lower()] for i, (p, c) in enumerate(gold) if p not in [q for q, _ in gold[i + 1 :]]]
    guesses = [[p, c.lower()] for i, (p, c) in enumerate(predicted) if p not in [q for q, _ in predicted[i + 1 :]]]
    same_spans = sum(g[0] == p[0] for g in golds for p in guesses)
    taken: list[list] = []
    hit: list[list] = []
    for g in golds:
        for p in guesses:
            if g[0] == p[0] and (g[1] == p[1] or not with_cui):
                hit.append(g)
                taken.append(p)
    strict, relaxed, wrong = len(hit), len(hit), 0
    for g in sorted(golds, key=lambda g: g[0]):
        if g in hit:
            continue
        near = [p for p in guesses if p not in taken and touching(g[0], p[0]) and (g[1] == p[1] or not with_cui)]
        taken += near
        relaxed += bool(near)
        wrong += len(near[1:])
        hit += [g] if near else []
    wrong += sum(p not in taken for p in guesses)
    return strict, relaxed, wrong, sum(g not in hit for g in golds), same_spans


@given(corpora, st.booleans())
@settings(max_examples=300, deadline=None)
def test_strict_and_relaxed_scores_are_the_rules_played_out(
    corpus: list[tuple[list[Marked], list[Marked]]], with_cui: bool
) -> None:
    scored = [(g, p) for g, p in corpus if g]  # the others have no gold: the script does not see them
    counts = [played_out(g, p, with_cui) for g, p in scored]
    strict, relaxed, wrong, missed, same_span = (sum(c[i] for c in counts) for i in range(5))
    total = sum(len({pieces for pieces, _ in g}) for g, _ in scored)
    found = sum(len({pieces for pieces, _ in p}) for _, p in scored)
    assert (relaxed + missed, relaxed + wrong) == (total, found)
    both = sum(played_out(g, p, True)[0] for g, p in scored)
    gold, predicted = two_sides(corpus, disorder)
    assert share_strict_relaxed(gold, predicted, with_cui=with_cui) == pytest.approx(
        {
            "strict_precision": share(strict, found),
            "strict_recall": share(strict, total),
            "strict_f1": f1(strict, found, total),
            "relaxed_precision": share(relaxed, found),
            "relaxed_recall": share(relaxed, total),
            "relaxed_f1": f1(relaxed, found, total),
            "strict_accuracy": share(both, total),
            "relaxed_accuracy": share(both, same_span),
        }
    )


@given(corpora, st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_order_matters_but_that_of_doubles(corpus: list[tuple[list[Marked], list[Marked]]], with_cui: bool) -> None:
    gold, predicted = two_sides(corpus, disorder)
    turned = [
        {name: list({m.pieces: m for m in side[name]}.values())[::-1] for name in reversed(side)}
        for side in (gold, predicted)
    ]
    assert share_strict_relaxed(*turned, with_cui=with_cui) == share_strict_relaxed(gold, predicted, with_cui=with_cui)


@given(st.lists(st.lists(st.sampled_from(("O", "B-X", "I-X")), min_size=6, max_size=6), min_size=2, max_size=8))
@settings(max_examples=60, deadline=None)
def test_strict_scores_are_those_of_seqeval_where_it_can_say_the_spans(rows: list[list[str]]) -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    rows = [["B-X" if t == "I-X" and (i == 0 or row[i - 1] == "O") else t for i, t in enumerate(row)] for row in rows]
    halves = [(["B-X", "O", *g], ["O", "O", *p]) for g, p in zip(rows[::2], rows[1::2], strict=False)]

    def spans(tags: list[str]) -> list[Marked]:
        starts = [i for i, tag in enumerate(tags) if tag == "B-X"]
        return [(((i, i + len(list(itertools.takewhile("I-X".__eq__, tags[i + 1 :]))) + 1),), "") for i in starts]

    gold, predicted = two_sides([(spans(g), spans(p)) for g, p in halves], disorder)
    scores = share_strict_relaxed(gold, predicted, with_cui=False)
    given_tags = [g for g, _ in halves], [p for _, p in halves]
    options = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    assert scores["strict_f1"] == pytest.approx(f1_score(*given_tags, **options))
    assert scores["strict_precision"] == pytest.approx(precision_score(*given_tags, **options))
    assert scores["strict_recall"] == pytest.approx(recall_score(*given_tags, **options))


def test_of_two_gold_disorders_the_first_by_span_chooses() -> None:
    scores = share_strict_relaxed(single((22, 40), (10, 20)), single((5, 12), (15, 30)), with_cui=True)
    assert scores["relaxed_f1"] == 0.5  # 15-30 goes to 10-20 and uses 5-12 up; the other order would find both
    assert scores["strict_f1"] == 0.0


def test_ends_that_touch_overlap_and_ends_apart_do_not() -> None:
    assert share_strict_relaxed(single((10, 15)), single((15, 20)), with_cui=False)["relaxed_f1"] == 1.0
    assert share_strict_relaxed(single((15, 20)), single((10, 15)), with_cui=False)["relaxed_f1"] == 1.0
    assert share_strict_relaxed(single((10, 15)), single((16, 20)), with_cui=False)["relaxed_f1"] == 0.0


def test_the_largest_overlap_of_single_pieces_wins_and_the_first_of_equals() -> None:
    def pairs(gold: tuple[Piece, ...], *predicted: tuple[Piece, ...]) -> Mapping[tuple[Piece, ...], object]:
        return matched({gold: 0}, dict.fromkeys(predicted, 0), lambda g, p: True)

    long_piece, two_pieces = ((0, 6),), ((0, 4), (10, 14))  # 7 at once against 5 + 5
    assert pairs(((0, 8), (10, 16)), two_pieces, long_piece) == {((0, 8), (10, 16)): long_piece}
    assert pairs(((4, 8),), ((7, 9),), ((3, 5),)) == {((4, 8),): ((3, 5),)}


def test_an_exact_match_is_out_of_reach_for_earlier_overlaps() -> None:
    scores = share_strict_relaxed(single((0, 5), (4, 9)), single((4, 9)), with_cui=False)
    assert (scores["relaxed_precision"], scores["relaxed_recall"]) == (1.0, 0.5)
    chain = share_strict_relaxed(single((0, 5), (4, 9), (8, 13)), single((2, 7), (6, 11)), with_cui=False)
    assert (chain["relaxed_precision"], chain["relaxed_recall"]) == (1.0, pytest.approx(2 / 3))


def test_pieces_in_another_order_are_no_exact_match() -> None:
    gold, turned = {"d": [disorder((((0, 3), (5, 8)), "C1"))]}, {"d": [disorder((((5, 8), (0, 3)), "C1"))]}
    scores = share_strict_relaxed(gold, turned, with_cui=True)
    assert (scores["strict_f1"], scores["relaxed_f1"], scores["strict_accuracy"]) == (0.0, 1.0, 0.0)


def test_a_wrong_code_is_wrong_even_relaxed_but_case_is_nothing() -> None:
    gold = single((0, 5), cui="CUI-less")
    wrong = share_strict_relaxed(gold, single((0, 5), cui="C1"), with_cui=True)
    assert (wrong["strict_f1"], wrong["relaxed_f1"]) == (0.0, 0.0)
    assert (wrong["strict_accuracy"], wrong["relaxed_accuracy"]) == (0.0, 0.0)
    right = share_strict_relaxed(gold, single((0, 5), cui="cui-LESS"), with_cui=True)
    assert set(right.values()) == {1.0}
    spans_only = share_strict_relaxed(gold, single((0, 5), (7, 9), cui="C1"), with_cui=False)
    assert (spans_only["strict_recall"], spans_only["strict_precision"], spans_only["strict_accuracy"]) == (1, 0.5, 0)
    bare = {"d": [Mention(id="0", label="Disease_Disorder", pieces=((0, 5),))]}
    assert share_strict_relaxed(bare, bare, with_cui=True)["strict_f1"] == 1.0
    assert share_strict_relaxed(gold, bare, with_cui=True)["strict_f1"] == 0.0


def test_accuracies_have_their_own_denominators() -> None:
    gold = {"d": [disorder((((i, i + 2),), "C1"), i) for i in (0, 10, 20, 30)]}
    predicted = {"d": [disorder((((i, i + 2),), c), i) for i, c in ((0, "C1"), (10, "C2"), (40, "C1"))]}
    scores = share_strict_relaxed(gold, predicted, with_cui=False)
    assert (scores["strict_accuracy"], scores["relaxed_accuracy"]) == (0.25, 0.5)


def test_a_double_takes_the_place_of_the_first() -> None:
    twice = {"d": [disorder((((0, 5),), "C1"), 0), disorder((((0, 5),), "C2"), 1)]}
    assert set(share_strict_relaxed(twice, single((0, 5), cui="C2"), with_cui=True).values()) == {1.0}
    assert share_strict_relaxed(twice, single((0, 5), cui="C1"), with_cui=True)["strict_f1"] == 0.0
    assert share_strict_relaxed(single((0, 5)), twice, with_cui=False)["strict_precision"] == 1.0


def test_nothing_there_counts_nothing() -> None:
    one, none = single((0, 5)), {"d": []}
    for gold, predicted in ((none, none), ({}, {}), (none, one), ({}, one), (one, none), (one, {})):
        assert set(share_strict_relaxed(gold, predicted, with_cui=True).values()) == {0.0}
    beside = share_strict_relaxed(one | {"e": []}, one | {"e": one["d"], "f": one["d"]}, with_cui=True)
    assert beside["strict_precision"] == 1.0


def credit(corpus: Sequence[tuple[Sequence[Marked], Sequence[Marked]]]) -> tuple[Fraction, Fraction, Fraction]:
    """The pair by pair sum on intervals."""
    earned = covered = Fraction(0)
    for gold, predicted in corpus:
        for (((a, b),), name), (((c, d),), label) in itertools.product(gold, predicted):
            common = max(0, min(b, d) - max(a, c)) if name == label else 0
            earned += Fraction(common, d - c)
            covered += Fraction(common, b - a)
    found, total = sum(len(p) for _, p in corpus), sum(len(g) for g, _ in corpus)
    precision, recall = share(earned, found), share(covered, total)
    if not found and not total:
        return precision, recall, Fraction(1)
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else Fraction(0)


def united(spans: Sequence[Marked]) -> list[Marked]:
    """Sweep of sorted intervals: those of one label that share a character become one."""
    out: list[Marked] = []
    for ((a, b),), label in sorted(spans, key=lambda s: (s[1], s[0])):
        if out and out[-1][1] == label and a < out[-1][0][0][1]:
            ((c, d),), _ = out.pop()
            a, b = c, max(b, d)
        out.append((((a, b),), label))
    return out


@given(st.lists(st.tuples(technique_spans, technique_spans), max_size=4))
@settings(max_examples=300, deadline=None)
@example([([(((0, 5),), "Doubt"), (((4, 9),), "Doubt"), (((8, 12),), "Doubt")], [(((0, 12),), "Doubt")])])
def test_partial_credit_is_the_sum_over_pairs(corpus: list[tuple[list[Marked], list[Marked]]]) -> None:
    scores = partial_credit(*two_sides(corpus, technique))
    merged = [(united(g), united(p)) for g, p in corpus]
    precision, recall, total_f1 = credit(merged)
    labels = sorted({label for sides in corpus for side in sides for _, label in side})
    alone = {
        f"partial_f1:{label}": credit(
            [tuple([s for s in side if s[1] == label] for side in sides) for sides in merged]
        )[2]
        for label in labels
    }
    expected = {"partial_precision": precision, "partial_recall": recall, "partial_f1": total_f1, **alone}
    assert scores == pytest.approx(expected)
    assert list(scores) == list(expected)
    assert all(0 <= value <= 1 for value in scores.values())


@given(st.lists(technique_spans, min_size=1, max_size=4))
def test_gold_is_perfect(corpus: list[list[Marked]]) -> None:
    gold, _ = two_sides([(spans, spans) for spans in corpus], technique)
    assert partial_credit(gold, gold)["partial_f1"] == 1.0


def test_partial_credit_by_hand() -> None:
    gold = {"m": [technique((((0, 10),), "Doubt")), technique((((20, 30),), "Smears"))]}
    predicted = {
        "m": [technique((((5, 25),), "Doubt")), technique((((20, 25),), "Smears")), technique((((0, 9),), "Fear"))]
    }
    # Precision: 5/20, 5/5 and 0 of 3. Recall: 5/10 and 5/10 of 2. Alone: Doubt 1/4 and 1/2, Smears 1 and 1/2.
    assert partial_credit(gold, predicted) == pytest.approx(
        {
            "partial_precision": 5 / 12,
            "partial_recall": 1 / 2,
            "partial_f1": 5 / 11,
            "partial_f1:Doubt": 1 / 3,
            "partial_f1:Fear": 0.0,
            "partial_f1:Smears": 2 / 3,
        }
    )


def test_repeating_a_prediction_earns_nothing() -> None:
    gold = {"m": [technique((((i, i + 5),), "Doubt")) for i in (0, 10, 20, 30)]}
    once = {"m": gold["m"][:1]}
    assert partial_credit(gold, {"m": once["m"] * 4}) == partial_credit(gold, once)
    assert partial_credit(gold, once)["partial_recall"] == 0.25


def test_spans_that_only_touch_stay_two() -> None:
    apart = {"m": [technique((((0, 5),), "Doubt")), technique((((5, 9),), "Doubt"))]}
    whole = {"m": [technique((((0, 9),), "Doubt"))]}
    assert partial_credit(apart, {"m": apart["m"][:1]})["partial_recall"] == 0.5
    assert partial_credit(whole, {"m": apart["m"][:1]})["partial_recall"] == pytest.approx(5 / 9)


def test_pieces_of_a_technique_count_together() -> None:
    gold = {"m": [technique((((0, 2), (6, 8)), "Doubt"))]}
    assert partial_credit(gold, {"m": [technique((((0, 8),), "Doubt"))]})["partial_precision"] == 0.5


def test_partial_credit_without_spans() -> None:
    nothing = {"partial_precision": 0.0, "partial_recall": 0.0}
    some = {"m": [technique((((0, 5),), "Doubt"))]}
    assert partial_credit({}, {}) == partial_credit({"m": []}, {"m": []}) == nothing | {"partial_f1": 1.0}
    missed = nothing | {"partial_f1": 0.0, "partial_f1:Doubt": 0.0}
    assert partial_credit(some, {}) == partial_credit({"m": []}, some) == missed


def test_a_document_that_gold_does_not_have_is_named() -> None:
    with pytest.raises(DataError, match="document 'x', expected one of the 1 gold documents"):
        partial_credit({"m": []}, {"x": []})

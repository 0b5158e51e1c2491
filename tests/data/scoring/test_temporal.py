"""Clinical TempEval against sets built by hand and a general algebra of points under < and =."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtlfn.data.document import Document, Link, Mention
from mtlfn.data.example import DataError
from mtlfn.data.scoring.temporal import attributes, closure, contains, entities

INTERVALS = tuple(((10 * i, 10 * i + 5),) for i in range(5))

links = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8)


def event(at: int, label: str = "EVENT", **properties: str) -> Mention:
    return Mention(id=f"{label}{at}", label=label, pieces=((at, at + 3),), attributes=tuple(properties.items()))


def note(name: str, pairs: Sequence[tuple[int, int]], relation: str = "TLINK:CONTAINS") -> Document:
    mentions = tuple(Mention(id=f"m{i}", label="EVENT", pieces=pieces) for i, pieces in enumerate(INTERVALS))
    made = tuple(Link(id=f"l{i}", label=relation, source=f"m{s}", target=f"m{t}") for i, (s, t) in enumerate(pairs))
    return Document(id=name, text="", mentions=mentions, links=made)


def point_closure(pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """CONTAINS links read back from all that follows of their points: a table of relations grown to a fixed point."""
    names = sorted({i for pair in pairs for i in pair})
    points = [(i, side) for i in names for side in ("start", "end")]
    relation = {(a, b): {"="} if a == b else set() for a, b in itertools.product(points, points)}
    for i in names:
        relation[(i, "start"), (i, "end")].add("<")
    for s, t in pairs:
        relation[(s, "start"), (t, "start")].add("<")
        relation[(t, "end"), (s, "end")].add("<")
    table = {("<", "<"): "<", ("<", "="): "<", ("=", "<"): "<", ("=", "="): "="}
    before = -1
    while before != (before := sum(map(len, relation.values()))):
        for a, b, c in itertools.product(points, repeat=3):
            relation[a, c] |= {table[x, y] for x in relation[a, b] for y in relation[b, c]}
    return {
        (s, t)
        for s, t in itertools.product(names, names)
        if "<" in relation[(s, "start"), (t, "start")] and "<" in relation[(t, "end"), (s, "end")]
    }


def measures(hits: int, found: int, kept: int, total: int) -> tuple[float, float, float]:
    precision = hits / found if found else 1.0
    recall = kept / total if total else 1.0
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def three(scores: dict[str, float], part: str) -> tuple[float, float, float]:
    return scores[f"precision:{part}"], scores[f"recall:{part}"], scores[f"f1:{part}"]


@given(links)
@settings(max_examples=80, deadline=None)
@example([(0, 1), (1, 2), (2, 3), (3, 4)])
@example([(0, 1), (1, 2), (2, 0)])
@example([(0, 0)])
@example([(0, 1), (0, 2), (1, 3), (2, 3)])
def test_the_closure_is_that_of_the_points(pairs: list[tuple[int, int]]) -> None:
    closed = closure((INTERVALS[s], INTERVALS[t]) for s, t in pairs)
    assert {(source, target) for source, targets in closed.items() for target in targets} == {
        (INTERVALS[s], INTERVALS[t]) for s, t in point_closure(pairs)
    }


@given(st.lists(st.tuples(links, links), max_size=3))
@settings(max_examples=60, deadline=None)
def test_container_scores_are_counts_over_closures(corpus: list) -> None:
    hits = sum(len(set(p) & point_closure(g)) for g, p in corpus)
    kept = sum(len(set(g) & point_closure(p)) for g, p in corpus)
    found, total = sum(len(set(p)) for _, p in corpus), sum(len(set(g)) for g, _ in corpus)
    gold = {f"ID{i}_clinic_1": note(f"ID{i}_clinic_1", g) for i, (g, _) in enumerate(corpus)}
    predicted = {f"ID{i}_clinic_1": note(f"ID{i}_clinic_1", p) for i, (_, p) in enumerate(corpus)}
    expected = measures(hits, found, kept, total)
    names = ("contains_precision", "contains_recall", "contains_f1")
    assert contains(gold, predicted) == pytest.approx(dict(zip(names, expected, strict=True)))


def containers(gold: Sequence[tuple[int, int]], predicted: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    return tuple(contains({"clin": note("clin", gold)}, {"clin": note("clin", predicted)}).values())


def test_a_link_that_follows_is_right_and_one_that_lets_others_follow_is_enough() -> None:
    chain = [(0, 1), (1, 2)]
    assert containers(chain, [(0, 2)]) == (1.0, 0.0, 0.0)
    assert containers([(0, 2)], chain) == (0.0, 1.0, 0.0)
    assert containers([*chain, (0, 2)], chain) == (1.0, 1.0, 1.0)
    assert containers(chain, [*chain, (2, 0)])[0] == pytest.approx(2 / 3)
    assert containers([(0, 1), (1, 0)], [(0, 0), (1, 1)])[:2] == (1.0, 0.0)
    assert containers([(0, 1)], [(1, 0)]) == (0.0, 0.0, 0.0)


def test_no_link_predicted_is_precise_and_no_gold_is_recalled() -> None:
    assert containers([], []) == (1.0, 1.0, 1.0)
    assert containers([(0, 1)], []) == (1.0, 0.0, 0.0)
    assert containers([], [(0, 1)]) == (0.0, 1.0, 0.0)
    assert tuple(contains({}, {}).values()) == (1.0, 1.0, 1.0)
    assert tuple(contains({"clin": note("clin", [(0, 1)])}, {}).values()) == (1.0, 0.0, 0.0)


def test_only_containers_of_clinical_notes_in_gold_count() -> None:
    gold = {"a_clinic": note("a_clinic", [(0, 1)]), "a_path": note("a_path", [(0, 1)])}
    predicted = {
        "a_clinic": gold["a_clinic"],
        "a_path": note("a_path", [(3, 4)]),
        "b_clinic": note("b_clinic", [(2, 3)]),
    }
    assert set(contains(gold, predicted).values()) == {1.0}


@pytest.mark.parametrize(
    "other", ["TLINK:BEFORE", "TLINK:OVERLAP", "TLINK:BEGINS-ON", "TLINK:ENDS-ON", "ALINK:CONTAINS"]
)
def test_links_of_other_types_are_not_looked_at(other: str) -> None:
    link, unlike = {"clin": note("clin", [(0, 1)])}, {"clin": note("clin", [(0, 1)], other)}
    assert tuple(contains(unlike, link).values()) == (0.0, 1.0, 0.0)
    assert tuple(contains(link, unlike).values()) == (1.0, 0.0, 0.0)


def test_links_are_of_spans_whatever_ids_and_types() -> None:
    gold, other = note("clin", [(0, 1), (0, 1)]), note("clin", [(0, 1)])
    renamed = Document(
        id="clin",
        text="",
        mentions=tuple(
            Mention(id=f"x{m.id}", label="TIMEX3", pieces=m.pieces, attributes=(("Class", "DATE"),))
            for m in other.mentions
        ),
        links=(Link(id="r", label="TLINK:CONTAINS", source="xm0", target="xm1"),),
    )
    assert set(contains({"clin": gold}, {"clin": renamed}).values()) == {1.0}
    moved = Document(
        id="clin",
        text="",
        mentions=(
            Mention(id="a", label="EVENT", pieces=((0, 5), (7, 8))),
            Mention(id="b", label="EVENT", pieces=INTERVALS[1]),
        ),
        links=(Link(id="r", label="TLINK:CONTAINS", source="a", target="b"),),
    )
    assert contains({"clin": gold}, {"clin": moved})["contains_f1"] == 0.0


def test_a_link_to_nowhere_is_named() -> None:
    with pytest.raises(DataError, match=r"document 'clin', link 'l0': found no mention 'm9', expected the ids"):
        contains({"clin": note("clin", [(0, 9)])}, {})


def test_the_closure_of_long_chains_is_whole() -> None:
    """15 notes with 200 links each, in the worst shape, one chain: 20,100 links follow."""
    mentions = tuple(Mention(id=f"m{i}", label="EVENT", pieces=((9 * i, 9 * i + 5),)) for i in range(201))
    chain = tuple(Link(id=f"l{i}", label="TLINK:CONTAINS", source=f"m{i}", target=f"m{i + 1}") for i in range(200))
    corpus = {f"{i}_clinic": Document(id=f"{i}_clinic", text="", mentions=mentions, links=chain) for i in range(15)}
    assert contains(corpus, corpus)["contains_f1"] == 1.0


mentions = st.lists(
    st.builds(
        lambda at, label, **properties: event(at, label, **{k: v for k, v in properties.items() if v}),
        st.integers(0, 2),
        st.sampled_from(("EVENT", "TIMEX3", "SECTIONTIME")),
        Class=st.sampled_from(("", "DATE", "TIME")),
        Polarity=st.sampled_from(("", "POS", "NEG")),
        DocTimeRel=st.sampled_from(("", "BEFORE", "BEFORE/OVERLAP")),
    ),
    max_size=5,
)


@given(st.lists(st.tuples(mentions, mentions), max_size=3))
@settings(max_examples=150, deadline=None)
def test_entity_and_attribute_scores_are_counts_of_sets(corpus: list) -> None:
    sides = [{str(i): pair[side] for i, pair in enumerate(corpus)} for side in (0, 1)]
    spans = entities(*sides)
    for label in ("TIMEX3", "EVENT"):
        gold, found = (
            {(doc, str(m.pieces)) for doc, ms in side.items() for m in ms if m.label == label} for side in sides
        )
        assert three(spans, label) == pytest.approx(
            measures(len(gold & found), len(found), len(gold & found), len(gold))
        )
    assert len(spans) == 6
    values = attributes(*sides)
    for label, name in (("TIMEX3", "Class"), ("EVENT", "Polarity"), ("EVENT", "DocTimeRel"), ("EVENT", "Degree")):
        gold, found = (
            {
                (doc, str(m.pieces), value)
                for doc, ms in side.items()
                for m in ms
                for key, value in m.attributes
                if (m.label, key) == (label, name)
            }
            for side in sides
        )
        assert three(values, f"{label}:{name}") == pytest.approx(
            measures(len(gold & found), len(found), len(gold & found), len(gold))
        )
    assert len(values) == 18


def test_a_value_needs_its_span_and_a_span_no_value() -> None:
    gold = {"d": [event(0, Polarity="POS"), event(9, Polarity="NEG"), event(20)]}
    predicted = {"d": [event(0, Polarity="NEG"), event(9, Polarity="NEG"), event(30, Polarity="POS")]}
    assert three(entities(gold, predicted), "EVENT") == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert three(attributes(gold, predicted), "EVENT:Polarity") == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    assert three(attributes(gold, predicted), "EVENT:Degree") == (1.0, 1.0, 1.0)


def test_spans_count_once_with_all_pieces_in_order() -> None:
    parts = Mention(id="0", label="EVENT", pieces=((0, 3), (5, 8)))
    turned = Mention(id="0", label="EVENT", pieces=((5, 8), (0, 3)))
    assert three(entities({"d": [parts, parts]}, {"d": [parts]}), "EVENT") == (1.0, 1.0, 1.0)
    assert three(entities({"d": [parts]}, {"d": [turned]}), "EVENT") == (0.0, 0.0, 0.0)


def test_a_document_missed_counts_and_one_too_many_does_not() -> None:
    gold = {"a": [event(0)], "b": [event(0)]}
    assert three(entities(gold, {"a": [event(0)], "c": [event(5)]}), "EVENT") == pytest.approx((1.0, 0.5, 2 / 3))
    assert three(entities(gold, {}), "EVENT") == (1.0, 0.0, 0.0)
    assert three(entities({"a": []}, {"a": [event(0)]}), "EVENT") == (0.0, 1.0, 0.0)

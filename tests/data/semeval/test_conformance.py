"""What holds for every official task: a new one is tested by standing in the registry, and in ``organisers.READ``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from mtlfn.data import semeval, units
from mtlfn.data.document import Document, Query
from mtlfn.data.example import DataError, Example
from mtlfn.data.official import MODULES, OFFICIAL
from mtlfn.data.semeval import evaluation
from mtlfn.data.task import SPLITS, Dataset, check, kind_of
from tests.data.semeval import organisers, small
from tests.data.semeval.small import Rng, odd, prediction

EVERY = pytest.mark.parametrize("name", OFFICIAL)
DRAWS = pytest.mark.parametrize("draw", [prediction, odd])
SEEDS = range(8)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write(tmp_path_factory.mktemp("small"))


def contents(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def rule(dataset: Dataset, predictions: Sequence[Any]) -> float:
    """The primary metric of the test split by the organisers' rule."""
    official = OFFICIAL[dataset.task.official]
    return official.scores(dataset, dataset.gold["test"], dataset.test, predictions)[official.metric]


def score(dataset: Dataset, predictions: Sequence[Any]) -> dict[str, float]:
    return evaluation.score(dataset, "test", dataset.test, predictions, whole=True)


# The registry


def test_the_registry_names_what_the_modules_hold() -> None:
    folder = Path(semeval.__file__).parent
    assert set(MODULES) == {path.stem for path in folder.glob("semeval*.py")}
    for module, names in MODULES.items():
        tasks = import_module(f"mtlfn.data.semeval.{module}").TASKS
        assert tuple(task.name for task in tasks) == names
        assert {task.folder for task in tasks} == {module}
    assert list(OFFICIAL) == [name for names in MODULES.values() for name in names]
    assert organisers.READ.keys() == OFFICIAL.keys()
    assert "" not in OFFICIAL
    with pytest.raises(KeyError):
        OFFICIAL["semeval1999_t1"]


@EVERY
def test_a_task_says_where_its_data_come_from_and_what_it_is_scored_by(name: str, corpora: Path) -> None:
    dataset = small.load(name, corpora)
    assert (dataset.task.name, dataset.task.official, dataset.task.metric) == (name, name, OFFICIAL[name].metric)
    assert len(OFFICIAL[name].terms.split()) > 5
    assert units.statistic_of(dataset.task) is OFFICIAL[name].statistic


# Reading


@EVERY
def test_what_is_loaded_is_a_function_of_the_files(name: str, corpora: Path) -> None:
    before = contents(corpora)
    dataset, again = small.load(name, corpora), small.load(name, corpora)
    assert dataset == again
    assert contents(corpora) == before
    check(dataset)
    for split, count in small.SIZES.items():
        assert len(dataset.gold[split]) == count
        assert {e.unit for e in dataset[split]} <= {OFFICIAL[name].unit(each) for each in dataset.gold[split]}


# Scores


def some_units(whole: Dataset, rng: Rng) -> Dataset:
    """A test split of some of the units, at least one."""
    official = OFFICIAL[whole.task.official]
    gold = [g for g in whole.gold["test"] if rng.random() < 0.6] or [whole.gold["test"][0]]
    chosen = {official.unit(g) for g in gold}
    return evolve(whole, gold={"test": tuple(gold)}, test=tuple(e for e in whole.test if e.unit in chosen))


def renamed(gold: Any, name: str) -> Any:
    return (name, *gold[1:]) if isinstance(gold, tuple) else evolve(gold, id=name)


def weighted(dataset: Dataset, predictions: Sequence[Any], weights: dict[str, int]) -> tuple[Dataset, list[Any]]:
    """Every unit as often as its weight says, each time under a name of its own."""
    official = OFFICIAL[dataset.task.official]
    test, gold, repeated = [], [], []
    for unit, count in weights.items():
        for name in (f"{unit}_copy{i}" for i in range(count)):
            gold += [renamed(g, name) for g in dataset.gold["test"] if official.unit(g) == unit]
            for e, p in zip(dataset.test, predictions, strict=True):
                if e.unit == unit:
                    test.append(evolve(e, unit=name, id=name + e.id.removeprefix(unit)))
                    repeated.append(p)
    return evolve(dataset, test=tuple(test), gold={"test": tuple(gold)}), repeated


@EVERY
@DRAWS
def test_the_score_is_that_of_the_summed_statistics_and_the_organisers_one(name: str, draw: Any, corpora: Path) -> None:
    whole = small.load(name, corpora)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        dataset = some_units(whole, rng)
        predictions = [draw(dataset.task, rng, e) for e in dataset.test]
        statistics = units.statistics(dataset, "test", predictions)
        value = units.value(dataset.task, statistics.values.sum(0))
        assert value == pytest.approx(rule(dataset, predictions), abs=1e-12)
        assert value == pytest.approx(score(dataset, predictions)[dataset.task.metric], abs=1e-12)
        weights = rng.integers(0, 3, size=len(statistics.units))
        weights[0] += 1  # at least one unit
        copies, repeated = weighted(dataset, predictions, dict(zip(statistics.units, weights.tolist(), strict=True)))
        value = units.value(dataset.task, weights @ statistics.values)
        assert value == pytest.approx(rule(copies, repeated), abs=1e-12)
        assert value == pytest.approx(score(copies, repeated)[dataset.task.metric], abs=1e-12)


@EVERY
def test_the_other_scores_are_the_organisers_and_their_order_too(name: str, corpora: Path) -> None:
    dataset, rng = small.load(name, corpora), np.random.default_rng(0)
    predictions = [prediction(dataset.task, rng, e) for e in dataset.test]
    rules = OFFICIAL[name].scores(dataset, dataset.gold["test"], dataset.test, predictions)
    scores = score(dataset, predictions)
    assert list(scores) == list(rules)
    assert scores == pytest.approx(rules, abs=1e-12)
    assert {type(value) for value in scores.values()} == {float}


@EVERY
def test_scores_of_some_examples_are_those_of_their_units_alone(name: str, corpora: Path) -> None:
    whole, rng = small.load(name, corpora), np.random.default_rng(1)
    predictions = [prediction(whole.task, rng, e) for e in whole.test]
    chosen = {e.unit for e in whole.test[: len(whole.test) // 2]}
    part = [(e, p) for e, p in zip(whole.test, predictions, strict=True) if e.unit in chosen]
    examples, given = [e for e, _ in part], [p for _, p in part]
    gold = tuple(g for g in whole.gold["test"] if OFFICIAL[name].unit(g) in chosen)
    alone = evolve(whole, test=tuple(examples), gold={"test": gold})
    assert evaluation.score(whole, "test", examples, given, whole=False) == score(alone, given)


@EVERY
def test_nothing_to_find_and_nothing_predicted(name: str, corpora: Path) -> None:
    whole = small.load(name, corpora)
    if whole.task.kind == "ranking":
        return  # every query has an answer
    gold = tuple(map(small.nothing, whole.gold["test"]))
    test = () if whole.task.kind == "relation" else tuple(evolve(e, labels=(), mentions=()) for e in whole.test)
    bare = evolve(whole, gold={"test": gold}, test=test)
    predictions: list[Any] = [[] for _ in bare.test]
    sums = units.statistics(bare, "test", predictions).values.sum(0)
    assert units.value(bare.task, sums) == rule(bare, predictions) == score(bare, predictions)[bare.task.metric]


@EVERY
def test_a_split_without_a_unit_is_refused_and_has_no_predictions_to_write(
    name: str, corpora: Path, tmp_path: Path
) -> None:
    empty = evolve(small.load(name, corpora), test=(), gold={"test": ()})
    with pytest.raises(DataError, match=f"task {name}: the test split is empty; statistics need"):
        units.statistics(empty, "test", [])
    with pytest.raises(DataError, match=f"task {name}: the test split is empty; scores need"):
        score(empty, [])
    OFFICIAL[name].write(empty, "test", tmp_path, [])
    assert all(path.read_text() in ("", "[]") for path in tmp_path.rglob("*") if path.is_file())


# Units


@EVERY
def test_every_gold_document_is_a_unit(name: str, corpora: Path) -> None:
    dataset, rng = small.load(name, corpora), np.random.default_rng(2)
    predictions = [prediction(dataset.task, rng, e) for e in dataset.test]
    statistics = units.statistics(dataset, "test", predictions)
    assert statistics.units == tuple(OFFICIAL[name].unit(g) for g in dataset.gold["test"])
    assert len(statistics.values) == len(statistics.gold) == small.SIZES["test"]
    task, again = units.from_json(units.to_json(dataset.task, statistics), "x.json")
    assert (again.units, again.gold) == (statistics.units, statistics.gold)
    assert again.values.tobytes() == statistics.values.tobytes()
    assert units.value(task, again.values.sum(0)) == units.value(dataset.task, statistics.values.sum(0))
    with pytest.raises(DataError, match=f"{len(predictions) - 1} predictions for {len(predictions)} examples of test"):
        units.statistics(dataset, "test", predictions[1:])


def changes(gold: Any) -> Iterator[Any]:
    """The same with another answer, in every way that its kind has."""
    if isinstance(gold, Document):
        for i, m in enumerate(gold.mentions):
            (start, end), *rest = m.pieces
            for other in (evolve(m, label="other"), evolve(m, pieces=((start, end + 1), *rest))):
                yield evolve(gold, mentions=(*gold.mentions[:i], other, *gold.mentions[i + 1 :]))
        for i, link in enumerate(gold.links):
            for other in (evolve(link, label="other"), evolve(link, source=link.target, target=link.source)):
                yield evolve(gold, links=(*gold.links[:i], other, *gold.links[i + 1 :]))
            yield evolve(gold, links=(*gold.links[:i], *gold.links[i + 1 :]))
    elif isinstance(gold, Query):
        for i, c in enumerate(gold.candidates):
            yield evolve(gold, candidates=(*gold.candidates[:i], evolve(c, label=None), *gold.candidates[i + 1 :]))
    else:
        yield (*gold[:2], gold[2][1:]) if gold[2] else (*gold[:2], ("Doubt",))


@EVERY
def test_the_hash_of_a_unit_follows_its_gold_and_nothing_else(name: str, corpora: Path) -> None:
    dataset, rng = small.load(name, corpora), np.random.default_rng(3)
    gold = dataset.gold["test"]

    def hashes(gold: Sequence[Any]) -> tuple[str, ...]:
        predictions = [odd(dataset.task, rng, e) for e in dataset.test]
        return units.statistics(evolve(dataset, gold={"test": tuple(gold)}), "test", predictions).gold

    first = hashes(gold)
    assert hashes(gold) == first  # whatever is predicted
    for at in (0, 1, 2):
        others = list(changes(gold[at]))
        assert others
        for other in others:
            now = hashes([*gold[:at], other, *gold[at + 1 :]])
            assert [i for i, (a, b) in enumerate(zip(first, now, strict=True)) if a != b] == [at]


# Files of predictions


@EVERY
@DRAWS
def test_what_is_written_scores_what_is_reported(name: str, draw: Any, corpora: Path, tmp_path: Path) -> None:
    dataset = small.load(name, corpora)
    for seed in SEEDS:
        rng, folder = np.random.default_rng(seed), tmp_path / str(seed)
        agree(dataset, [draw(dataset.task, rng, e) for e in dataset.test], folder)


@EVERY
def test_what_is_written_is_a_function_of_the_predictions(name: str, corpora: Path, tmp_path: Path) -> None:
    dataset, rng = small.load(name, corpora), np.random.default_rng(4)
    for split in SPLITS:
        predictions = [prediction(dataset.task, rng, e) for e in dataset[split]]
        for folder in ("one", "other"):
            OFFICIAL[name].write(dataset, split, tmp_path / folder, predictions)
    one, other = (contents(tmp_path / folder) for folder in ("one", "other"))
    assert [p.replace("/other/", "/one/") for p in other] == list(one)
    assert list(one.values()) == list(other.values())


def agree(dataset: Dataset, predictions: Sequence[Any], folder: Path) -> None:
    """The files in a folder, read back and scored, give the scores that are reported."""
    OFFICIAL[dataset.task.name].write(dataset, "test", folder, predictions)
    read = organisers.read(dataset, folder)
    reported = {key: v for key, v in score(dataset, predictions).items() if not key.startswith("partial_f1:")}
    assert {key: read[key] for key in reported} == pytest.approx(reported, abs=1e-12)


@EVERY
def test_gold_as_a_prediction_is_right_as_far_as_examples_hold_it(name: str, corpora: Path) -> None:
    dataset = small.load(name, corpora)
    answers = [_answer(dataset, e) for e in dataset.test]
    best = score(dataset, answers)[dataset.task.metric]
    assert best > 0.6
    worse = [answers[i] if i % 2 else _answer(dataset, e, right=False) for i, e in enumerate(dataset.test)]
    assert score(dataset, worse)[dataset.task.metric] < best


def _answer(dataset: Dataset, e: Example, *, right: bool = True) -> Any:
    kind = dataset.task.kind
    if kind == "ranking":
        return [float((label == "relevant") == right) for label in e.labels]
    if kind == "relation":
        return e.labels[0] if right else dataset.task.negative
    return kind_of(dataset.task).answer(e) if right else []

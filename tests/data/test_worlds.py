"""Planted worlds: what makes each verdict true stands in the words and labels of the texts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from hashlib import sha256

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from mtlfn.data import sources
from mtlfn.data.embedded import worlds
from mtlfn.data.example import DataError, Example
from mtlfn.data.task import SPLITS, Dataset, check
from tests import tiny

SAMPLES = ("", ".3")
STEMS = {stem: kind for kind in (0, 1) for stem in worlds.STEMS[kind]}
CUES = {cue: kind for kind in (0, 1) for cue in worlds.CUES[kind]}


loaded = cache(worlds.load)


def both(world: str, sample: str = "") -> tuple[Dataset, Dataset]:
    """Target and source."""
    target, source = (loaded(f"world_{world}_{side}{sample}") for side in ("target", "source"))
    return target, source


def words(example: Example) -> list[str]:
    return example.texts[0][0].split()


def stems(examples: Iterable[Example]) -> set[str]:
    return {word for e in examples for word in words(e) if word in STEMS}


def kind(example: Example) -> int:
    return worlds.LABELS.index(example.labels[0])


def stem_kinds(example: Example) -> set[int]:
    return {STEMS[word] for word in words(example) if word in STEMS}


def written() -> str:
    return sha256(repr([worlds.load(name) for name in worlds.NAMES]).encode()).hexdigest()


# All worlds


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("name", worlds.NAMES)
def test_a_planted_task_is_an_ordinary_data_set(name, sample):
    dataset = check(loaded(name + sample))
    assert dataset.task.name == name + sample
    for split in SPLITS:
        examples = dataset[split]
        assert len({e.unit for e in examples}) == len(examples) >= 20
        assert {word for e in examples for word in words(e)} <= set(worlds.VOCABULARY)
        if dataset.task.kind == "classification":
            counts = Counter(e.labels[0] for e in examples)
            assert abs(counts["left"] - counts["right"]) <= 0.05 * len(examples) + 8


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("world", worlds.WORLDS)
def test_no_text_stands_twice_in_a_world(world, sample):
    texts = [e.texts[0][0] for dataset in both(world, sample) for split in SPLITS for e in dataset[split]]
    assert len(set(texts)) == len(texts) > 1000


def test_the_parts_of_the_vocabulary_share_no_word():
    parts = (*worlds.STEMS, *worlds.CUES, *worlds.OTHER_STEMS, worlds.FILLERS, worlds.OTHER_FILLERS)
    assert sum(map(len, parts)) == len(set(worlds.VOCABULARY)) == len(worlds.VOCABULARY)
    assert set().union(*parts) == set(worlds.VOCABULARY)


def test_the_letters_of_a_stem_tell_nothing_of_its_class():
    letters = CountVectorizer(analyzer="char_wb", ngram_range=(1, 3)).fit_transform(STEMS)
    right = cross_val_score(LogisticRegression(max_iter=1000), letters, list(STEMS.values()), cv=4).mean()
    assert right < 0.62


@pytest.mark.slow
def test_data_sets_are_the_same_in_every_process_and_touch_no_global_generator():
    before = tiny.generators()
    here = written()
    assert tiny.generators() == before
    code = "from tests.data.test_worlds import written; print(written())"
    env = {**os.environ, "PYTHONHASHSEED": "1"}  # sets of strings have another order
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert ended.stdout.strip() == here, ended.stderr


def test_another_sample_has_other_texts_of_the_same_words_and_classes():
    for name in worlds.NAMES:
        one, two = loaded(name), loaded(f"{name}.3")
        texts = [[e.texts[0][0] for e in dataset.train] for dataset in (one, two)]
        assert len(set(texts[0]) & set(texts[1])) < 0.1 * len(texts[0])
        assert {w for e in one.train for w in words(e)} == {w for e in two.train for w in words(e)}


def test_a_text_depends_on_its_number_and_not_on_how_many_there_are(monkeypatch):
    before = loaded("world_genuine_target").train
    fewer = worlds.Sketch(worlds.SKETCHES["world_genuine_target"].draw, (50, 40, 300))
    monkeypatch.setitem(worlds.SKETCHES, "world_genuine_target", fewer)
    monkeypatch.setattr(worlds, "_world", worlds._world.__wrapped__)  # what was made before is not asked for
    assert worlds.load("world_genuine_target").train == before[:50]


# Each world


@pytest.mark.parametrize("sample", SAMPLES)
def test_genuine_the_source_alone_tells_the_classes_of_the_tested_stems(sample):
    target, source = both("genuine", sample)
    assert len(stems(target.train)) <= 16
    for split in ("dev", "test"):
        assert not stems(target[split]) & stems(target.train)
        assert stems(target[split]) <= stems(source.train)
    assert len(stems(target.test)) >= 75  # of 80
    for e in (*target.train, *target.dev, *target.test, *source.train):
        assert stem_kinds(e) == {kind(e)}


@pytest.mark.parametrize("sample", SAMPLES)
def test_exposure_the_source_holds_the_training_texts_of_the_target_and_nothing_else(sample):
    target, source = both("exposure", sample)
    own = {(tuple(sorted(words(e))), kind(e)) for e in target.train}
    assert {(tuple(sorted(words(e))), kind(e)) for e in (*source.train, *source.dev, *source.test)} == own
    assert stems(target.test) <= stems(target.train)
    for e in target.train:
        assert stem_kinds(e) == {kind(e)}


@pytest.mark.parametrize("sample", SAMPLES)
def test_negative_the_tested_stems_contradict_what_is_asked(sample):
    target, source = both("negative", sample)
    for e in source.train:
        assert stem_kinds(e) == {kind(e)}
    for e in target.train:
        assert stem_kinds(e) == {kind(e)}
    for e in target.test:
        assert stem_kinds(e) == {1 - kind(e)}
    for e in (*target.train, *target.dev, *target.test):  # the cue always tells, and so it can be learnt
        assert [CUES[word] for word in words(e) if word in CUES] == [kind(e)]
    assert not stems(target.test) & stems(target.train)
    assert stems(target.test) <= stems(source.train)
    assert {w for e in target.test for w in words(e) if w in CUES} <= {w for e in target.train for w in words(e)}
    agree = [CUES[word] == kind(e) for e in source.train for word in words(e) if word in CUES]
    assert len(agree) == len(source.train)
    assert 0.45 < sum(agree) / len(agree) < 0.55


@pytest.mark.parametrize("sample", SAMPLES)
def test_unrelated_no_word_is_in_both_tasks(sample):
    target, source = both("unrelated", sample)
    there = [{w for split in SPLITS for e in dataset[split] for w in words(e)} for dataset in (target, source)]
    assert not there[0] & there[1]
    assert stems(target.test) <= stems(target.train)
    for e in source.train:
        tagged = [w for w, tag in zip(words(e), e.tags, strict=True) if tag == "B-Thing"]
        assert [e.texts[0][0][a:b] for a, b in e.words] == words(e)
        assert len(tagged) == 1
        assert tagged[0] in worlds.OTHER_STEMS[0]


def cued(examples: Iterable[Example]) -> float:
    """The share of texts whose one cue is right."""
    right = [[CUES[word] for word in words(e) if word in CUES] == [kind(e)] for e in examples]
    return sum(right) / len(right)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize(("world", "share"), [("dilution", 0.75), ("part", 0.6)])
def test_a_hint_is_right_in_most_texts_and_stems_that_take_longer_in_all(world, share, sample):
    target, _ = both(world, sample)
    for split in ("train", "test"):
        assert abs(cued(target[split]) - share) < 0.09
        for e in target[split]:
            assert stem_kinds(e) == {kind(e)}
    assert stems(target.test) <= stems(target.train)
    assert len(stems(target.train)) == 48


@pytest.mark.parametrize("sample", SAMPLES)
def test_dilution_the_source_has_no_word_of_the_target_and_part_a_third_of_its_stems(sample):
    target, source = both("dilution", sample)
    assert not {w for e in source.train for w in words(e)} & {w for e in target.train for w in words(e)}
    target, source = both("part", sample)
    assert len(stems(source.train)) == len(stems(target.train)) / 3
    assert stems(source.train) < stems(target.train)
    for e in source.train:
        assert stem_kinds(e) == {kind(e)}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize(("world", "share"), [("overdone", 0.9), ("again", 0.75)])
def test_a_lure_is_right_in_all_of_training_and_wrong_in_the_test_where_the_cue_is_right(world, share, sample):
    target, source = both(world, sample)
    assert abs(cued(target.train) - share) < 0.07
    for e in target.train:
        assert stem_kinds(e) == {kind(e)}
    decided = [e for e in target.test if len(stem_kinds(e)) == 1]
    assert 0.06 < 1 - len(decided) / len(target.test) < 0.14
    assert cued(decided) == 1
    for e in decided:
        assert stem_kinds(e) == {1 - kind(e)}
    assert stems(target.test) <= stems(target.train)
    own = {(tuple(sorted(words(e))), kind(e)) for e in target.train}
    if world == "again":
        assert {(tuple(sorted(words(e))), kind(e)) for e in source.train} == own
    else:
        assert not {w for e in source.train for w in words(e)} & {w for e in target.train for w in words(e)}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("world", ["exposure", "unrelated"])
def test_nothing_tells_the_label_of_a_tenth_of_the_test_texts_and_of_no_others(world, sample):
    target, _ = both(world, sample)
    undecided = [e for e in target.test if len(stem_kinds(e)) == 2]
    assert 0.06 < len(undecided) / len(target.test) < 0.14
    assert 0.25 < sum(map(kind, undecided)) / len(undecided) < 0.75
    for e in (*target.train, *target.dev):
        assert stem_kinds(e) == {kind(e)}


# Names


def test_planted_tasks_are_found_by_name():
    names = ("world_negative_target", "world_negative_source.12")
    assert [d.task.name for d in sources.resolve(names, None, {})] == list(names)


@pytest.mark.parametrize("name", ["world_negative", "world_odd_target", "world_genuine_target.0", "world_odd_source.x"])
def test_other_names_are_refused(name):
    assert not worlds.serves(name)
    with pytest.raises(ValueError, match=r"no planted task is called"):
        worlds.load(name)
    with pytest.raises(DataError, match=r"is not known .* world_genuine_target, "):
        sources.resolve([name], None, {})


# The world of one run


def test_together_the_source_tells_what_the_others_are_asked_and_no_text_stands_twice():
    sets = {name: loaded(f"world_together_{name}") for name in ("genuine", "exposure", "negative", "source")}
    texts = [e.texts[0][0] for dataset in sets.values() for split in SPLITS for e in dataset[split]]
    assert len(set(texts)) == len(texts) > 3000
    assert stems(sets["source"].train) == set(STEMS)
    assert not stems(sets["genuine"].train) & stems(sets["genuine"].test)
    assert stems(sets["exposure"].train) >= stems(sets["exposure"].test)
    for e in sets["negative"].train:
        assert stem_kinds(e) == {kind(e)}
    for e in sets["negative"].test:
        assert stem_kinds(e) == {1 - kind(e)}
        assert any(CUES.get(word) == kind(e) for word in words(e))
    assert not stems(sets["negative"].train) & stems(sets["negative"].test)
    for name in ("genuine", "exposure", "source"):
        assert all(kind(e) in stem_kinds(e) for e in sets[name].train)
    sizes = {name: len(dataset.train) for name, dataset in sets.items()}
    assert sizes["source"] > 8 * max(size for name, size in sizes.items() if name != "source")


def test_the_tasks_of_one_run_keep_their_texts_where_the_runs_hold_out_those_of_all():
    names = [f"world_together_{name}" for name in ("genuine", "exposure", "negative", "source")]
    for alone, apart in zip(map(loaded, names), sources.resolve(names, None, {}), strict=True):
        assert len(apart.train) == len(alone.train)

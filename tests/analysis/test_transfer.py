"""RQ4 on runs whose numbers are known: transfer, conflicts over time, overlaps and their correlation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtlfn.analysis.reporting import transfer
from mtlfn.analysis.runs import cells, records
from mtlfn.run.config import Config, settings
from tests import tiny
from tests.analysis import study_folder
from tests.analysis.study_folder import HOSTILE, STEPS

A, B = "mentions", "answers"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return study_folder.write(tmp_path / "study")


def runs_of(root: Path) -> records.Runs:
    (study,) = cells.find([root]).studies
    return records.of_study(study, root)


def test_all_kinds_of_runs_are_found(root):
    found = {kind: len(group) for kind, group in runs_of(root).groups.items()}
    assert found == {
        "multi-task": 2,
        "token-controlled S1": 6,
        "plain S1": 6,
        "exclusion, first half": 2,
        "exclusion, second half": 2,
        "pairs of tasks": 6,
    }
    assert len(runs_of(root).all) == 24


def test_transfer_is_the_pairs_score_less_that_of_plain_s1_of_the_same_seed(root):
    path = root / "seed-1" / "pairs" / "p0" / "result.json"
    scores = json.loads(path.read_text())["scores"]
    study_folder.edit(path, scores={**scores, B: {**scores[B], "test": 0.9}})
    found = transfer.matrix(runs_of(root))
    assert found[A, B] == pytest.approx({0: -0.1, 1: 0.5})
    assert found[B, A] == pytest.approx({0: -0.1, 1: -0.1})
    assert found[A, HOSTILE] == pytest.approx({0: 0.0, 1: 0.0})
    assert found[HOSTILE, B] == pytest.approx({0: 0.1, 1: 0.1})
    assert transfer.means(found)[A, B] == pytest.approx(0.2)
    assert len(found) == 6


def test_transfer_is_missing_without_pairs_or_without_plain_s1(root, tmp_path):
    assert transfer.matrix(runs_of(study_folder.write(tmp_path / "other", pairs=False))) == {}
    for seed in (0, 1):
        (root / f"seed-{seed}" / "per-task" / "t1" / "result.json").unlink()
    found = transfer.matrix(runs_of(root))
    assert (A, B) not in found
    assert (B, A) in found


def test_conflicts_over_time_are_those_of_each_part_and_add_up(root):
    multi = list(runs_of(root).multi.values())
    whole, parts = transfer.conflicts(multi), transfer.over_time(multi)
    assert whole.keys() == parts.keys()
    for pair, row in parts.items():
        assert [m.met for m in row] == [2 * STEPS // transfer.PARTS] * transfer.PARTS
        assert [m.frequency for m in row] == [1.0] * 5 + [0.0] * 5
        assert [m.mean_cosine for m in row] == pytest.approx([-0.5] * 5 + [0.25] * 5)
        summed = sum(row, transfer.Met())
        assert (summed.met, summed.negative) == (whole[pair].met, whole[pair].negative)
        assert summed.cosine == pytest.approx(whole[pair].cosine)
    assert whole[A, B].frequency == 0.5
    assert whole[A, B].mean_cosine == pytest.approx(-0.125)


def test_a_part_without_a_step_has_no_frequency(root):
    path = root / "seed-0" / "multi" / "metrics.jsonl"
    path.write_text(
        "".join(
            line for line in path.read_text().splitlines(keepends=True) if '"step": 20' in line or '"step": 1,' in line
        )
    )
    row = transfer.over_time([records.read(path.parent, root)])[A, B]
    assert [m.met for m in row] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 19]
    assert row[4].frequency is None


def test_overlap_is_shared_divided_by_all_and_nothing_without_labels():
    found = transfer.overlaps({"a": {"x", "y"}, "b": {"y", "z", "w"}, "c": set(), "d": {"q"}})
    assert found["a", "b"] == found["b", "a"] == 0.25
    assert found["a", "d"] == 0.0
    assert not any("c" in pair for pair in found)
    assert transfer.jaccard((), ()) is None


def test_label_names_come_from_the_test_statistics(root):
    (study,) = cells.find([root]).studies
    assert transfer.labels(study)[A] == {"Drug", "Effect"}
    assert transfer.overlaps(transfer.labels(study))[A, B] == pytest.approx(1 / 3)


def test_rank_correlation_needs_enough_pairs_that_vary():
    pairs = [(f"t{i}", f"t{j}") for i in range(3) for j in range(3) if i != j]
    transfers = {pair: float(k) for k, pair in enumerate(pairs)}
    up = {pair: value**3 for pair, value in transfers.items()}
    assert transfer.correlation(up, transfers) == transfer.Correlation(pytest.approx(1.0), 6)
    # Two of six ranks swapped: rho = 1 - 6 · 2 / (6 · 35), by hand.
    swapped = {**up, pairs[0]: up[pairs[1]], pairs[1]: up[pairs[0]]}
    assert transfer.correlation(swapped, transfers).rho == pytest.approx(1 - 12 / 210)
    assert transfer.correlation({p: v for p, v in up.items() if p != pairs[0]}, transfers) == transfer.Correlation(
        None, 5
    )
    assert transfer.correlation({**up, pairs[0]: None}, transfers).rho is None
    assert transfer.correlation(dict.fromkeys(pairs, 1.0), transfers) == transfer.Correlation(None, 6)


@pytest.fixture
def with_data(tmp_path: Path) -> Path:
    """The folder of a run on two tasks whose data lie in a folder."""
    data = tiny.make_data(tmp_path / "data", train=6, dev=2)
    tasks = ("ddi", "pubmedqa")
    folder = tmp_path / "run"
    config = Config(tasks=",".join(tasks), data_dir=data, cache_dir=tmp_path / "cache")
    study_folder.save(folder / "config.json", {"experiment": "s3b", "identity": {}, "settings": settings(config)})
    study_folder.save(folder / "data.json", {task: {"train": {"examples": 6}} for task in tasks})
    tokens = {"total": len(tasks), "per_task": dict.fromkeys(tasks, 1)}
    study_folder.save(
        folder / "result.json", {"experiment": "s3b", "digest": "of nothing", "seed": 0, "tokens": tokens}
    )
    return folder


def test_words_of_the_training_texts_are_read_from_the_data(with_data, tmp_path):
    found, why = transfer.vocabulary(records.read(with_data, tmp_path))
    assert why == ""
    texts = [row["text"] for row in tiny.rows("ddi", "train", 6)]
    assert found["ddi"] == set(" ".join(texts).split())
    assert "does" in found["pubmedqa"]  # the question, a first text, and the context, a second one
    assert found["pubmedqa"] & set(tiny.FILLERS)


def test_words_are_missing_with_a_reason_where_the_data_are_others_or_gone(with_data, tmp_path):
    path = tmp_path / "data" / "ddi" / "train.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    found, why = transfer.vocabulary(records.read(with_data, tmp_path))
    assert list(found) == ["pubmedqa"]
    assert why == "the data are not those of the runs any more: ddi"
    path.unlink()
    found, why = transfer.vocabulary(records.read(with_data, tmp_path))
    assert found == {}
    assert why.startswith("the training texts cannot be read: ")
    study_folder.save(with_data / "config.json", {})
    assert transfer.vocabulary(records.read(with_data, tmp_path))[0] == {}

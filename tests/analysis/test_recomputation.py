"""The verdict of a study against one that shares no line with it, both from the same predictions."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from mtlfn.analysis.command import verdict
from mtlfn.data import units
from mtlfn.data.embedded import worlds
from tests.analysis import recomputation
from tests.analysis.made import SHARE, TOTAL, digest, write_run

TASK, OTHER = "world_unrelated_target", "world_genuine_target"
SEEDS, MARGIN = 5, 0.05


def predict(folder: Path, task: str, right: float, rng: np.random.Generator) -> None:
    """Predictions that are right in about this share of the test texts, mostly the easy ones, and their statistics."""
    dataset = worlds.load(task)
    gold = [example.labels[0] for example in dataset.test]
    odd = {"left": "right", "right": "left"}
    easy = np.random.default_rng(1).standard_normal(len(gold))  # the same texts for every run
    sure = 0.9 * easy + np.sqrt(1 - 0.9**2) * rng.standard_normal(len(gold))
    limit = norm.ppf(right)
    said = [label if z < limit else odd[label] for label, z in zip(gold, sure, strict=True)]
    rows = (
        {"id": e.id, "unit": e.unit, "gold": list(e.labels), "prediction": p}
        for e, p in zip(dataset.test, said, strict=True)
    )
    (folder / "predictions" / f"{task}.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = units.to_json(dataset.task, units.statistics(dataset, "test", said))
    (folder / "predictions" / f"{task}.test.units.json").write_text(document)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(3)
    for seed in range(SEEDS):
        multi = write_run(root / f"multi-{seed}", "s3b", seed, {TASK: SHARE, OTHER: SHARE}, None)
        for task in (TASK, OTHER):
            predict(multi, task, 0.9, rng)
            for control, name, right in (("total", "total", 0.88), ("per-task", "plain", 0.7)):
                tokens = TOTAL if control == "total" else SHARE
                parent = {
                    "identity": "i",
                    "digest": digest(multi),
                    "experiment": "s3b",
                    "seed": seed,
                    "path": str(multi),
                }
                match = {"parent": parent, "control": control, "tasks": [task], "tokens": tokens, "frozen_slots": []}
                at = write_run(root / f"{name}-{task}-{seed}", "s1", seed, {task: tokens}, match)
                predict(at, task, right, rng)
    return root


def test_an_independent_recomputation_agrees(study: Path, tmp_path: Path) -> None:
    assert verdict([str(study), "--margin", str(MARGIN), "--draws", "40000", "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "verdict.json").read_text())["studies"][0]["tasks"]
    for task in (TASK, OTHER):
        again = recomputation.recompute(study, task, SEEDS, MARGIN)
        for i, side in enumerate(("controlled", "plain")):
            assert rows[task][side]["estimate"] == pytest.approx(again["estimates"][i], abs=1e-12)
            assert rows[task][side]["unit_variance"] > 0
            # Ends at 2.5 % of 40,000 draws; their noise has quantiles of 131,000 studies: to 5 % of half an interval.
            low, high = again["intervals"][i]
            assert rows[task][side]["interval_95"] == pytest.approx((low, high), abs=0.05 * (high - low) / 2)
        for claim, p in again["p"].items():
            assert rows[task]["p"][claim] == pytest.approx(p, abs=0.004), claim


def test_it_imports_nothing_of_the_project() -> None:
    tree = ast.parse(Path(recomputation.__file__).read_text())
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert {m.split(".")[0] for m in modules} == {
        "__future__",
        "collections",
        "json",
        "numpy",
        "pathlib",
        "scipy",
        "typing",
    }

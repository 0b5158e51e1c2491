"""Every kind of task can be learnt: a few examples are fitted almost perfectly in a few seconds."""

from __future__ import annotations

import pytest

from mtlfn.core import state
from mtlfn.core import step as stepping
from mtlfn.core.batch import Batch
from mtlfn.core.gradients import ENGINES
from mtlfn.core.schedule import Schedule
from mtlfn.data import metrics
from mtlfn.data.task import Dataset
from mtlfn.data.tokens import store
from mtlfn.data.tokens.collate import collate
from mtlfn.models import model
from mtlfn.run.one import evaluate
from tests import tiny

EXAMPLES = 10
TASKS = ("bc5cdr_disease", "ddi", "hoc", "pubmedqa", "answers", "mentions", "similarity")


@pytest.mark.parametrize(
    ("task", "engine"), [*((task, "merged") for task in TASKS), ("answers", "loop"), ("similarity", "loop")]
)
def test_a_few_examples_are_fitted(bert, cache, task, engine):
    built, corpora = tiny.build(bert, cache, (task,), settings={"dropout": 0.0})
    # A number is fitted more closely than a class is; ten of them would correlate by chance.
    most = 20 if task == "similarity" else EXAMPLES
    gold = tiny.datasets()[task].train[:most]
    corpus = corpora[task]
    count = min(most, len(corpus))
    batch = Batch((collate(corpus, range(count)),), {})
    rate = 1e-2 if task == "mentions" else 2e-2
    config = stepping.StepConfig(
        schedule=Schedule(peak=rate, schedule_tokens=10**9, warmup_ratio=0.0, decay="constant"),
        engine=ENGINES[engine],
        weight_decay=0.0,
        clip_norm=1.0,
    )
    run = stepping.build(config, tiny.loss_of(built), built.reach)
    current = state.init(tiny.KEY, model.init_params(built, tiny.KEY), (task,))
    first = None
    for _ in range(80):
        current = run(current, batch)
        first = first or current.last.loss[task]
        if current.last.loss[task] < 0.01:
            break
    assert current.last.loss[task] < 0.1 * first
    if task == "answers":  # scored as lists of candidates, trained as pairs of them
        dataset = Dataset(task=built.tasks[0], train=gold, dev=gold[:4])
        gold, corpus = dataset.dev, store.load(dataset, "dev", built.backbone.tokenizer, 64, cache)
    predicted = evaluate.predictions(built, current.params, corpus, gold, range(len(gold)))
    assert metrics.score(built.tasks[0], gold, predicted)[built.tasks[0].metric] > 0.95

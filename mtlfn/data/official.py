"""What an official task is: one value, with all that its files, examples, scores and prediction files need.

What its files hold stays beside the examples (``Dataset.gold``): documents, queries or labelled texts, each of which is
a unit. So scores are those of whole documents, whatever the examples could not hold.

The registry below names the modules of ``semeval``. A new task is a module and a line; a module is loaded when one of
its tasks is asked for: which tasks there are, their names alone tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from mtlfn.data.document import Log
    from mtlfn.data.example import Example
    from mtlfn.data.statistic import Row, Statistic
    from mtlfn.data.task import Dataset

Gold = Sequence[Any]  # documents, queries or labelled texts
Splits = Mapping[str, tuple[Any, ...]]  # train, dev, test -> the same


@frozen(kw_only=True, eq=False)
class Official:
    """An official task, or one of its subtasks.

    Predictions are one an example, as ``metrics.score`` reads them; "the predicted" below are (data set, gold, examples
    of it, their predictions).

    Attributes:
        name: as on the command line.
        folder: where its files lie in a data folder; subtasks share one.
        terms: where its data come from and on what terms, as their source states them.
        metric: name of the primary metric.
        statistic: what the metric is a function of; also what it is where there is neither gold nor a prediction.

        read: (folder, log) -> gold of every split, none for one without files.
        dataset: (name, gold of every split, folder, log) -> its data set.
        unit: one of the gold -> its name, which its examples have for their unit.
        held_out_by: one of the gold -> what a made split takes whole, where that is not the unit: what units of all
            subtasks of a folder are parts of.
        asked: one of the gold -> what predictions are compared with, as JSON: runs can be compared if its hash agrees.

        rows: the predicted -> a unit and a row of the statistic each.
        total: the predicted -> the row of all units; None: the sum of ``rows``. For sums of fractions, whose last bit
            depends on their order: the digest of a run holds its score.
        scores: the predicted -> metric name -> value by the organisers' rules, which know the primary metric too.
        write: (data set, split, folder, predictions) writes the organisers' prediction file or files below the folder.
    """

    name: str
    folder: str
    terms: str
    metric: str
    statistic: Statistic

    read: Callable[[Path, Log], Splits]
    dataset: Callable[[str, Splits, Path, Log], Dataset]
    unit: Callable[[Any], str] = lambda gold: gold.id
    held_out_by: Callable[[Any], str] | None = None
    asked: Callable[[Any], Any]

    rows: Callable[[Dataset, Gold, Sequence[Example], Sequence[Any]], Iterable[tuple[str, Row]]]
    total: Callable[[Dataset, Gold, Sequence[Example], Sequence[Any]], Row] | None = None
    scores: Callable[[Dataset, Gold, Sequence[Example], Sequence[Any]], dict[str, float]]
    write: Callable[[Dataset, str, Path, Sequence[Any]], None]


MODULES = {  # module -> the official tasks in it, as its ``TASKS`` names them
    "semeval2014_t7": ("semeval2014_t7",),
    "semeval2015_t14": ("semeval2015_t14",),
    "semeval2016_t12": ("semeval2016_t12", "semeval2016_t12_spans"),
    "semeval2017_t3": ("semeval2017_t3", "semeval2017_t3_b", "semeval2017_t3_c"),
    "semeval2021_t6": ("semeval2021_t6", "semeval2021_t6_labels"),
}
_MODULE_OF = {name: module for module, names in MODULES.items() for name in names}


@cache
def _load(module: str) -> Mapping[str, Official]:
    return {task.name: task for task in import_module(f"mtlfn.data.semeval.{module}").TASKS}


class _Registry(Mapping[str, Official]):
    def __getitem__(self, name: str) -> Official:
        return _load(_MODULE_OF[name])[name]

    def __contains__(self, name: object) -> bool:
        return name in _MODULE_OF

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULE_OF)

    def __len__(self) -> int:
        return len(_MODULE_OF)


OFFICIAL: Mapping[str, Official] = _Registry()

"""SemEval-2014 Task 7, Analysis of Clinical Text: disorders, and with a dictionary their concepts (Task B)."""

from __future__ import annotations

from functools import partial

from mtlfn.data.document import mentions_and_links
from mtlfn.data.official import Official
from mtlfn.data.semeval import disorders
from mtlfn.data.semeval.formats import semeval2014_t7 as files
from mtlfn.data.statistic import SET_F1

TASKS = (
    Official(
        name="semeval2014_t7",
        folder="semeval2014_t7",
        terms=disorders.TERMS,
        metric="strict_f1",
        statistic=SET_F1,
        read=files.read,
        dataset=disorders.dataset,
        asked=mentions_and_links,
        rows=disorders.rows,
        scores=partial(disorders.scores, with_cui=("strict_accuracy", "relaxed_accuracy")),
        write=partial(disorders.write, files.write),
    ),
)

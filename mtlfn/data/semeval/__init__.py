"""The SemEval tasks from the organisers' files: a module each, and this registry. A new one is a module and a line.

A module is loaded when one of its tasks is asked for: which tasks there are, their names alone tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from mtlfn.data.semeval.official import Official

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
    return {task.name: task for task in import_module(f"{__name__}.{module}").TASKS}


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

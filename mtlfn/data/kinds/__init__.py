"""The kinds of task: a module each, and this registry. A new one is a module, a head, and a line in both registries.

A module is loaded when its kind is asked for: `--help` needs their names alone, and not numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from mtlfn.data.kinds.kind import Kind

NAMES = ("tagging", "spans", "relation", "ranking", "classification", "multilabel", "regression", "graded")


@cache
def _load(name: str) -> Kind:
    return import_module(f"{__name__}.{name}").KIND


class _Registry(Mapping[str, Kind]):
    def __getitem__(self, name: str) -> Kind:
        if name not in NAMES:
            raise KeyError(name)
        return _load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


KINDS: Mapping[str, Kind] = _Registry()

"""mtlfn: token-controlled multi-task fine-tuning that repeats to the bit.

The names below are the ones to build on; each is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlfn.analysis.study import judge
    from mtlfn.core.batch import Batch, Cursor, MicroBatch
    from mtlfn.core.gradients import ENGINES
    from mtlfn.core.pcgrad import project
    from mtlfn.core.schedule import Schedule
    from mtlfn.core.state import State, digest
    from mtlfn.core.state import init as init_state
    from mtlfn.core.step import StepConfig
    from mtlfn.core.step import build as build_step
    from mtlfn.core.tokens import TokenCount
    from mtlfn.run.one.predictor import Predictor, load

__version__ = "0.1.0"
__all__ = ["ENGINES", "Batch", "Cursor", "MicroBatch", "Predictor", "Schedule", "State", "StepConfig", "TokenCount"]
__all__ += ["build_step", "digest", "init_state", "judge", "load", "project"]

_PLACES = {
    "ENGINES": ("mtlfn.core.gradients", "ENGINES"),
    "Batch": ("mtlfn.core.batch", "Batch"),
    "Cursor": ("mtlfn.core.batch", "Cursor"),
    "MicroBatch": ("mtlfn.core.batch", "MicroBatch"),
    "Predictor": ("mtlfn.run.one.predictor", "Predictor"),
    "Schedule": ("mtlfn.core.schedule", "Schedule"),
    "State": ("mtlfn.core.state", "State"),
    "StepConfig": ("mtlfn.core.step", "StepConfig"),
    "TokenCount": ("mtlfn.core.tokens", "TokenCount"),
    "build_step": ("mtlfn.core.step", "build"),
    "digest": ("mtlfn.core.state", "digest"),
    "init_state": ("mtlfn.core.state", "init"),
    "judge": ("mtlfn.analysis.study", "judge"),
    "load": ("mtlfn.run.one.predictor", "load"),
    "project": ("mtlfn.core.pcgrad", "project"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

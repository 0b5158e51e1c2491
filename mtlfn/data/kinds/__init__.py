"""The kinds of task: a module each, and this registry. A new one is a module, a head, and a line in both registries."""

from __future__ import annotations

from collections.abc import Mapping

from mtlfn.data.kinds import classification, multilabel, ranking, regression, relation, spans, tagging
from mtlfn.data.kinds.kind import Kind

KINDS: Mapping[str, Kind] = {
    "tagging": tagging.KIND,
    "spans": spans.KIND,
    "relation": relation.KIND,
    "ranking": ranking.KIND,
    "classification": classification.KIND,
    "multilabel": multilabel.KIND,
    "regression": regression.KIND,
}

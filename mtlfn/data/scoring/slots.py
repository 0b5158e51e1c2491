"""SemEval-2015 task 14, task 2: what is said about a disorder, in nine slots, of which rare values weigh more.

Disorders are matched by span as in the relaxed score of task 1, CUIs not looked at; slots are compared on the matched
ones only. Cues are not scored.
"""

from __future__ import annotations

from collections.abc import Iterable

from mtlfn.data.document import Mention
from mtlfn.data.scoring.spans import Mentions, Pieces, matched, ratio

# Attribute -> the value where a mention has none. A disorder without CUI agrees only with another without.
DEFAULTS = {
    "cui": "",
    "negation": "no",
    "subject": "patient",
    "uncertainty": "no",
    "course": "unmarked",
    "severity": "unmarked",
    "conditional": "false",
    "generic": "false",
    "bodyloc": "null",
}

# Attribute -> gold value -> weight. The official table spells "doner_other", the annotation "donor_other", which so
# has none: such a subject changes no weighted accuracy, right or wrong. CUI and body location are in ``_weight``.
WEIGHTS = {
    "negation": {"no": 0.21, "yes": 0.79},
    "subject": {"patient": 0.05, "family_member": 0.95, "other": 0.95, "doner_other": 0.95},
    "uncertainty": {"no": 0.07, "yes": 0.93},
    "course": {
        "unmarked": 0.05,
        **dict.fromkeys(("changed", "increased", "decreased", "improved", "worsened", "resolved"), 0.95),
    },
    "severity": {"unmarked": 0.08, "slight": 0.95, "moderate": 0.95, "severe": 0.95},
    "conditional": {"false": 0.06, "true": 0.94},
    "generic": {"false": 0.05, "true": 0.95},
}

Slots = dict[str, frozenset[str]]  # attribute -> its value, of body locations all


def slots(gold: Mentions, predicted: Mentions) -> dict[str, float]:
    """Accuracies of slots over the disorders matched by span.

    Returns:
        span_precision, span_recall, span_f1: of the matching. accuracy: right slots of nine, mean over the matched
        disorders. weighted_accuracy: weight of the right slots by the weight of all nine, weights being those of the
        gold values, mean over the same. f1_accuracy, f1_weighted_accuracy: the two times span_f1.
        "weighted_accuracy:<attribute>": the same quotient for one slot, over all matched disorders together. Without
        a matched disorder, or where no gold value has a weight, it is 0.

    Letter case does not matter. A body location is right if one value is shared. Of two disorders with the same
    pieces the last one counts, with the body locations of both. A gold value that is not in the table weighs nothing.
    Predictions for a document without a gold disorder are left out.
    """
    total = predictions = 0
    pairs: list[tuple[Slots, Slots]] = []
    for name, mentions in gold.items():
        wanted = _disorders(mentions)
        given = _disorders(predicted.get(name, ())) if wanted else {}
        total, predictions = total + len(wanted), predictions + len(given)
        for at, other in sorted(matched(wanted, given, lambda _gold, _given: True).items()):
            pairs.append((wanted[at], given[other]))
    f1 = ratio(2 * len(pairs), total + predictions)
    right = [[slot for slot in DEFAULTS if g[slot] & p[slot]] for g, p in pairs]
    weights = [{slot: _weight(slot, g[slot]) for slot in DEFAULTS} for g, _ in pairs]
    both = list(zip(right, weights, strict=True))
    accuracy = ratio(sum(map(len, right)), len(DEFAULTS) * len(pairs))
    weighted = ratio(sum(ratio(sum(w[slot] for slot in r), sum(w.values())) for r, w in both), len(pairs))
    by_slot = {
        slot: ratio(sum(w[slot] for r, w in both if slot in r), sum(w[slot] for _, w in both)) for slot in DEFAULTS
    }
    return {
        "span_precision": ratio(len(pairs), predictions),
        "span_recall": ratio(len(pairs), total),
        "span_f1": f1,
        "accuracy": accuracy,
        "weighted_accuracy": weighted,
        "f1_accuracy": f1 * accuracy,
        "f1_weighted_accuracy": f1 * weighted,
        **{f"weighted_accuracy:{slot}": value for slot, value in by_slot.items()},
    }


def _disorders(mentions: Iterable[Mention]) -> dict[Pieces, Slots]:
    disorders: dict[Pieces, Slots] = {}
    for mention in mentions:
        values = {slot: frozenset([(mention[slot] or default).lower()]) for slot, default in DEFAULTS.items()}
        places = frozenset(value.lower() for name, value in mention.attributes if name == "bodyloc")
        earlier = disorders.get(mention.pieces, {}).get("bodyloc", frozenset())
        disorders[mention.pieces] = values | {"bodyloc": (places or values["bodyloc"]) | earlier}
    return disorders


def _weight(slot: str, values: frozenset[str]) -> float:
    """Of a gold value: any CUI counts the same, a disorder with a body location among its values has one."""
    if slot == "cui":
        return 1.0
    if slot == "bodyloc":
        return 0.51 if values == {"null"} else 0.49
    (value,) = values
    return WEIGHTS[slot].get(value, 0.0)

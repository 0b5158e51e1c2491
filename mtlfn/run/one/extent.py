"""How far the data reach: which numbers a backbone meets in them, and how large a pass through it becomes."""

from __future__ import annotations

from collections.abc import Mapping

from mtlfn.data.tokens.store import Corpus
from mtlfn.data.tokens.stream import example_sizes
from mtlfn.models.backbone import Backbone
from mtlfn.run.errors import UsageError
from mtlfn.run.one.evaluate import SLOTS


def check_vocabulary(base: Backbone, corpora: Mapping[str, Mapping[str, Corpus]]) -> None:
    """UsageError where the tokenizer gives what the model has no embedding of."""
    config = base.model.config
    limits = [("ids", "token", base.model.get_input_embeddings().weight.shape[0], "the embeddings have")]
    if "token_type_ids" in base.model.reading.takes:
        limits.append(("types", "token type", config.type_vocab_size, "the configuration has"))
    for column, what, count, who in limits:
        for splits in corpora.values():
            for task, corpus in splits.items():
                most = int(getattr(corpus, column).max(initial=0))
                if most >= count:
                    raise UsageError(
                        f"--backbone {base.name}: task {task} has the {what} {most}, and {who} {count}: the tokenizer "
                        "is another model's, or was given tokens that the model was not"
                    )


def largest_pass(corpora: Mapping[str, Mapping[str, Corpus]], micro_batch: int, per_step: int) -> int:
    """Slots of the largest pass through the backbone: a step's micro-batches, or one of an evaluation."""

    def longest(corpus: Corpus) -> int:
        rows, width = example_sizes(corpus)
        return int((rows * width).max(initial=0))

    of_a_step = max(max(micro_batch, longest(corpus)) for corpus in corpora["train"].values()) * per_step
    evaluated = [longest(corpus) for split in ("dev", "test") for corpus in corpora[split].values()]
    return max(of_a_step, SLOTS, *evaluated)

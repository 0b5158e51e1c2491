"""Classification: one linear layer on the whole sequence. Logits: [rows, classes]."""

from __future__ import annotations

from mtlfn.models.heads.classes import by_frequency, cross_entropy_sum, likeliest
from mtlfn.models.heads.head import Head, of_pooled, one_linear

HEAD = Head(
    init=one_linear,
    logits=of_pooled,
    loss_sum=cross_entropy_sum,
    decode=likeliest,
    class_weights=by_frequency(-0.75),
)

"""Every family of backbones is read as stock transformers computes it, trains with every strategy, and exports."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from mtlfn.core.gradients import TaskGradients
from mtlfn.models import backbone, families, layout, lora, model, proof
from mtlfn.models.strategy import STRATEGIES
from tests import tiny
from tests.models.families import FAMILIES, make
from tests.models.test_engines import distance, take, whole

TASKS = ("bc5cdr_disease", "spans", "ddi", "hoc")
SIZES = (("bc5cdr_disease", 3), ("spans", 2), ("ddi", 3), ("ddi", 2), ("hoc", 2))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory) -> tuple[str, Path]:
    return request.param, make(request.param, tmp_path_factory.mktemp("family") / request.param)


def test_it_is_proven_to_compute_what_stock_transformers_computes(family, monkeypatch):
    name, folder = family
    base, about = backbone.load(str(folder)), FAMILIES[name]
    assert base.model.config.model_type in families.KNOWN
    monkeypatch.setattr(proof, "KNOWN", ())  # in many slots, too
    found = proof.prove(base, 64, 3000)
    assert (found.way, base.way, base.causal) == (about.way, about.way, about.causal)
    assert found.difference <= proof.TOLERANCE
    assert bool(found.why) == (about.way == "padded")
    assert tuple(sorted(lora._targets(base, "default"))) == about.targets


@pytest.mark.parametrize("strategy", ["s3b", *(pytest.param(name, marks=pytest.mark.slow) for name in ("s2", "s3a"))])
def test_it_trains_alike_with_both_engines_and_exports(family, strategy, cache, tmp_path):
    """Trained means: gradients of every task and tensor, from which any step follows."""
    _, folder = family
    settings = {"strategy": STRATEGIES[strategy], "settings": {"dropout": 0.2}}
    built, corpora = tiny.build(folder, cache, TASKS, **settings)
    params = tiny.stirred(model.init_params(built, tiny.KEY))
    batch = tiny.batch(corpora, *SIZES)

    def gradients(engine: str, built: model.Model = built) -> TaskGradients:
        return take(engine, SimpleNamespace(built=built, params=params, loss=tiny.loss_of(built)), batch)

    merged = gradients("merged")
    assert whole(merged).isfinite().all()
    assert all(bool(row.any()) for names in merged.rows.values() for rows in names.values() for row in rows)
    assert distance(whole(merged), whole(gradients("loop"))) < 2e-5
    if strategy == "s3b":
        again, _ = tiny.build(folder, cache, TASKS, recompute=True, **settings)
        assert torch.equal(whole(gradients("merged", again)), whole(merged))
    _compare_with_stock(built, params, list(batch.micro_batches), folder, tmp_path)


def _compare_with_stock(built: model.Model, params, parts: list, folder: Path, out: Path) -> None:
    """Hidden states of one pass over all micro-batches and those of stock PEFT on the stock model, task by task."""
    import peft
    from transformers import AutoModel

    tiny.export(built, params, out)
    rectangles, leaving = model._rectangles(built, parts)
    with torch.no_grad():
        top, features = model.hidden_states(built, params, parts, layout.lay_out(rectangles, leaving), None)
    assert (features is not None) == built.strategy.hierarchical
    base = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # peft asks transformers by a name soon dropped
        adapted = peft.PeftModel.from_pretrained(base, out / TASKS[0], adapter_name=TASKS[0])
        for task in TASKS[1:]:
            adapted.load_adapter(out / task, adapter_name=task)
    adapted.eval()
    for m, r in zip(parts, rectangles, strict=True):
        inside, settings = r.inside(), {"output_hidden_states": True}
        if "use_cache" in built.backbone.model.reading.takes:
            settings["use_cache"] = False
        adapted.set_adapter(m.task)
        with torch.no_grad():
            found = adapted(input_ids=m.inputs.input_ids, attention_mask=inside.long(), **settings)
            with adapted.disable_adapter():
                bare = adapted(input_ids=m.inputs.input_ids, attention_mask=inside.long(), **settings)
        assert not torch.allclose(bare.last_hidden_state[inside], found.last_hidden_state[inside], atol=1e-3)
        if features is not None:
            _close(tiny.slots_of(r, features)[inside], found.hidden_states[built.read_out][inside])
        if r.start >= leaving:
            above = layout.Rectangle(r.start - leaving, r.rows, r.width)
            _close(tiny.slots_of(above, top)[inside], found.last_hidden_state[inside])


def _close(ours: Tensor, theirs: Tensor) -> None:
    assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.abs().max())

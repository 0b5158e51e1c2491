"""An export is a standard PEFT adapter: stock `peft` on the stock backbone gives our hidden states to the bit."""

from __future__ import annotations

import json
import socket
import warnings
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from mtlfn.core import state
from mtlfn.core import step as stepping
from mtlfn.core.schedule import Schedule
from mtlfn.models import backbone, layout, model
from tests import tiny

TASKS = ("bc5cdr_disease", "ddi", "answers")


def trained(built, corpora, steps: int) -> dict:
    """The parameters after a few real steps."""
    config = stepping.StepConfig(schedule=Schedule(peak=1e-2, schedule_tokens=10_000, warmup_ratio=0.0))
    run = stepping.build(config, tiny.loss_of(built), built.reach)
    current = state.init(tiny.KEY, model.init_params(built, tiny.KEY), TASKS)
    for i in range(steps):
        current = run(current, tiny.batch(corpora, ("bc5cdr_disease", 3), ("ddi", 3), ("answers", 1), start=i))
    return current.params


@pytest.fixture(scope="module", params=["bert", "llama", "minilm"])
def exported(request: pytest.FixtureRequest, cache, tmp_path_factory):
    """A trained model and its export, made while no socket can be opened."""
    if request.param == "minilm":
        folder, name = str(backbone._minilm_folder()), "minilm"
    else:
        folder = name = request.getfixturevalue(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", no_network)
        built, corpora = tiny.build(name, cache, TASKS)
        params, out = trained(built, corpora, 3), tmp_path_factory.mktemp("export")
        tiny.export(built, params, out)
    return SimpleNamespace(folder=folder, built=built, corpora=corpora, params=params, out=out)


def no_network(*_, **__):
    raise AssertionError("a socket was opened")


def stock(folder: str):
    from transformers import AutoModel

    causal = "llama" in str(folder)
    extra = {} if causal else {"add_pooling_layer": False}
    return AutoModel.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32, **extra)


@pytest.mark.parametrize("task", TASKS)
def test_stock_peft_gives_our_hidden_states_to_the_bit(exported, task, monkeypatch):
    import peft

    built = exported.built
    # One row: nothing is padded, so that a stock decoder needs no mask and adds up in our order.
    sizes = [(task, 3)] if not built.backbone.causal and task != "answers" else [(task, 1)]
    parts = list(tiny.batch(exported.corpora, *sizes).micro_batches)
    (m,) = parts
    rows, width = m.inputs.input_ids.shape
    inside = torch.arange(width) < m.inputs.lengths[:, None]
    mask = None if inside.all() else inside
    placed = layout.lay_out([layout.Rectangle(0, rows, width, mask)])
    monkeypatch.setattr(socket, "socket", no_network)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # peft asks transformers by a name soon dropped
        adapted = peft.PeftModel.from_pretrained(stock(exported.folder), exported.out / task).eval()
    types = {} if built.backbone.causal else {"token_type_ids": m.inputs.token_types}
    with torch.no_grad():
        top, features = model.hidden_states(built, exported.params, parts, placed, None)
        theirs = adapted(input_ids=m.inputs.input_ids, attention_mask=inside.long(), output_hidden_states=True, **types)
    layer = json.loads((exported.out / task / "head.json").read_text())["reads_layer"]
    assert layer == (built.read_out if task == "bc5cdr_disease" else len(built.backbone.layers))
    ours = tiny.slots_of(placed.rectangles[0], features if task == "bc5cdr_disease" else top)
    found = theirs.last_hidden_state if layer == len(built.backbone.layers) else theirs.hidden_states[layer]
    if built.backbone.causal and mask is not None:
        torch.testing.assert_close(ours[inside], found[inside], rtol=0, atol=1e-5)
    else:
        assert torch.equal(ours[inside], found[inside])

    with torch.no_grad(), adapted.disable_adapter():
        bare = adapted(input_ids=m.inputs.input_ids, attention_mask=inside.long(), **types).last_hidden_state
    assert not torch.allclose(bare[inside], theirs.last_hidden_state[inside], atol=1e-4)  # the adapter does something


@pytest.mark.parametrize("task", TASKS)
def test_the_files_name_the_base_by_hub_id_or_digest_and_no_local_path(exported, task):
    base, folder = exported.built.backbone, exported.out / task
    config = json.loads((folder / "adapter_config.json").read_text())
    local = base.name != "minilm"
    named = f"sha256:{base.digest}" if local else "sentence-transformers/all-MiniLM-L6-v2"
    assert config["base_model_name_or_path"] == named
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (24, 48, "LORA")
    assert config["target_modules"] == sorted(config["target_modules"])
    for path in folder.iterdir():
        assert str(exported.folder).encode() not in path.read_bytes(), path.name
        assert str(exported.out).encode() not in path.read_bytes(), path.name
    card = (folder / "README.md").read_text()
    assert base.digest in card
    assert ("base_model: sentence-transformers/all-MiniLM-L6-v2" in card) != local


@pytest.mark.parametrize("task", TASKS)
def test_the_card_says_how_to_load_and_what_the_head_reads(exported, task, monkeypatch):
    """Its code runs, in the folder of the export, with the base where it says."""
    card = (exported.out / task / "README.md").read_text()
    code = card.partition("```python\n")[2].partition("```")[0]
    source = exported.built.backbone.hub_id or "FOLDER"
    assert f'"{source}"' in code
    monkeypatch.chdir(exported.out / task)
    monkeypatch.setattr(socket, "socket", no_network)
    found: dict = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # peft asks transformers by a name soon dropped
        exec(code.replace(f'"{source}"', repr(str(exported.folder))), found)
    assert found["model"].peft_config["default"].r == 24
    reads = "hidden_states[2]" if task == "bc5cdr_disease" else "last_hidden_state"
    layer = len(exported.built.backbone.layers) // 2
    assert f"reads\n`{reads.replace('2', str(layer))}`" in card
    assert ("cross-level attention" in card) == (task != "bc5cdr_disease")


def test_another_class_than_the_one_it_belongs_to_is_refused_or_warned_of(exported):
    import peft
    from transformers import AutoModelForSequenceClassification

    with pytest.raises(ValueError, match="PeftModelForFeatureExtraction"):
        peft.AutoPeftModelForSequenceClassification.from_pretrained(exported.out / "ddi")
    with warnings.catch_warnings(record=True) as caught, torch.random.fork_rng(devices=[]):
        warnings.simplefilter("always")
        other = AutoModelForSequenceClassification.from_pretrained(exported.folder)
        peft.PeftModel.from_pretrained(other, exported.out / "ddi")
    assert any("missing adapter keys" in str(each.message) for each in caught)


def test_each_task_has_its_adapter_and_head_and_nothing_else_is_left(exported):
    assert sorted(p.name for p in exported.out.iterdir()) == sorted(TASKS)
    built = exported.built
    for task in TASKS:
        tensors = load_file(exported.out / task / "head.safetensors")
        names = set(exported.params[f"head/{task}"])
        if task != "bc5cdr_disease":
            names |= {f"cross_attention.{name}" for name in exported.params["cross_attention"]}
        assert set(tensors) == names
        for name, value in exported.params[f"head/{task}"].items():
            assert torch.equal(tensors[name], value)
        about = json.loads((exported.out / task / "head.json").read_text())
        assert about["backbone_digest"] == built.backbone.digest
        assert about["task"]["name"] == task


def test_the_ranks_are_shared_then_the_levels_own(exported):
    from mtlfn.models.strategy import S3B, slots_at

    adapter = load_file(exported.out / "ddi" / "adapter_model.safetensors")
    assert len(adapter) == 2 * len(exported.built.linears)
    for linear in exported.built.linears:
        slots = [slot.name for slot in slots_at(S3B, linear.layer, exported.built.read_out)]
        assert slots == ["shared", "level1" if linear.layer < exported.built.read_out else "level2"]
        for part, dim in (("lora_A", 0), ("lora_B", 1)):
            blocks = [exported.params[slot][f"{linear.name}.{part}"] for slot in slots]
            found = adapter[f"base_model.model.{linear.name}.{part}.weight"]
            assert torch.equal(found, torch.cat(blocks, dim))


def test_exporting_again_replaces_and_changes_no_parameter(exported):
    before = state.digest(exported.params)
    was = {p: p.read_bytes() for p in sorted(exported.out.rglob("*")) if p.is_file()}
    tiny.export(exported.built, exported.params, exported.out)
    assert {p: p.read_bytes() for p in sorted(exported.out.rglob("*")) if p.is_file()} == was
    assert state.digest(exported.params) == before

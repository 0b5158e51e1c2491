"""A model in use: its predictions are those of the run that made it, to the bit, from its export alone."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import mtlfn
from mtlfn.data.example import DataError, Example
from mtlfn.data.task import Dataset, Task
from mtlfn.data.tokens import store
from mtlfn.models import backbone, model
from mtlfn.models.strategy import S1, S2, S3A, S3B, Strategy
from mtlfn.run.commands import predict as command
from mtlfn.run.commands.command import predict
from mtlfn.run.errors import UsageError
from mtlfn.run.one import evaluate, export
from mtlfn.run.one.predictor import _place
from tests import tiny
from tests.run.conftest import contents

TASKS = ("bc5cdr_disease", "mentions", "ddi", "hoc", "pubmedqa", "answers", "similarity")
GATED, ATTENTION = (attrs.evolve(S3A, fusion=fusion) for fusion in ("gated", "attention"))
HIERARCHICAL_S1 = attrs.evolve(S1, hierarchical=True)


def row(task: Task, example: Example) -> dict[str, Any]:
    """What a user has of an example: everything but the answer."""
    ((text, second), *_) = example.texts
    if task.kind == "tagging":
        return {"tokens": [text[a:b] for a, b in example.words]}
    if task.kind in ("ranking", "graded"):
        return {"query": text, "candidates": [candidate for _, candidate in example.texts]}
    if task.kind == "relation":
        return {"text": text, "head": [list(p) for p in example.head], "tail": [list(p) for p in example.tail]}
    return {"text": text} | ({"text_pair": second} if second is not None else {})


@pytest.mark.parametrize(
    ("strategy", "tasks", "base"),
    [
        (S3B, TASKS, "bert"),
        (S3B, TASKS, "llama"),
        (S2, TASKS, "bert"),
        (S3A, TASKS, "bert"),
        (GATED, TASKS, "bert"),
        (ATTENTION, TASKS, "bert"),
        (S1, ("mentions",), "bert"),
        (HIERARCHICAL_S1, ("bc5cdr_disease",), "bert"),
        (HIERARCHICAL_S1, ("ddi",), "bert"),
    ],
    ids=lambda value: value.name + value.fusion if isinstance(value, Strategy) else None,
)
def test_predictions_from_an_export_are_the_models_own(request, cache, tmp_path, monkeypatch, strategy, tasks, base):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    folder = request.getfixturevalue(base)
    built, _ = tiny.build(folder, cache, tasks, strategy=strategy)
    params = tiny.stirred(model.init_params(built, tiny.KEY), 0.3)
    if "mentions" in tasks:  # as if it had learnt that there are any
        params["head/mentions"]["out.bias"] = torch.zeros_like(params["head/mentions"]["out.bias"])
    tiny.export(built, params, tmp_path)
    data, varied = tiny.datasets(), 0
    for name in tasks:
        dataset = data[name]
        corpus = store.load(dataset, "dev", built.backbone.tokenizer, 64, cache)
        usual = evaluate.usual_class(dataset.task, dataset.train)
        own = evaluate.predictions(built, params, corpus, dataset.dev, range(len(dataset.dev)), usual)
        predictor = mtlfn.load(tmp_path / name, backbone=str(folder), device="cpu")
        used = predictor([row(dataset.task, e) for e in dataset.dev])
        in_order = [sorted(p, key=lambda m: (m[1], m[0])) for p in own] if dataset.task.kind == "spans" else own
        assert used == in_order, name
        varied += any(str(p) != str(used[0]) for p in used[1:])
    assert varied >= max(len(tasks) - 1, 1)  # of equal ones, any would do


def graded() -> Dataset:
    """The ranking of the tiny data, its labels as grades."""
    answers = tiny.datasets()["answers"]
    task = Task(name="grades", kind="graded", level=2)
    made = {
        split: tuple(
            attrs.evolve(e, labels=tuple(str(2 * (label == "relevant")) for label in e.labels)) for e in answers[split]
        )
        for split in ("train", "dev")
    }
    return Dataset(task=task, **made)


@pytest.mark.parametrize("strategy", [S1, S3B], ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("name", ["answers", "similarity", "grades"])
def test_what_was_made_without_padding_predicts_without(bert, cache, tmp_path, monkeypatch, strategy, name):
    """Numbers, in which every bit shows: attention over other groups of rows adds up in another order."""
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    made, own = {**tiny.datasets(), "grades": graded()}, {}
    monkeypatch.setattr(tiny, "datasets", lambda: made)
    for unpad in (False, True):
        built, _ = tiny.build(bert, cache, (name,), strategy=strategy, unpad=unpad)
        params = tiny.stirred(model.init_params(built, tiny.KEY), 0.3)
        dataset, folder = tiny.datasets()[name], tmp_path / str(unpad)
        tiny.export(built, params, folder)
        corpus = store.load(dataset, "dev", built.backbone.tokenizer, 64, cache)
        own[unpad] = evaluate.predictions(built, params, corpus, dataset.dev, range(len(dataset.dev)))
        predictor = mtlfn.load(folder / name, backbone=str(bert), device="cpu")
        assert predictor([row(dataset.task, e) for e in dataset.dev]) == own[unpad]
    assert own[True] != own[False]  # else the test shows nothing


def test_an_export_that_does_not_speak_of_padding_was_made_with_it(bert, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    built, _ = tiny.build(bert, cache, ("similarity",), strategy=S1)
    tiny.export(built, model.init_params(built, tiny.KEY), tmp_path)
    assert "unpad" not in json.loads((tmp_path / "similarity/predict.json").read_text())
    assert not mtlfn.load(tmp_path / "similarity", backbone=str(bert), device="cpu").model.unpad


def test_a_run_predicts_what_it_predicted(go, out, tmp_path, capfd):
    _, folder = out
    for task, name in (("bc5cdr_disease", "tagged.jsonl"), ("ddi", "related.jsonl.gz")):
        lines = [json.loads(line) for line in (folder / "predictions" / f"{task}.dev.jsonl").read_text().splitlines()]
        rows = tiny.rows(task, "dev", len(lines))
        if task == "ddi":
            rows = [{**r, "head": r["head"]["spans"], "tail": r["tail"]["spans"]} for r in rows]
        written(tmp_path / name, rows)
        to = tmp_path / "new" / f"{task}.jsonl"
        assert predict([str(folder), "--task", task, "--input", str(tmp_path / name), "--output", str(to)]) == 0
        assert "8 predictions" in capfd.readouterr().err
        predicted = [json.loads(line) for line in to.read_text().splitlines()]
        assert [(p["id"], p["prediction"]) for p in predicted] == [(p["id"], p["prediction"]) for p in lines]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["bc5cdr_disease.jsonl", "ddi.jsonl"]


def test_what_is_no_file_is_not_replaced(out, tmp_path, capfd):
    """A device, a pipe or a folder of that name stays what it is."""
    written(tmp_path / "rows.jsonl", tiny.rows("bc5cdr_disease", "dev", 2))
    os.mkfifo(tmp_path / "pipe")
    for output in (tmp_path / "pipe", tmp_path, "", "."):
        asked = [str(out[1]), "--task", "bc5cdr_disease", "--input", str(tmp_path / "rows.jsonl")]
        assert predict([*asked, "--output", str(output)]) == 2
        assert "is no file that can be written; name another" in capfd.readouterr().err
    assert (tmp_path / "pipe").is_fifo()


def written(path: Path, rows: list[dict]) -> None:
    import gzip

    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("predicting")


@pytest.fixture
def out(go, made, warm, monkeypatch) -> tuple[Path, Path]:
    """The cache and a finished run."""
    monkeypatch.setenv("MTLFN_CACHE", str(warm))
    if not (made / "run").exists():
        assert go(output_dir=made / "run").code == 0
    return warm, made / "run"


def test_no_tensor_of_a_model_lies_where_its_file_has_it(out):
    """Products of unaligned numbers add up in another order; a run's own are where torch allocates them."""
    for task in ("bc5cdr_disease", "ddi"):
        loaded = mtlfn.load(out[1], task, device="cpu")
        tensors = [value for names in loaded.params.values() for value in names.values()]
        assert not any(tensor.data_ptr() % 64 for tensor in [*tensors, *loaded.model.backbone.model.parameters()])


def test_a_text_a_line_is_read_as_words(out, tmp_path, capfd):
    (tmp_path / "notes.txt").write_text("the patient had asthma, and fever\n\nno gout\n")
    assert predict([str(out[1]), "--task", "bc5cdr_disease", "--input", str(tmp_path / "notes.txt")]) == 0
    first, second = (json.loads(line) for line in capfd.readouterr().out.splitlines())
    assert first["tokens"] == ["the", "patient", "had", "asthma", ",", "and", "fever"]
    assert len(first["prediction"]) == 7
    assert (first["id"], second["id"]) == ("1", "3")


def test_a_long_text_is_read_whole(cache, bert, tmp_path, monkeypatch):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    built, _ = tiny.build(bert, cache, ("mentions",), strategy=S1)
    params = tiny.stirred(model.init_params(built, tiny.KEY), 0.3)
    params["head/mentions"]["out.bias"] = torch.zeros_like(params["head/mentions"]["out.bias"])
    tiny.export(built, params, tmp_path)
    text = "the patient had aspirin and codeine . " * 60  # 420 words, in windows of 100
    (mentions,) = mtlfn.load(tmp_path / "mentions", backbone=str(bert), device="cpu")([text])
    assert mentions == sorted(mentions, key=lambda mention: (mention[1], mention[0]))
    starts = [pieces[0][0] for _, pieces in mentions]
    assert min(starts) < len(text) / 5
    assert max(starts) > len(text) / 2
    assert all(0 <= a < b <= len(text) and text[a:b].strip() == text[a:b] for _, p in mentions for a, b in p)


@pytest.mark.parametrize(
    ("task", "line", "said"),
    [
        (
            "ddi",
            {"text": "aspirin meets heparin", "head": [0, 7]},
            "lacks tail; ddi needs text, head, tail, found text, head",
        ),
        (
            "ddi",
            {"text": "aspirin", "head": [0, 7], "tail": [8, 12]},
            "has tail spans [(8, 12)] in a text of 7 characters",
        ),
        ("ddi", {"text": 3, "head": [0, 1], "tail": [0, 1]}, "found 3, expected a string for text"),
        ("ddi", {"text": "a b", "head": [0, 1], "tail": [2, 3], "id": True}, "the id is True, expected a string"),
        ("bc5cdr_disease", {"tokens": []}, "0 tags for 0 tokens, expected one tag a token"),
        ("bc5cdr_disease", {"text": " "}, "a text without a word, and bc5cdr_disease tags words; leave it out"),
        ("bc5cdr_disease", {"tokens": ["a", 3]}, "found 3, expected strings as tokens"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_by_its_line(out, tmp_path, capfd, task, line, said):
    path, to = tmp_path / "rows.jsonl", tmp_path / "to.jsonl"
    good = {"text": "aspirin meets heparin", "tokens": ["a"], "head": [0, 7], "tail": [14, 21]}
    written(path, [good, line])
    assert predict([str(out[1]), "--task", task, "--input", str(path), "--output", str(to)]) == 2
    told = capfd.readouterr().err
    assert f"{path}, line 2: " in told
    assert said in told
    assert not [p for p in tmp_path.iterdir() if p != path]


def test_a_model_of_pairs_wants_both_texts(bert, cache, tmp_path, monkeypatch):
    """One text alone is none of what it was trained on, whatever it says of it."""
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    built, _ = tiny.build(bert, cache, ("pubmedqa",), strategy=S1)
    task, params = built.tasks[0], model.init_params(built, tiny.KEY)
    pair, alone = (Example(id="1", unit="1", texts=(texts,), labels=("yes",)) for texts in (("a", "b"), ("a", None)))
    assert evaluate.paired(task, [pair, pair])
    assert not evaluate.paired(task, [pair, alone])
    for paired, needed in (((), ["text"]), (("pubmedqa",), ["text", "text_pair"])):
        tokenizer = store.tokenizer_digest(built.backbone.tokenizer)
        export.export(built, params, tmp_path, 64, {"pubmedqa": "yes"}, tokenizer, paired=paired)
        predictor = mtlfn.load(tmp_path / "pubmedqa", backbone=str(bert), device="cpu")
        assert predictor.needed == needed
        assert len(predictor([{"text": "a", "text_pair": "b"}])) == 1
    with pytest.raises(
        DataError, match=r"^row 0: lacks text_pair; pubmedqa needs text, text_pair, found text, text-pair"
    ):
        predictor([{"text": "a", "text-pair": "b"}])
    with pytest.raises(DataError, match=r"^row 1: lacks text_pair; .*, found a text alone"):
        predictor([{"text": "a", "text_pair": ""}, "a"])


@pytest.mark.parametrize(("task", "paired"), [("pubmedqa", True), ("pubmedqa", False), ("ddi", False)])
def test_the_example_on_a_card_runs(bert, cache, tmp_path, monkeypatch, task, paired):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    built, _ = tiny.build(bert, cache, (task,), strategy=S1)
    params, tokenizer = model.init_params(built, tiny.KEY), store.tokenizer_digest(built.backbone.tokenizer)
    export.export(built, params, tmp_path, 64, {task: "none"}, tokenizer, paired=(task,) if paired else ())
    monkeypatch.chdir(tmp_path / task)
    code = Path("README.md").read_text().partition("```python\nimport mtlfn")[2].partition("```")[0]
    assert ("text_pair" in code) == paired
    exec("import mtlfn" + code.replace("FOLDER", str(bert)), {})


def test_a_null_is_no_second_text(bert, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    built, _ = tiny.build(bert, cache, ("pubmedqa",), strategy=S1)
    params, tokenizer = model.init_params(built, tiny.KEY), store.tokenizer_digest(built.backbone.tokenizer)
    for paired in ((), ("pubmedqa",)):
        export.export(built, params, tmp_path, 64, {"pubmedqa": "yes"}, tokenizer, paired=paired)
        predictor = mtlfn.load(tmp_path / "pubmedqa", backbone=str(bert), device="cpu")
        if not paired:
            assert len(predictor([{"text": "a", "text_pair": None}])) == 1
    said = (
        r'^row 1: text_pair is null, and pubmedqa was trained on pairs; expected a string, an empty second text is ""$'
    )
    with pytest.raises(DataError, match=said):
        predictor([{"text": "a", "text_pair": ""}, {"text": "a", "text_pair": None}])


LONG = "the patient had asthma and fever . " * 60


@pytest.mark.parametrize("output", [False, True])
def test_how_many_texts_were_cut_is_told_once_at_the_end(out, tmp_path, capfd, monkeypatch, output):
    monkeypatch.setattr(command, "TOGETHER", 2)  # examples that are predicted together
    rows = [{"text": LONG if i in (2, 3, 6) else "no fever"} for i in range(7)]
    written(tmp_path / "rows.jsonl", rows)
    asked = [str(out[1]), "--task", "bc5cdr_disease", "--input", str(tmp_path / "rows.jsonl")]
    assert predict([*asked, *(["--output", str(tmp_path / "to.jsonl")] if output else [])]) == 0
    said = [line for line in capfd.readouterr().err.splitlines() if "longer" in line]
    most = mtlfn.load(out[1], "bc5cdr_disease").max_length
    assert said == [
        f"3 of 7 texts are longer than the model's {most} tokens, and were read in part; words beyond have the tag O"
    ]
    written(tmp_path / "rows.jsonl", rows[:2])
    assert predict(asked) == 0
    assert "longer" not in capfd.readouterr().err


def test_in_python_a_text_that_was_cut_is_logged(out, caplog):
    predictor = mtlfn.load(out[1], "ddi")
    row = {"text": "aspirin meets heparin", "head": [0, 7], "tail": [14, 21]}
    predictor([row])
    assert not caplog.records
    predictor([row, {**row, "text": f"{row['text']} {LONG}"}])
    assert caplog.record_tuples == [
        (
            "mtlfn.predict",
            logging.WARNING,
            f"1 of 2 texts are longer than the model's {predictor.max_length} tokens, and were read in part",
        )
    ]


def test_a_row_in_python_is_told_by_its_number(out):
    predictor = mtlfn.load(out[1], "ddi")
    good = {"text": "aspirin meets heparin", "head": [0, 7], "tail": [14, 21]}
    with pytest.raises(DataError, match=r"^row 1: lacks head, tail; .*, found a text alone"):
        predictor([good, "only a text"])
    with pytest.raises(DataError, match=r"^row 1: found 7, expected a text, or a mapping with text, head, tail"):
        predictor([good, cast(Any, 7)])
    for one in (good, "one text, not its characters"):
        with pytest.raises(DataError, match="expected a list of rows"):
            predictor(one)


def damaged_head(folder: Path) -> None:
    (folder / "export/ddi/head.json").write_text("{}")


def older(folder: Path) -> None:
    (folder / "export/ddi/predict.json").unlink()


def without_tensors(folder: Path) -> None:
    (folder / "export/ddi/head.safetensors").unlink()


def cut_adapter(folder: Path) -> None:
    path = folder / "export/ddi/adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def changed(file: str, **changes: Any) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        path = folder / "export/ddi" / file
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return harm


def unfinished(folder: Path) -> None:
    (folder / "result.json").unlink()


def without_exports(folder: Path) -> None:
    shutil.rmtree(folder / "export")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (damaged_head, "head.json: cannot be used (KeyError: 'task')"),
        (older, "predict.json: is missing; exports of older versions lack it"),
        (without_tensors, "the export is damaged (FileNotFoundError"),
        (cut_adapter, "the export is damaged (SafetensorError"),
        (changed("head.json", task=None), "the export is damaged ("),
        (changed("head.json", task={"name": "ddi", "kind": "x", "level": 2}), "the export is damaged ("),
        (changed("head.json", strategy="s9"), "the export is damaged (KeyError: 's9')"),
        (changed("head.json", read_out_layer="x"), "the export is damaged ("),
        (changed("head.json", backbone_digest=5), "the export is damaged ("),
        (changed("predict.json", linears=5), "the export is damaged ("),
        (changed("predict.json", lora_alpha_ratio="x"), "the export is damaged ("),
        (changed("predict.json", precision="x"), "the export is damaged ("),
        (changed("predict.json", max_length=10**9), "max_length is 1000000000, and the backbone takes"),
        (unfinished, "the run is not finished; give its command again"),
        (without_exports, "holds no such model, expected a run with exports"),
    ],
)
def test_an_export_that_cannot_be_used_is_told(out, tmp_path, harm: Callable[[Path], None], said):
    folder = tmp_path / "run"
    shutil.copytree(out[1], folder)
    harm(folder)
    before = contents(folder)
    with pytest.raises(UsageError) as error:
        mtlfn.load(folder, "ddi")
    assert said in str(error.value)
    assert contents(folder) == before


def negated(path: Path) -> None:
    save_file({name: -value for name, value in load_file(path).items()}, path)


def test_an_export_that_is_not_what_its_run_sealed_is_refused(out, tmp_path, capfd):
    """It would load, and answer the opposite."""
    folder = Path(shutil.copytree(out[1], tmp_path / "run"))
    mtlfn.load(folder, "ddi")
    negated(folder / "export/ddi/head.safetensors")
    said = "export/ddi/head.safetensors: is not what was written; give the run's command again, which makes it again"
    for given in ((folder, "ddi"), (folder / "export/ddi", None)):
        with pytest.raises(UsageError) as told:
            mtlfn.load(*given, backbone=json.loads((folder / "config.json").read_text())["settings"]["backbone"])
        assert str(told.value) == f"{folder}: {said}"
    (tmp_path / "rows.txt").write_text("a patient\n")
    asked = ["--task", "ddi", "--input", str(tmp_path / "rows.txt")]
    assert predict([str(folder), *asked]) == 2
    assert said in capfd.readouterr().err
    mtlfn.load(folder, "bc5cdr_disease")  # the other one is whole
    shutil.move(folder / "export/ddi", tmp_path / "alone")  # without its run there is no seal
    mtlfn.load(tmp_path / "alone", backbone=json.loads((folder / "config.json").read_text())["settings"]["backbone"])


def test_an_adapter_that_its_run_does_not_name_is_refused(out, tmp_path):
    folder = Path(shutil.copytree(out[1], tmp_path / "run"))
    shutil.copy(folder / "export/ddi/adapter_model.safetensors", folder / "export/ddi/adapter.safetensors")
    with pytest.raises(UsageError, match=r"export/ddi/adapter.safetensors: is not of this run"):
        mtlfn.load(folder, "ddi")


def test_a_card_that_was_written_on_is_no_reason_to_refuse(out, tmp_path):
    folder = Path(shutil.copytree(out[1], tmp_path / "run"))
    (folder / "export/ddi/README.md").write_text("mine")
    mtlfn.load(folder, "ddi")


def test_what_is_asked_for_has_to_be_there(out, tmp_path, llama, bert):
    folder = out[1]
    for given, said in (
        ((tmp_path, None), "is neither a run (with config.json) nor an export (with head.json)"),
        ((folder, None), "--task: .*/export holds several models, expected one of bc5cdr_disease, ddi"),
        ((folder, "hoc"), "--task hoc: .* expected one of bc5cdr_disease, ddi"),
        ((folder / "export/ddi", None), "--backbone: expected the folder or file of the backbone"),
    ):
        with pytest.raises(UsageError, match=said.replace("(", r"\(").replace(")", r"\)")):
            mtlfn.load(*given)
    with pytest.raises(UsageError, match=r"its weights have the digest .* name the backbone that it was trained on"):
        mtlfn.load(folder, "ddi", backbone=str(llama))
    copy = Path(shutil.copytree(bert, tmp_path / "bert"))
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["added_tokens"] += [{**tokenizer["added_tokens"][0], "id": 9999, "content": "[NEW]"}]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UsageError, match=r"its weights are those of .*, its tokenizer is another"):
        mtlfn.load(folder, "ddi", backbone=str(copy))


def test_the_backbone_may_have_moved_and_the_export_too(out, bert, tmp_path):
    rows = [{"text": "aspirin meets heparin", "head": [0, 7], "tail": [14, 21]}]
    here = mtlfn.load(out[1], "ddi")(rows)
    backbone_copy = Path(shutil.copytree(bert, tmp_path / "moved"))
    export_copy = Path(shutil.copytree(out[1] / "export/ddi", tmp_path / "model"))
    assert mtlfn.load(export_copy, backbone=str(backbone_copy))(rows) == here
    assert backbone.load(str(backbone_copy)).digest == backbone.load(str(bert)).digest


def test_an_export_on_the_installed_minilm_needs_no_hub():
    about = {"backbone_hub_id": backbone.MINILM_ID, "backbone_revision": None}
    assert _place(about) == ("minilm", None)
    about["backbone_revision"] = "0123abc"
    assert _place(about) == (backbone.MINILM_ID, "0123abc")


def test_predicting_leaves_the_global_generators_alone(out):
    before = tiny.generators()
    mtlfn.load(out[1], "ddi")([{"text": "aspirin meets heparin", "head": [0, 7], "tail": [14, 21]}])
    assert tiny.generators() == before
    assert torch.is_grad_enabled()


def test_the_card_says_what_the_run_came_to(out, go, tmp_path, monkeypatch):
    folder = out[1]
    card = (folder / "export/ddi/README.md").read_text()
    result = json.loads((folder / "result.json").read_text())
    score = result["scores"]["ddi"]
    assert f"| dev | {score['dev']:.4f} |" in card
    assert "\n| split | relation_f1 |\n" in card
    for text in (
        "pipeline_tag: text-classification",
        f"value: {score['dev']!r}",
        "DDI corpus 2013: CC BY-NC 4.0",
        f"Trained on {result['tokens']['per_task']['ddi']:,} input tokens of this task, of 500 on bc5cdr_disease, ddi",
        result["digest"],
        "`none` says that there is no relation",
        "a verdict is a study's, and stands in its `verdict.json`",
        "not a medical device",
    ):
        assert text in " ".join(card.split()), text
    front = card.split("---\n")[1]
    parsed = yaml.safe_load(front)
    assert parsed["model-index"][0]["results"][0]["metrics"][0]["value"] == score["dev"]
    assert str(folder) not in card
    code = card.partition("```python\nimport mtlfn")[2].partition("```")[0]
    monkeypatch.chdir(folder / "export/ddi")
    backbone = json.loads((folder / "config.json").read_text())["settings"]["backbone"]
    exec("import mtlfn" + code.replace("FOLDER", backbone), {})

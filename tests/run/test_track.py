"""Trackers follow a run from outside: every line once, whatever happens to the run or to the follower."""

from __future__ import annotations

import errno
import json
import shutil
import struct
import threading
from collections import Counter
from pathlib import Path

import pytest

from mtlfn.run.commands.command import track as command
from mtlfn.run.disk import Disk
from mtlfn.run.storage import record, seal
from mtlfn.run.track import follow, points, trackers
from tests.run.conftest import contents

METRICS = "metrics.jsonl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture
def finished(go, folder, tmp_path) -> Path:
    """A copy of a finished run, with quick evaluations."""
    if not (folder / "run").exists():
        assert go(output_dir=folder / "run", quick_eval_examples=8, save_every_steps=2).code == 0
    return Path(shutil.copytree(folder / "run", tmp_path / "run"))


class Recorded:
    """A tracker that remembers what it was sent; ``opened``: with which names."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, dict, str | None]] = []
        self.opened: list[tuple[str, str, str]] = []

    def __call__(self, run: trackers.Run, key: str, project: str) -> trackers.Sink:
        self.opened.append((run.name, run.group, key))
        owner = self

        class Kept:
            key = f"of {run.name}"

            def send(self, batch) -> None:
                owner.sent += [(run.name, *each) for each in batch]

            def close(self) -> None:
                return None

        return Kept()


@pytest.fixture
def recorded(monkeypatch) -> Recorded:
    tracker = Recorded()
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", tracker)
    return tracker


def go_track(run: Path, *flags: object, to: str = "tensorboard") -> int:
    return command([str(run), "--to", to, *map(str, flags)])


def as_sent(lines) -> list[tuple]:
    return [(line["step"], points.points(line), points.message(line)) for line in lines]


def test_each_line_is_sent_once_and_the_run_does_not_notice(finished, recorded):
    before = contents(finished)
    lines = list(record.lines(finished / METRICS))
    assert go_track(finished) == 0
    assert [each[1:] for each in recorded.sent] == as_sent(lines)
    assert go_track(finished) == 0
    assert len(recorded.sent) == len(lines)
    after = {name: data for name, data in contents(finished).items() if not name.startswith("track/")}
    assert after == before
    assert not seal.verify(finished).problems


def test_a_line_has_its_numbers_by_name(finished):
    lines = list(record.lines(finished / METRICS))
    step = points.points(next(line for line in lines if "event" not in line))
    assert {
        "loss/ddi",
        "weighted_loss/ddi",
        "tokens",
        "learning_rate",
        "conflicts/ddi/bc5cdr_disease/frequency",
    } <= set(step)
    quick = [points.points(line) for line in lines if line.get("event") == "quick"]
    assert quick
    assert {"quick_dev/ddi/relation_f1", "quick_dev/bc5cdr_disease/entity_f1"} <= set(quick[0])
    alert = {"step": 3, "event": "alert", "kind": "nan", "message": "a loss"}
    assert (points.points(alert), points.message(alert)) == ({}, "nan: a loss")
    assert points.message(alert | {"message": "half \ud800"}) == "nan: half ?"
    odd = {"step": 1, "loss": None, "sigma": [], "conflicts": {"a > b": 3}, "tokens": 10**400, "learning_rate": True}
    assert points.points(odd) == points.points(odd | {"conflicts": None, "event": []}) == {}
    assert points.points({"step": 1, "loss": {"a": float("nan"), "b": 2.0}, "tokens": 7}) == {
        "loss/b": 2.0,
        "tokens": 7,
    }


def test_a_resume_that_cuts_the_file_sends_nothing_twice(finished, recorded):
    path = finished / METRICS
    whole, lines = path.read_bytes(), list(record.lines(path))
    raws = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(raws[: len(raws) // 2]) + raws[-1][:9])  # a last line without its end
    assert go_track(finished) == 0
    assert len(recorded.sent) == len(raws) // 2
    for kept in (3, 1, 0):  # cut to before what was sent, and written again
        record.cut(path, record.sound(path), lines[kept]["step"])
        assert go_track(finished) == 0
        assert len(recorded.sent) == len(raws) // 2
        path.write_bytes(whole)
    assert go_track(finished) == 0
    assert [each[1:] for each in recorded.sent] == as_sent(lines)


def test_a_follower_sees_a_file_grow_be_cut_and_grow_again(finished, recorded):
    path, result = finished / METRICS, finished / "result.json"
    raws = path.read_bytes().splitlines(keepends=True)
    lines, end = list(record.lines(path)), result.read_bytes()
    result.unlink()
    path.write_bytes(raws[0])
    thread = threading.Thread(target=go_track, args=(finished, "--follow", "--every", "0.1"))
    thread.start()
    wait(lambda: len(recorded.sent) == 1)
    with path.open("ab") as file:
        for raw in raws[1:4]:
            file.write(raw[:5])
            file.flush()
            file.write(raw[5:])
    wait(lambda: len(recorded.sent) == 4)
    other = path.with_suffix(".new")
    other.write_bytes(raws[0] + raws[1])
    other.replace(path)  # as a resume cuts it; what it writes again differs in times, and so in length
    for line in lines[2:]:
        again = {name: value for name, value in line.items() if name != "check"}
        record.append(path, {**again, "seconds_per_step": 1e-9} if "seconds_per_step" in line else again)
    wait(lambda: len(recorded.sent) == len(raws))
    result.write_bytes(end)
    thread.join(30)
    assert not thread.is_alive()
    timed = [(step, {**values, "seconds_per_step": 0}, text) for _, step, values, text in recorded.sent]
    assert timed == [(step, {**values, "seconds_per_step": 0}, text) for step, values, text in as_sent(lines)]


def wait(done) -> None:
    for _ in range(300):
        if done():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it did not come")


def test_the_cursor_is_saved_before_a_line_is_sent(finished, recorded, monkeypatch):
    """So a follower that is killed while it sends sends nothing twice."""

    def failing(run, key, project):
        sink = Recorded.__call__(recorded, run, key, project)
        monkeypatch.setattr(type(sink), "send", lambda self, batch: (_ for _ in ()).throw(RuntimeError("gone")))
        return sink

    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", failing)
    with pytest.raises(RuntimeError, match="gone"):
        go_track(finished)
    (place,) = (finished / "track/tensorboard").iterdir()
    assert follow.read_cursor(place).last[0] > 0


def test_a_study_is_one_group(finished, recorded, tmp_path):
    study = tmp_path / "study"
    for name in ("s3b/seed-0", "s3b/seed-1"):
        shutil.copytree(finished, study / name)
    assert go_track(study) == 0
    assert sorted(recorded.opened) == [("s3b/seed-0", "study", ""), ("s3b/seed-1", "study", "")]
    assert Counter(each[0] for each in recorded.sent) == dict.fromkeys(
        ("s3b/seed-0", "s3b/seed-1"), len(list(record.lines(finished / METRICS)))
    )
    assert go_track(study) == 0
    assert len(recorded.opened) == 2  # nothing new: nothing is opened


def test_another_run_in_its_place_is_refused(finished, recorded, capfd):
    assert go_track(finished) == 0
    (place,) = (finished / "track/tensorboard").iterdir()
    document = json.loads(place.read_text())
    place.write_text(json.dumps({**document, "digest": "other"}))
    assert go_track(finished) == 2
    assert "belongs to another run that lay at" in capfd.readouterr().err
    place.write_text("{}")
    assert go_track(finished) == 2
    assert "remove it to send everything once more" in capfd.readouterr().err
    place.unlink()
    assert go_track(finished) == 0


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("nothing", "--to nothing: is no tracker, expected some of tensorboard, wandb, trackio, mlflow"),
        (",", "--to ,:"),
    ],
)
def test_wrong_use_is_told(finished, tmp_path, capfd, to, said):
    assert go_track(finished, to=to) == 2
    assert said in capfd.readouterr().err
    assert go_track(tmp_path / "no") == 2
    assert "is no run (with config.json), and no study with one" in capfd.readouterr().err


def test_a_run_that_cannot_be_written_beside_names_output(tmp_path, monkeypatch, capsys):
    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(Disk, "mkdir", read_only)
    assert go_track(tmp_path) == 2
    said = "cannot be written (Read-only file system); name another folder with --output"
    assert capsys.readouterr().err == f"mtlfn: {tmp_path / 'track'}: {said}\n"


def test_a_tracker_that_is_not_installed_is_told(finished, monkeypatch, capfd):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    assert go_track(finished, to="wandb") == 2
    assert "wandb is not installed" in (said := capfd.readouterr().err)
    assert "pip install 'mtlfn[track]'" in said


# The trackers themselves


def test_tensorboard_has_the_values_in_its_event_files(finished):
    pytest.importorskip("tensorboardX", reason="extra track")
    lines = list(record.lines(finished / METRICS))
    assert go_track(finished) == 0
    assert go_track(finished) == 0
    written = Counter(scalars(finished / "track/tensorboard/run"))
    # Event files hold 32 bits.
    expected = Counter(
        (name, line["step"], struct.unpack("f", struct.pack("f", value))[0])
        for line in lines
        for name, value in points.points(line).items()
    )
    assert written == expected


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """The scalars of event files: TFRecords of Event messages, read as their format says."""
    from tensorboardX.proto import event_pb2

    out = []
    for path in folder.iterdir():
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack("<Q", data[at : at + 8])
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            out += [(v.tag, event.step, v.simple_value) for v in event.summary.value if v.HasField("simple_value")]
    return out


def test_wandb_offline_has_a_run_of_the_study(finished, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="extra track")
    monkeypatch.setenv("WANDB_MODE", "offline")
    study = tmp_path / "study"
    shutil.copytree(finished, study / "seed-0")
    assert go_track(study, to="wandb") == 0
    (file,) = study.rglob("*.wandb")
    wait(lambda: b"loss/ddi" in file.read_bytes())  # a process of W&B's own writes it
    assert b"study" in file.read_bytes()
    assert go_track(study, to="wandb") == 0
    assert len(list(study.rglob("*.wandb"))) == 1


def test_mlflow_has_the_metrics_in_its_files(finished, monkeypatch):
    pytest.importorskip("mlflow", reason="extra track")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert go_track(finished, to="mlflow") == 0
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"file://{finished / 'track/mlflow'}")
    (run,) = client.search_runs([client.get_experiment_by_name("mtlfn").experiment_id])
    lines = [line for line in record.lines(finished / METRICS) if "event" not in line]
    history = client.get_metric_history(run.info.run_id, "loss/ddi")
    assert [(m.step, m.value) for m in history] == [(n["step"], n["loss"]["ddi"]) for n in lines if "ddi" in n["loss"]]
    assert go_track(finished, to="mlflow") == 0
    assert len(client.get_metric_history(run.info.run_id, "loss/ddi")) == len(history)


def test_trackio_has_the_values_in_its_data_base(finished, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(finished / "track/trackio"))  # which is read once, by the import
    pytest.importorskip("trackio", reason="extra track")
    assert go_track(finished, to="trackio") == 0
    import sqlite3

    (base,) = (finished / "track/trackio").glob("*.db")
    with sqlite3.connect(base) as connection:
        rows = connection.execute("select step, metrics from metrics").fetchall()
    lines = [line for line in record.lines(finished / METRICS) if points.points(line)]
    assert len(rows) == len(lines)
    assert any(b"loss/ddi" in (m if isinstance(m, bytes) else m.encode()) for _, m in rows)

"""The trackers: for each a function that opens a run there. A new one is a function, and a line in ``TRACKERS``.

Each library is imported when its tracker is asked for. Where a run goes (a server, a file) each library is told as its
own documentation says, by its environment variables; without any, it is a folder of this machine, but for W&B.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from mtlfn.run.errors import UsageError

Values = Mapping[str, float]


@frozen(kw_only=True)
class Run:
    """What a tracker is told of a run: its name, the study it is of ("" for none), what it belongs to (``identity``,
    without a path), a name for the tracker's own run that never changes, and where local files go."""

    name: str
    group: str
    facts: Mapping[str, Any]
    key: str
    folder: Path


class Sink(Protocol):
    """A run in a tracker. ``key``: what it is called there, to be opened again."""

    @property
    def key(self) -> str: ...

    def send(self, batch: Sequence[tuple[int, Values, str | None]]) -> None:
        """Lines: a step, what to draw at it, and what is said there."""
        ...

    def close(self) -> None: ...


@frozen
class Logged:
    """A run in a tracker whose runs are logged to and finished, as W&B has it. ``run``: the library's own."""

    key: str
    run: Any

    def send(self, batch: Sequence[tuple[int, Values, str | None]]) -> None:
        for step, values, text in batch:
            said = {} if text is None else {"alert": text}
            if values or said:
                self.run.log({**values, **said}, step=step)

    def close(self) -> None:
        self.run.finish()


def tensorboard(run: Run, key: str, project: str) -> Sink:
    """Event files below ``tensorboard/``; a study is a folder of runs."""
    library = _library("tensorboardX", "tensorboardX")
    writer = library.SummaryWriter(str(run.folder / "tensorboard" / run.name))
    if not key:
        shown = "\n".join(f"    {name}: {value}" for name, value in run.facts.items())
        writer.add_text("configuration", shown, 0)

    class Events:
        key = "tensorboard"

        def send(self, batch: Sequence[tuple[int, Values, str | None]]) -> None:
            for step, values, text in batch:
                for name, value in values.items():
                    writer.add_scalar(name, value, step)
                if text is not None:
                    writer.add_text("alerts", text, step)
            writer.flush()

        def close(self) -> None:
            writer.close()

    return Events()


def wandb(run: Run, key: str, project: str) -> Sink:
    """``WANDB_MODE=offline`` writes files below ``wandb/`` and sends nothing."""
    library = _library("wandb", "wandb")
    run.folder.mkdir(parents=True, exist_ok=True)
    opened = library.init(
        project=project,
        name=run.name,
        group=run.group or None,
        id=key or run.key,
        resume="allow",
        dir=str(run.folder),
        config=dict(run.facts),
        reinit="create_new",
        settings=library.Settings(silent=True, console="off", disable_code=True, disable_git=True, x_disable_meta=True),
    )

    return Logged(opened.id, opened)


def mlflow(run: Run, key: str, project: str) -> Sink:
    """``MLFLOW_TRACKING_URI`` names a server or a data base; without it, files below ``mlflow/``."""
    module = _library("mlflow", "mlflow-skinny")
    entities = _library("mlflow.entities", "mlflow-skinny")
    place = os.environ.get("MLFLOW_TRACKING_URI") or f"file://{(run.folder / 'mlflow').resolve()}"
    if place.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # its later releases ask for it
    client = module.MlflowClient(tracking_uri=place)
    if not key:
        experiment = client.get_experiment_by_name(project)
        number = client.create_experiment(project) if experiment is None else experiment.experiment_id
        tags = {"mlflow.runName": run.name, **({"study": run.group} if run.group else {})}
        key = client.create_run(number, tags=tags).info.run_id
        params = [entities.Param(_plain(name), str(value)[:500]) for name, value in run.facts.items()]
        client.log_batch(key, params=params[:100])
    opened = key

    class Batches:
        key = opened

        def send(self, batch: Sequence[tuple[int, Values, str | None]]) -> None:
            metrics = [
                entities.Metric(_plain(name), v, 0, step) for step, values, _ in batch for name, v in values.items()
            ]
            for at in range(0, len(metrics), 1000):
                client.log_batch(opened, metrics=metrics[at : at + 1000])
            for step, _, text in batch:
                if text is not None:
                    client.set_tag(opened, f"alert.{step}", text[:500])

        def close(self) -> None:
            return None  # a run that goes on may be opened again

    return Batches()


def trackio(run: Run, key: str, project: str) -> Sink:
    """``TRACKIO_DIR`` names the folder of its data base; without it, ``trackio/``."""
    os.environ.setdefault("TRACKIO_DIR", str((run.folder / "trackio").resolve()))
    library = _library("trackio", "trackio")
    more = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False, **({"group": run.group} if run.group else {})}
    opened = library.init(project=project, name=run.name, resume="allow", config=_flat(run.facts), **more)

    return Logged(run.name, opened)


TRACKERS: dict[str, Callable[[Run, str, str], Sink]] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
    "trackio": trackio,
    "mlflow": mlflow,
}


def _library(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--to: {package} is not installed ({error}); pip install 'mtlfn[track]', or {package} alone"
        ) from None


def _plain(name: str) -> str:
    """A name of the characters that MLflow knows."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in name)


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, (str, int, float, bool)) else str(value) for name, value in facts.items()}

"""The walk of a run, top to bottom: prepare, resume or start, step until finished, evaluate, export, result."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtlfn.core import keys
from mtlfn.core.state import State, digest, record
from mtlfn.core.tokens import total
from mtlfn.data import metrics
from mtlfn.models.model import check_params
from mtlfn.run import checkpoint, evaluate, export, observers
from mtlfn.run.command import BUG, MISMATCH, OK, RESUMABLE
from mtlfn.run.config import Config, UsageError, identity
from mtlfn.run.prepare import Prepared, describe_data, prepare, resolve_directory, trainable_parameters

NONFINITE_IN_A_ROW = 5


class Mismatch(Exception):
    """The run directory belongs to something else; the message names the difference."""

    exit_code = MISMATCH


def run(strategy: str, config: Config, argv: Sequence[str]) -> int:
    """Trains to the end or to the next stop; returns the exit code."""
    began = time.monotonic()
    folder = resolve_directory(config, strategy)
    _check_settings(folder, config, strategy)
    _fix_numerics(config)
    from mtlfn.models.backbone import BackboneError

    try:
        prepared = prepare(strategy, config)
    except BackboneError as error:
        raise UsageError(str(error)) from None
    _claim(folder, prepared, argv)
    if (summary := _finished(folder)) is not None:
        print(f"mtlfn: this run is finished; its result:\n{summary}\nall of it: {folder}")
        return OK
    report = observers.Reporter(folder / "train.log")
    try:
        return _train(strategy, prepared, folder, report, argv, began)
    finally:
        report.close()


def _finished(folder: Path) -> str | None:
    """The summary of a finished run; None where there is no result, or a damaged one, which is then made again."""
    try:
        return _summary(json.loads((folder / "result.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _train(
    strategy: str, prepared: Prepared, folder: Path, report: observers.Reporter, argv: Sequence[str], began: float
) -> int:
    config, budget, saves = prepared.config, prepared.budget, folder / "checkpoints"
    checkpoint.sweep(saves)
    state = checkpoint.load_newest(saves, prepared.start(), prepared.identity_hash, report.say)
    resumed = state is not None
    state = state or prepared.start()
    check_params(prepared.model, state.params)
    observers.truncate(folder / "metrics.jsonl", state.step)
    _banner(strategy, prepared, folder, report, state, resumed)

    clock = observers.TrainingClock(time.monotonic)
    watchers = [
        observers.metrics_writer(folder / "metrics.jsonl", prepared.schedule, budget, clock),
        report.progress(budget, clock),
    ]
    scores: dict[str, dict[str, float]] | None = None
    with _stop_requests() as stop_requested:
        while not prepared.finished(state):
            if config.max_steps is not None and state.step >= config.max_steps:
                return _pause(report, strategy, argv, folder, state, f"--max-steps {config.max_steps} reached")
            before = state
            batch = prepared.stream(state)
            state = prepared.step(state, batch)
            for watch in watchers:
                watch(state, batch)

            scores = None
            stopping = stop_requested() or state.nonfinite.in_a_row >= NONFINITE_IN_A_ROW
            due = state.step % config.save_every_steps == 0 or _tenths(budget, state) > _tenths(budget, before)
            with clock.paused():
                if _epochs(prepared, state) > _epochs(prepared, before) or state.input_tokens == budget:
                    scores, predicted = evaluate.score(prepared.model, state.params, prepared.dev, _dev(prepared))
                    state = record(state, _mean(prepared, scores), config.patience)
                    observers.append(folder / "metrics.jsonl", {"step": state.step, "event": "full", "scores": scores})
                if due or scores is not None or stopping or state.step == config.max_steps:
                    checkpoint.save(saves, state, prepared.identity_hash)
                if due and scores is None and not stopping and config.quick_eval_examples:
                    _quick(prepared, state, folder, report)
            if state.nonfinite.in_a_row >= NONFINITE_IN_A_ROW:
                report.say(
                    f"stopped: loss or gradient not finite in {NONFINITE_IN_A_ROW} steps in a row; "
                    f"saved step {state.step}. Try a lower --learning-rate, then another --output-dir."
                )
                return BUG
            if stopping:
                return _pause(report, strategy, argv, folder, state, "asked to stop")
    report.close()
    if scores is None:  # finished before, and stopped between the last checkpoint and the result
        scores, predicted = evaluate.score(prepared.model, state.params, prepared.dev, _dev(prepared))
    for task in prepared.tasks:
        evaluate.write_predictions(
            folder / "predictions", task, "dev", prepared.datasets[task.name].dev, predicted[task.name]
        )
    export.export(prepared.model, state.params, folder / "export")
    result = _result(strategy, prepared, state, scores, time.monotonic() - began)
    _write_json(folder / "tokens.json", result["tokens"])
    _write_json(folder / "result.json", result)
    report.say("\n" + _summary(result))
    report.say(f"\neverything is in {folder}: result.json, metrics.jsonl, predictions/, export/<task>/ (PEFT adapters)")
    report.say("next: another --seed, or the same on your own data: see README.md")
    return OK


def _fix_numerics(config: Config) -> None:
    """Deterministic operations, set before any device is touched."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, and nothing here reads such memory
    if config.threads is not None:
        torch.set_num_threads(config.threads)


def _check_settings(folder: Path, config: Config, strategy: str) -> None:
    """Compares the settings with those of the run directory, before anything slow happens."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output-dir {folder}: is a file; name a folder")
    path = folder / "config.json"
    if not path.exists():
        # A run that was killed while it began has left these at most.
        begun = ("data.json", "env.json")
        if folder.exists() and any(p.name not in begun and ".tmp-" not in p.name for p in folder.iterdir()):
            raise Mismatch(f"--output-dir {folder}: not empty and not a run of mtlfn; name another folder")
        return
    try:
        there = dict(json.loads(path.read_text())["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Mismatch(f"--output-dir {folder}: config.json cannot be read; name another folder") from None
    # Settings whose default depends on the data are compared later, when they are known.
    asked = {k: v for k, v in identity(config, strategy=strategy).items() if v not in (None, "", 0)}
    _compare(folder, there, json.loads(json.dumps(asked)), subset=True)


def _compare(folder: Path, there: dict[str, Any], here: dict[str, Any], subset: bool = False) -> None:
    # Hashes of the data last: another setting explains more.
    for name in sorted(here if subset else {*there, *here}, key=lambda name: (name == "data", name)):
        if name == "tasks" and subset:
            continue
        if there.get(name) != here.get(name):
            raise Mismatch(
                f"--output-dir {folder}: it holds a run of another configuration: {name} is {there.get(name)!r} there "
                f"and {here.get(name)!r} now; name another folder, or give the settings of that run to resume it"
            )


def _claim(folder: Path, prepared: Prepared, argv: Sequence[str]) -> None:
    """Writes what the directory belongs to, or checks that it belongs to this run."""
    path, here = folder / "config.json", json.loads(json.dumps(prepared.identity))
    if path.exists():
        _compare(folder, json.loads(path.read_text())["identity"], here)
        return
    from mtlfn.run.fingerprint import environment

    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / "data.json", describe_data(prepared))
        _write_json(folder / "env.json", environment(prepared.model.device))
        _write_json(path, {"identity": here, "hash": prepared.identity_hash, "command": list(argv)})
    except OSError as error:
        raise UsageError(f"--output-dir {folder}: cannot be written ({error.strerror}); name another folder") from None


def _write_json(path: Path, document: Any) -> None:
    checkpoint.write_file(path, (json.dumps(document, indent=1) + "\n").encode())


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM ask the run to finish its step, save and leave."""
    asked: list[int] = []
    previous = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _pause(report: observers.Reporter, strategy: str, argv: Sequence[str], folder: Path, state: State, why: str) -> int:
    report.close()
    flags = [flag for i, flag in enumerate(argv) if not _is_max_steps(argv, i)]
    report.say(f"stopped: {why} · step {state.step}, {state.input_tokens:,} tokens · saved in {folder}")
    report.say(f"to go on: {shlex.join(['python', '-m', f'mtlfn.experiments.{strategy}', *flags])}")
    return RESUMABLE


def _is_max_steps(argv: Sequence[str], i: int) -> bool:
    named = ("--max-steps", "--max_steps")
    return argv[i].partition("=")[0] in named or (i > 0 and argv[i - 1] in named)


def _epochs(prepared: Prepared, state: State) -> int:
    return state.input_tokens // prepared.corpus_tokens


def _tenths(budget: int, state: State) -> int:
    return state.input_tokens * 10 // budget


def _dev(prepared: Prepared) -> dict[str, Any]:
    return {name: dataset.dev for name, dataset in prepared.datasets.items()}


def _mean(prepared: Prepared, scores: dict[str, dict[str, float]]) -> float:
    primary = evaluate.primary(prepared.tasks, scores)
    return sum(primary.values()) / len(primary)


def _quick(prepared: Prepared, state: State, folder: Path, report: observers.Reporter) -> None:
    """A look at part of the dev split: never touches the state, never feeds early stopping."""
    count = -(-prepared.config.quick_eval_examples // len(prepared.tasks))
    scores, _ = evaluate.score(prepared.model, state.params, prepared.dev, _dev(prepared), count)
    observers.append(folder / "metrics.jsonl", {"step": state.step, "event": "quick", "scores": scores})
    primary = evaluate.primary(prepared.tasks, scores)
    report.say(f"quick evaluation  {'  '.join(f'{task} {value:.3f}' for task, value in primary.items())}")


def _banner(
    strategy: str, prepared: Prepared, folder: Path, report: observers.Reporter, state: State, resumed: bool
) -> None:
    """What is about to happen, and how long it should take: one step is timed, which being pure changes nothing."""
    config, model = prepared.config, prepared.model
    sizes = trainable_parameters(prepared)
    frozen = sum(p.numel() for name, p in model.backbone.model.named_parameters() if "lora_" not in name)
    report.say(f"mtlfn {strategy} · {config.gradients} · {config.weighting} weights · seed {config.seed}")
    report.say(f"run       {folder}")
    report.say(f"device    {model.device} · float32 · deterministic · {_threads()} threads")
    adapters = sum(n for slot, n in sizes.items() if not slot.startswith("head/"))
    heads = sum(n for slot, n in sizes.items() if slot.startswith("head/"))
    report.say(
        f"backbone  {config.backbone} ({frozen:,} frozen parameters) · {adapters:,} adapter + {heads:,} head parameters"
    )
    for task in prepared.tasks:
        train, dev = prepared.train[task.name], prepared.dev[task.name]
        report.say(
            f"task      {task.name}: level {task.level} {task.kind}, {len(train):,} training examples "
            f"({train.tokens:,} tokens), {len(dev):,} dev examples, metric {task.metric}"
        )
    report.say(
        f"batch     {config.sampling} sampling · micro-batches of up to {config.micro_batch_tokens} slots · "
        f"sequences of up to {config.max_length} tokens"
    )
    report.say(
        f"schedule  {prepared.budget:,} input tokens exactly · learning rate {config.learning_rate:g}, "
        f"warm-up {config.warmup_ratio:.0%}, {config.decay} decay over {prepared.schedule.schedule_tokens:,} tokens"
    )
    if not prepared.finished(state):
        batch = prepared.stream(state)
        prepared.step(state, batch)
        began = time.monotonic()
        prepared.step(state, batch)
        seconds = (time.monotonic() - began) / batch.tokens.input * (prepared.budget - state.input_tokens)
        report.say(f"time      about {max(seconds / 60, 0.1):.1f} min of training, and evaluations")
    if resumed:
        report.say(f"resume    step {state.step}, {state.input_tokens:,} tokens, from a verified checkpoint")
    else:
        report.say("resume    nothing to resume: starting fresh")


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _result(
    strategy: str, prepared: Prepared, state: State, scores: dict[str, dict[str, float]], seconds: float
) -> dict[str, Any]:
    counts = total(state.tokens.values())
    return {
        "experiment": strategy,
        "digest": digest(state),
        "identity": prepared.identity_hash,
        "seed": prepared.config.seed,
        "key": keys.root(prepared.config.seed),
        "steps": state.step,
        "tokens": {
            "total": state.input_tokens,
            "per_task": {t: c.input for t, c in state.tokens.items()},
            "loss": {t: c.loss for t, c in state.tokens.items()},
            "padded": {t: c.padded for t, c in state.tokens.items()},
            "examples": {t: c.examples for t, c in state.tokens.items()},
            "input_share_of_slots": counts.input / counts.padded,
        },
        "scores": {
            task.name: {
                "metric": task.metric,
                "dev": scores[task.name][task.metric],
                "all": scores[task.name],
                "baselines": metrics.baselines(
                    task, prepared.datasets[task.name].train, prepared.datasets[task.name].dev
                ),
            }
            for task in prepared.tasks
        },
        "conflicts": observers.conflict_table(state),
        "nonfinite_steps": state.nonfinite.total,
        "seconds": seconds,
    }


def _summary(result: dict[str, Any]) -> str:
    """The scores beside the trivial baselines, and the tokens, as a table."""
    width = max(map(len, result["scores"]))
    lines = [f"{'task':<{width}}  {'metric':<12} {'dev':>6}  {'baselines':<40} {'tokens':>9}"]
    for task, score in result["scores"].items():
        trivial = "  ".join(f"{name} {value:.3f}" for name, value in score["baselines"].items())
        tokens = result["tokens"]["per_task"][task]
        lines.append(f"{task:<{width}}  {score['metric']:<12} {score['dev']:>6.3f}  {trivial:<40} {tokens:>9,}")
    lines.append(
        f"{result['tokens']['total']:,} input tokens in {result['steps']} steps, "
        f"{result['tokens']['input_share_of_slots']:.1%} of the slots computed; {result['seconds'] / 60:.1f} min"
    )
    lines.append(f"digest {result['digest']}")
    return "\n".join(lines)

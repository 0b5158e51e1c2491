"""What a run says of itself: the banner before it, the result and its summary after it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from mtlfn.core import keys
from mtlfn.core.state import State, digest
from mtlfn.core.tokens import total
from mtlfn.data.access import TERMS
from mtlfn.data.official import OFFICIAL
from mtlfn.data.screening import apart
from mtlfn.data.semeval import evaluation
from mtlfn.data.tables import public
from mtlfn.data.tables.sources import HUB_ID
from mtlfn.data.task import SPLITS, Task
from mtlfn.models import units
from mtlfn.models.model import Model, active_adapter_parameters
from mtlfn.run import documents
from mtlfn.run.config import Parent, listed
from mtlfn.run.documents import smoke
from mtlfn.run.documents.result import Alert, Match, MatchedRun, Parameters, Result, Score, Selected, Tokens
from mtlfn.run.machine import memory
from mtlfn.run.machine.processes import Processes
from mtlfn.run.one import describe
from mtlfn.run.one.card import Facts
from mtlfn.run.one.prepare import Prepared, trainable_parameters
from mtlfn.run.one.walk import Scores
from mtlfn.run.storage import record
from mtlfn.run.watch import observers


def banner(strategy: str, prepared: Prepared, folder: Path) -> list[str]:
    """What is about to happen, line by line."""
    import torch

    config, model = prepared.config, prepared.model
    sizes = trainable_parameters(prepared)
    frozen = sum(p.numel() for name, p in model.backbone.model.named_parameters() if "lora_" not in name)
    adapters = sum(n for slot, n in sizes.items() if not slot.startswith("head/"))
    heads = sum(n for slot, n in sizes.items() if slot.startswith("head/"))
    said = [
        f"mtlfn {strategy} · {config.gradients} · {config.weighting} weights · seed {config.seed}",
        f"run       {folder}",
        f"device    {model.device} · {config.precision} · deterministic · {torch.get_num_threads()} threads",
        *_faster(model),
        f"backbone  {config.backbone} ({frozen:,} frozen parameters) · "
        f"{adapters:,} adapter + {heads:,} head parameters",
        f"proven    {backbone(prepared)}",
    ]
    for task in prepared.tasks:
        train, dev = prepared.train[task.name], prepared.dev[task.name]
        said.append(
            f"task      {task.name}: level {task.level} {task.kind}, {len(train):,} training examples "
            f"({train.tokens:,} tokens), {len(dev):,} dev examples, metric {task.metric}"
        )
        said += [f"notice    {task.name}: {line}" for line in describe.lacking(prepared, task.name)]
        if left_out := apart.told(prepared.datasets[task.name]):
            said.append(f"apart     {task.name}: {left_out}")
    schedule = prepared.schedule
    return [
        *said,
        f"batch     {config.sampling} sampling · micro-batches of up to {config.micro_batch_tokens} slots · "
        f"sequences of up to {config.max_length} tokens",
        f"schedule  {_until(prepared)} · learning rate {config.learning_rate:g}, "
        f"warm-up {config.warmup_ratio:.0%}, {config.decay} decay over {schedule.schedule_tokens:,} tokens",
    ]


def _until(prepared: Prepared) -> str:
    """When the run ends."""
    config, budget = prepared.config, f"{prepared.budget:,} input tokens"
    if config.max_epochs is None:
        return f"{budget} exactly"
    return f"up to {budget} ({config.max_epochs} epochs), fewer where --patience {config.patience} runs out"


def _faster(model: Model) -> list[str]:
    """Which precision is the faster one on this CPU, where that is not the usual one."""
    import torch

    if model.device.type != "cpu" or (model.precision == torch.float32 and not units.has_amx()):
        return []
    if units.has_amx():
        which = {torch.float32: "fp32, the more exact; --precision bf16 is faster", torch.bfloat16: "bf16, the faster"}
        said = which.get(model.precision, "fp16, for which they are not; --precision bf16 is faster")
        return [f"units     AMX multiplies bf16 here: this run is in {said}"]
    if model.products != model.precision:
        return ["units     none for bf16 here: weights are kept in bf16, products taken in fp32; fp32 is the faster"]
    return [f"units     none for {str(model.precision).removeprefix('torch.')} here: fp32 is the faster"]


def backbone(prepared: Prepared) -> str:
    """What was proven of the backbone, and how it reads micro-batches."""
    proof, kind = prepared.proof, prepared.model.backbone.model.config.model_type
    how = "micro-batches end to end" if proof.way == "ragged" else f"micro-batches one by one, since {proof.why}"
    return f"{kind} as in stock transformers, to {proof.difference:.0e} in rows of up to {proof.length} tokens · {how}"


def processes_line(prepared: Prepared, processes: Processes) -> list[str]:
    """What several processes do, and with how many threads."""
    import torch

    if processes.size == 1:
        return []
    threads, tasks = torch.get_num_threads(), len(prepared.tasks)
    idle = f" · {processes.size - tasks} of them only wait: there are {tasks} tasks" if processes.size > tasks else ""
    unsaid = " (OMP_NUM_THREADS, which torchrun sets to 1 where it is unset; --threads says another number)"
    return [
        f"processes {processes.size}, whole tasks each, one state · {threads} threads each"
        f"{unsaid if prepared.config.threads is None else ''} · as many threads give the same bits on any number of "
        f"processes{idle}"
    ]


def going_on(command: Sequence[str]) -> str:
    """The command that goes on with a stopped run: the same, without --max-steps."""
    return shlex.join([word for i, word in enumerate(command) if not _is_max_steps(command, i)])


def _is_max_steps(argv: Sequence[str], i: int) -> bool:
    named = ("--max-steps", "--max_steps")
    return argv[i].partition("=")[0] in named or (i > 0 and argv[i - 1] in named)


def result(
    strategy: str, prepared: Prepared, folder: Path, state: State, chosen: State, scores: Scores, tested: Scores
) -> Result:
    """What a run came to. ``state``: its last one; ``chosen``: the one of the scores, which is that one or an earlier;
    ``scores`` are those on dev, ``tested`` those on test."""
    lines = list(record.lines(folder / documents.METRICS))
    return Result(
        experiment=strategy,
        digest=digest(state),
        identity=prepared.identity_hash,
        seed=prepared.config.seed,
        key=keys.root(prepared.config.seed),
        steps=state.step,
        schedule=prepared.schedule.schedule_tokens,
        match=_match(prepared, state),
        slots={slot: digest(tensors) for slot, tensors in chosen.params.items()},
        selected=_selected(prepared, state, chosen),
        tokens=_tokens(state),
        scores={task.name: _score(prepared, task, scores, tested) for task in prepared.tasks},
        parameters=Parameters(
            active_adapter=active_adapter_parameters(prepared.model), trainable=trainable_parameters(prepared)
        ),
        conflicts=observers.conflict_table(state),
        nonfinite_steps=state.nonfinite.total,
        alerts=tuple(
            Alert(step=line["step"], kind=line["kind"], message=line["message"])
            for line in lines
            if line.get("event") == "alert"
        ),
        environment_breaks=tuple(state.lineage.breaks),
        smoke_test=smoke.ending(folder),
        peak_memory_bytes=memory.peak(prepared.model.device),
        training_seconds=sum(line["seconds_per_step"] for line in lines if "event" not in line),
    )


def _selected(prepared: Prepared, state: State, chosen: State) -> Selected | None:
    best = chosen.progress.best
    if prepared.config.select == "last" or best is None:
        return None
    return Selected(
        step=chosen.step,
        tokens=chosen.input_tokens,
        points=state.progress.evaluations,
        dev=best,
        digest=digest(chosen.params),
    )


def _tokens(state: State) -> Tokens:
    counts = total(state.tokens.values())
    return Tokens(
        total=state.input_tokens,
        per_task={t: c.input for t, c in state.tokens.items()},
        loss={t: c.loss for t, c in state.tokens.items()},
        padded={t: c.padded for t, c in state.tokens.items()},
        examples={t: c.examples for t, c in state.tokens.items()},
        input_share_of_slots=counts.input / counts.padded,
    )


def _score(prepared: Prepared, task: Task, scores: Scores, tested: Scores) -> Score:
    dev, test = scores[task.name], tested.get(task.name)
    return Score(
        metric=task.metric,
        dev=dev[task.metric],
        test=None if test is None else test[task.metric],
        all=dev,
        all_test=test,
        baselines=evaluation.baselines(prepared.datasets[task.name]),
    )


def facts(prepared: Prepared, state: State, task: Task, scores: Scores, tested: Scores) -> Facts:
    """What the card of an export says of a task."""
    corpora = {split: getattr(prepared, split).get(task.name) for split in SPLITS}
    score, parent = _score(prepared, task, scores, tested), prepared.config.parent
    return Facts(
        terms=_terms(prepared, task),
        examples={split: len(corpus) for split, corpus in corpora.items() if corpus is not None},
        digest=prepared.train[task.name].digest,
        dev=score.dev,
        test=score.test,
        baselines=score.baselines,
        tokens=state.tokens[task.name].input,
        total=state.input_tokens,
        tasks=tuple(each.name for each in prepared.tasks),
        seed=prepared.config.seed,
        steps=state.step,
        state=digest(state),
        select=prepared.config.select,
        control="" if parent is None else f"{parent.role} of a run of {parent.experiment}",
    )


def _terms(prepared: Prepared, task: Task) -> str:
    """Where the data come from and on what terms, as far as that is known; never a path."""
    mapping = prepared.config.task.get(task.name)
    source = prepared.datasets[task.name].source
    if mapping is None and prepared.config.data_dir is None and task.name not in public.PUBLIC:
        return source
    if mapping is None:
        official = OFFICIAL[task.official].terms if task.official else ""
        return {**TERMS, **public.NOTES}.get(task.name, official)
    hub = not Path(mapping.source).is_absolute() and HUB_ID.fullmatch(mapping.source)
    return f"The data set {source} of the Hugging Face Hub, on the terms that stand there" if hub else ""


def _peak(result: Result) -> str:
    """The most memory that was taken, on the device that trained; runs of older versions do not say."""
    peak = result.peak_memory_bytes
    size = peak.get("allocated", peak.get("resident"))
    return "" if size is None else f", {size / 2**20:,.0f} MB of memory at its peak"


def _match(prepared: Prepared, state: State) -> Match | None:
    """What the run is matched with."""
    parent = prepared.config.parent
    if parent is None:
        return None
    return Match(
        parent=_matched_run(parent),
        control=parent.role,
        tasks=tuple(task.name for task in prepared.tasks),
        tokens=state.input_tokens,
        frozen_slots=tuple(prepared.config.frozen_slots),
        updates=state.step if parent.role == "updates" else None,
        shuffled_tasks=listed(prepared.config.shuffled_tasks) or None,
    )


def _matched_run(parent: Parent) -> MatchedRun:
    return MatchedRun(
        path=parent.path,
        experiment=parent.experiment,
        seed=parent.seed,
        identity=parent.identity,
        digest=parent.digest,
    )


def summary(result: Result) -> str:
    """The scores beside the trivial baselines, and the tokens, as a table."""
    width = max(map(len, result.scores))
    lines = [f"{'task':<{width}}  {'metric':<12} {'dev':>6} {'test':>6}  {'baselines':<40} {'tokens':>9}"]
    for task, score in result.scores.items():
        trivial = "  ".join(f"{name} {value:.3f}" for name, value in score.baselines.items())
        tokens = result.tokens.per_task[task]
        both = " ".join(f"{'–':>6}" if value is None else f"{value:>6.3f}" for value in (score.dev, score.test))
        lines.append(f"{task:<{width}}  {score.metric:<12} {both}  {trivial:<40} {tokens:>9,}")
    lines += [f"ALERT {each.kind} at step {each.step}: {each.message}" for each in result.alerts]
    lines += [f"environment changed, {change}" for change in result.environment_breaks]
    share = result.tokens.input_share_of_slots
    lines.append(
        f"{result.tokens.total:,} input tokens in {result.steps} steps, "
        + ("" if share is None else f"{share:.1%} of the slots computed; ")
        + f"{result.training_seconds / 60:.1f} min of training{_peak(result)}"
    )
    if (chosen := result.selected) is not None:
        lines.append(
            f"selected step {chosen.step}, after {chosen.tokens:,} tokens: the best on dev of {chosen.points} points "
            f"of the budget, mean {chosen.dev:.3f}"
        )
    lines.append(f"digest {result.digest}")
    return "\n".join(lines)

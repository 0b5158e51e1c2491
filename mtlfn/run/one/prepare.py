"""From a configuration to everything a run is made of: data, model, stream and step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch
from attrs import frozen

from mtlfn.core import keys, methods, scaling, state, step
from mtlfn.core.gradients import ENGINES
from mtlfn.core.ranks import Ranks, across
from mtlfn.core.schedule import Schedule
from mtlfn.core.state import State
from mtlfn.data import shuffled, sources
from mtlfn.data.example import CacheError
from mtlfn.data.screening import survey
from mtlfn.data.task import SPLITS, Dataset, Task, label_counts
from mtlfn.data.tokens import sampler, store, stream
from mtlfn.data.tokens.collate import collate
from mtlfn.models import backbone, lora, model
from mtlfn.models.families import KNOWN, first_line
from mtlfn.models.proof import Proof
from mtlfn.models.strategy import STRATEGIES, Strategy
from mtlfn.run.config import Config, default_cache, digest, identity, listed, micro_batch_slots, sizes, task_names
from mtlfn.run.errors import UsageError, unusable_cache
from mtlfn.run.machine import batch_size, cublas
from mtlfn.run.machine.proven import proven
from mtlfn.run.one import evaluate, extent, matched
from mtlfn.run.one.evaluate import Through, straight
from mtlfn.run.one.walk import Evaluation, Scores, Walk

POINTS = 10  # of the budget, of which ``select = "best"`` chooses one


@frozen(eq=False)
class Prepared:
    """A run before its first step.

    Attributes:
        config: with every default that depends on the data filled in.
        tasks, datasets: in canonical order.
        train, dev, test: tokenised splits; test lacks the tasks that have none, not even held out of training.
        model, stream, step: the parts of the walk. ``step_config``: hyper-parameters of the step.
        budget: input tokens at which the run ends, if no early stopping ends it before.
        proof: that the backbone computes what stock transformers computes.
        identity: what the run directory belongs to; ``identity_hash`` is its SHA-256.
    """

    config: Config
    tasks: tuple[Task, ...]
    datasets: Mapping[str, Dataset]
    train: Mapping[str, store.Corpus]
    dev: Mapping[str, store.Corpus]
    test: Mapping[str, store.Corpus]
    model: model.Model
    stream: stream.Stream
    step: step.Step
    step_config: step.StepConfig
    budget: int
    proof: Proof
    identity: dict[str, Any]

    @property
    def identity_hash(self) -> str:
        return digest(self.identity)

    @property
    def corpus_tokens(self) -> int:
        """Input tokens of one epoch: all training data once."""
        return sum(corpus.tokens for corpus in self.train.values())

    @property
    def schedule(self) -> Schedule:
        return self.step_config.schedule

    def start(self) -> State:
        """The state before the first step."""
        return _start(self.config, self.model)

    def step_with(self, schedule: Schedule) -> step.Step:
        """The step with another schedule of the learning rate."""
        return _step(attrs.evolve(self.step_config, schedule=schedule), self.model)

    def step_on(self, ranks: Ranks) -> step.Step:
        """The step, its gradients shared out among ranks."""
        return _step(attrs.evolve(self.step_config, engine=across(self.step_config.engine, ranks)), self.model)

    def evaluate(self, current: State, count: int | None = None, through: Through = straight) -> Evaluation:
        """Evaluation of a state on ``count`` dev examples of each task, or all."""
        predicted = self.predicted(current, "dev", count, through)
        scores = evaluate.score("dev", self.datasets, predicted, count)
        primary = evaluate.primary(self.tasks, scores)
        return Evaluation(scores, sum(primary.values()) / len(primary), predicted)

    def evaluate_test(self, current: State, through: Through = straight) -> tuple[Scores, dict[str, list]]:
        """Scores and predictions of a state on the test splits: what verdicts are made of, never what is chosen by."""
        predicted = self.predicted(current, "test", None, through)
        return evaluate.score("test", self.datasets, predicted), predicted

    def predicted(self, current: State, split: str, count: int | None, through: Through) -> dict[str, list]:
        """Predictions of a state on ``count`` examples of each task of a split, or all."""
        corpora = {"dev": self.dev, "test": self.test}[split]
        return evaluate.predicted(self.model, current.params, split, corpora, self.datasets, count, through)

    @property
    def walk(self) -> Walk:
        return Walk(
            start=self.start,
            stream=self.stream,
            step=self.step,
            evaluate=self.evaluate,
            budget=self.budget,
            epoch_tokens=self.corpus_tokens,
            points=POINTS if self.config.select == "best" else 0,
            early_stopping=self.config.max_epochs is not None,
            patience=self.config.patience,
        )


def _start(config: Config, built: model.Model) -> State:
    key = keys.root(config.seed)
    names = tuple(task.name for task in built.tasks)
    parent = config.parent
    params = model.init_params(built, key)
    if config.frozen_slots:
        params = matched.carried(parent, params, config.frozen_slots)
    scale = scaling.START if config.precision == "fp16" else 1.0
    return state.init(key, params, names, patience=config.patience, parent=parent and parent.digest, scale=scale)


def _step(config: step.StepConfig, built: model.Model) -> step.Step:
    return step.build(config, partial(model.losses, built), built.reach)


def prepare(strategy_name: str, config: Config) -> Prepared:
    """Reads, tokenises and loads; UsageError, DataError or BackboneError where something cannot be used."""
    strategy = _strategy(strategy_name, config)
    gradients = config.gradients or strategy.gradients
    method = _method(gradients)
    device = resolve_device(config.device)
    cublas.look_once(device)
    precision = _precision(config.precision, device)
    _check(config, device)
    cache = config.cache_dir or default_cache()
    unshuffled = _datasets(config, strategy, cache)
    datasets = shuffled.shuffled(unshuffled, listed(config.shuffled_tasks), keys.root(config.seed))
    base = backbone.load(config.backbone, config.revision)
    length = _max_length(config, base, datasets)
    config = attrs.evolve(config, max_length=length)
    tokenizer = store.tokenizer_digest(base.tokenizer)
    per_step = sampler.per_step(config.sampling, config.micro_batches, len(sizes(config.drawn_among) or datasets))
    try:
        corpora = _corpora(base, datasets, length, cache, tokenizer)
        whole = {t: unshuffled[t] for t in listed(config.shuffled_tasks)}
        digests = {t: store.load(d, "train", base.tokenizer, length, cache, tokenizer).digest for t, d in whole.items()}
        budget, wanted, horizon = _amounts(config, corpora["train"], per_step)
        proof = proven(base, length, extent.largest_pass(corpora, wanted, per_step), cache)
    except OSError as error:
        raise unusable_cache(cache, error) from None
    built = _model(config, base, strategy, datasets, device, precision)
    data = {t: {split: of[t].digest for split, of in corpora.items() if t in of} for t in corpora["train"]}
    facts = {"strategy": strategy_name, "backbone_digest": base.digest, "tokenizer_digest": tokenizer, "data": data}
    if config.parent is not None:
        of_parent = {t: {**of, **({"train": digests[t]} if t in digests else {})} for t, of in data.items()}
        matched.check(Path(config.parent.path), {**facts, "data": of_parent, "max_length": length}, base.settings)
    step_config = _step_config(config, horizon, method)
    take = _step(step_config, built)
    if precision != torch.float32 or base.model.config.model_type not in KNOWN:
        _try(config, built, take, corpora)
    slots = config.micro_batch_tokens
    if slots is None:
        slots = batch_size.search(batch_size.attempt(take, _start(config, built), corpora["train"], device), wanted)
    config = attrs.evolve(
        config, tasks=",".join(datasets), gradients=gradients, read_out_layer=built.read_out, micro_batch_tokens=slots
    )
    return Prepared(
        config=config,
        tasks=built.tasks,
        datasets=datasets,
        **corpora,
        model=built,
        stream=stream.build(_stream_config(config, budget, slots), corpora["train"]),
        step=take,
        step_config=step_config,
        budget=budget,
        proof=proof,
        identity=identity(config, **facts),
    )


def _check(config: Config, device: torch.device) -> None:
    """UsageError where settings contradict each other or the device."""
    if config.tf32 and device.type != "cuda":
        raise UsageError(f"--tf32: it is there on CUDA devices, and --device is {device}; leave it out")
    if config.micro_batches and config.sampling == "uniform":
        raise UsageError(
            f"--micro-batches {config.micro_batches}: uniform sampling draws one of every task; use --sampling "
            "proportional or temperature"
        )
    if config.select == "best" and config.max_epochs is not None:
        raise UsageError(
            f"--select best: with --max-epochs {config.max_epochs} the run stops where dev says, and another number of "
            "points would be chosen from on every side; give --budget-tokens, or leave --select out"
        )


def read_tasks(config: Config, cache: Path) -> tuple[Dataset, ...]:
    """The data sets of a configuration's tasks, in their order; UsageError where the cache cannot be used."""
    try:
        beside = listed(config.held_out_tasks)
        return sources.resolve(task_names(config), config.data_dir, config.task, cache=cache, beside=beside)
    except CacheError as error:
        raise unusable_cache(cache, error) from None


def _datasets(config: Config, strategy: Strategy, cache: Path) -> dict[str, Dataset]:
    """The tasks' data, in canonical order."""
    read = read_tasks(config, cache)
    tasks = model.canonical([dataset.task for dataset in read])
    if len(tasks) > 1 and strategy.single:
        raise UsageError(f"--tasks {','.join(t.name for t in tasks)}: {strategy.name} trains one task; name one")
    return {task.name: next(d for d in read if d.task.name == task.name) for task in tasks}


def _corpora(
    base: backbone.Backbone, datasets: Mapping[str, Dataset], length: int, cache: Path, tokenizer: str
) -> dict[str, dict[str, store.Corpus]]:
    """Split -> task -> its examples in tokens. ``tokenizer``: its digest."""
    corpora = {
        s: {t: store.load(d, s, base.tokenizer, length, cache, tokenizer) for t, d in datasets.items() if d[s]}
        for s in SPLITS
    }
    for task, corpus in corpora["train"].items():
        if not len(corpus):
            raise UsageError(f"task {task}: no training example is left after tokenisation ({corpus.notes})")
    extent.check_vocabulary(base, corpora)
    return corpora


def _amounts(config: Config, train: Mapping[str, store.Corpus], per_step: int) -> tuple[int, int, int]:
    """Input tokens at which the run ends, if no early stopping ends it before; slots of a micro-batch, where none are
    asked for and memory allows; input tokens at which the schedule ends."""
    budget = config.budget_tokens
    if config.max_epochs is not None:
        budget = config.max_epochs * sum(corpus.tokens for corpus in train.values())
    slots = config.micro_batch_tokens or micro_batch_slots(budget, per_step)
    if config.updates is None:
        return budget, slots, config.schedule_tokens or budget
    stream_config = _stream_config(config, budget, slots)
    tokens = stream.tokens_of(stream_config, train, keys.root(config.seed), config.updates)
    if config.schedule_tokens is None:
        return tokens, slots, tokens
    return tokens, slots, max(1, round(config.schedule_tokens * tokens / config.budget_tokens))


def _model(
    config: Config,
    base: backbone.Backbone,
    strategy: Strategy,
    datasets: Mapping[str, Dataset],
    device: torch.device,
    precision: torch.dtype,
) -> model.Model:
    return model.build(
        base,
        strategy,
        tuple(dataset.task for dataset in datasets.values()),
        lora.LoraSettings(
            alpha_ratio=config.lora_alpha_ratio, dropout=config.lora_dropout, targets=config.lora_targets
        ),
        label_counts={t: {**label_counts(d.task, d.train), "": len(d.train)} for t, d in datasets.items()},
        read_out=config.read_out_layer,
        detach_level1=config.detach_level1,
        frozen=config.frozen_slots,
        device=device,
        precision=precision,
        recompute=config.gradient_checkpointing,
        unpad=config.unpad,
    )


def _step_config(config: Config, schedule_tokens: int, method: methods.Method) -> step.StepConfig:
    schedule = Schedule(
        peak=config.learning_rate,
        schedule_tokens=schedule_tokens,
        warmup_ratio=config.warmup_ratio,
        decay=config.decay,
    )
    return step.StepConfig(
        schedule=schedule,
        engine=ENGINES[config.engine],
        method=method,
        weighting=config.weighting,
        sigma_learning_rate=config.sigma_learning_rate,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        scaling=config.precision == "fp16",
    )


def _stream_config(config: Config, budget: int, slots: int) -> stream.StreamConfig:
    return stream.StreamConfig(
        budget_tokens=budget,
        micro_batch_tokens=slots,
        sampling=config.sampling,
        temperature=config.temperature,
        micro_batches=config.micro_batches,
        among=sizes(config.drawn_among),
        unpad=config.unpad,
    )


def _try(
    config: Config, built: model.Model, take: step.Step, corpora: Mapping[str, Mapping[str, store.Corpus]]
) -> None:
    """A step and a prediction of each task, of a model that nobody has trained here: what fails is one line."""
    start = _start(config, built)
    try:
        take(start, batch_size.heaviest(corpora["train"], batch_size.LEAST, start.cursors))
        for corpus in corpora["dev"].values():
            if (micro_batch := collate(corpus, [0])) is not None:
                model.predict(built, start.params, micro_batch)
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        kind, why = built.backbone.model.config.model_type, f"{type(error).__name__}: {first_line(error)}"
        raise backbone.BackboneError(
            f"--backbone {config.backbone}: {kind} cannot be trained with --precision {config.precision}, "
            f"--lora-targets {config.lora_targets} and --engine {config.engine} ({why}); try fp32, other targets or "
            "another backbone"
        ) from None


def _strategy(name: str, config: Config) -> Strategy:
    strategy = STRATEGIES[name]
    if config.fusion != strategy.fusion and not strategy.separate:
        raise UsageError(f"--fusion {config.fusion}: {name} has nothing to fuse; it means something for s3a only")
    # A control has its parent's architecture, with one task in it: level-1 heads read where theirs do.
    above = config.parent is not None and STRATEGIES[config.parent.experiment].hierarchical
    return attrs.evolve(strategy, fusion=config.fusion, hierarchical=strategy.hierarchical or above)


def _method(name: str) -> methods.Method:
    try:
        return methods.method(name)
    except ValueError as error:
        raise UsageError(f"--gradients {name}: {error}") from None


def resolve_device(name: str) -> torch.device:
    """The device of a name; UsageError where there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: {torch.cuda.device_count()} CUDA devices are available; use --device cpu")
    return device


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UsageError(
            f"--precision bf16: {torch.cuda.get_device_name(device)} has no bfloat16 units; use --precision fp16"
        )
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def _max_length(config: Config, base: backbone.Backbone, datasets: Mapping[str, Dataset]) -> int:
    """The longest sequence in tokens: as asked for, where the backbone takes so many, or as the data want it."""
    longest = backbone.longest(base)
    least = 8  # of --max-length
    if longest is not None and longest < least:
        raise UsageError(f"--backbone {base.name}: takes rows of at most {longest} tokens, expected {least} or more")
    if config.max_length is None:
        return survey.fitting_length(datasets.values(), base.tokenizer, longest)
    if longest is not None and config.max_length > longest:
        raise UsageError(
            f"--max-length {config.max_length}: the backbone {base.name} takes at most {longest} positions"
        )
    return config.max_length


def trainable_parameters(prepared: Prepared) -> dict[str, int]:
    """Trainable numbers per slot or head."""
    shapes = prepared.model.shapes
    return {slot: sum(shape.numel() for shape in names.values()) for slot, names in shapes.items()}

"""The end of a run: predictions, exports and the result, which is written last; and a result that is there already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from mtlfn.core.state import State
from mtlfn.run import documents
from mtlfn.run.disk import sweep, write_file
from mtlfn.run.documents import typed
from mtlfn.run.documents.result import Result
from mtlfn.run.errors import OK
from mtlfn.run.one import evaluate, export, together
from mtlfn.run.one import summary as texts
from mtlfn.run.one.evaluations import Evaluations
from mtlfn.run.one.prepare import Prepared
from mtlfn.run.one.walk import Evaluation, Scores
from mtlfn.run.storage import archive, seal
from mtlfn.run.watch import observers


def finished(folder: Path, say: Callable[[str], None]) -> str | None:
    """The summary of a finished run; None where there is no result, or one that is not as it was sealed.

    That is said, and what is not as it was is made again.
    """
    try:
        verified = seal.verify(folder)
        if not verified.problems:
            return texts.summary(typed.read(folder, Result))
    except FileNotFoundError:
        return None
    except ValueError as error:  # the result of an older version, which has no seal
        say(f"ALERT     {documents.RESULT} cannot be used ({error}): made again")
        return None
    for problem in verified.problems:
        say(f"ALERT     {problem}: made again")
    return None


def conclude(
    strategy: str,
    prepared: Prepared,
    folder: Path,
    storage: archive.Archive,
    report: observers.Reporter,
    state: State,
    evaluation: Evaluation | None,
    evaluations: Evaluations,
) -> int:
    """Evaluates what is not evaluated, writes everything, and seals it. Leaving where no time is left for a task.

    ``evaluation``: of the last state on dev, if it was just made; else the run was finished before, and
    stopped between its last checkpoint and its result.
    """
    chosen = state
    if prepared.config.select == "best":
        chosen = together.share_state(storage.best(state, prepared.start()), evaluations.processes)
    if evaluation is None or chosen.step != state.step:
        evaluation = prepared.evaluate(chosen, through=evaluations.through(chosen, "dev"))
    tested, predicted = prepared.evaluate_test(chosen, evaluations.through(chosen, "test"))
    products(prepared, chosen, evaluation, (tested, predicted), folder)
    result = texts.result(strategy, prepared, folder, state, chosen, evaluation.scores, tested)
    typed.write(folder, result.tokens)
    result = attrs.evolve(result, files=seal.hashes(folder))
    data = typed.encode(result)
    storage.seal(state, hashlib.sha256(data).hexdigest())
    write_file(folder / documents.RESULT, data)
    evaluations.forget()
    report.say("\n" + texts.summary(result))
    joins = prepared.model.strategy.fusion
    adapters = "PEFT adapters" if joins == "sum" else f"adapters with {joins} fusion, which mtlfn loads and PEFT cannot"
    report.say(f"\neverything is in {folder}: result.json, metrics.jsonl, predictions/, export/<task>/ ({adapters})")
    report.say("next: another --seed, or the same on your own data: see README.md")
    return OK


def products(
    prepared: Prepared, state: State, dev: Evaluation, test: tuple[Scores, Mapping[str, list]], folder: Path
) -> None:
    """Writes predictions and exports of a state: functions of the state, byte for byte.

    Args:
        dev, test: the evaluation of the state on both splits; of test, scores and predictions.
    """
    scores, tested = test
    for part in ("predictions", "export"):
        if (folder / part).is_dir():
            sweep(folder / part)
    for task in prepared.tasks:
        dataset = prepared.datasets[task.name]
        for split, predictions in (("dev", dev.predictions), ("test", tested)):
            if task.name in predictions:
                evaluate.write_predictions(folder / "predictions", dataset, split, predictions[task.name])
    usual = {task.name: evaluate.usual_class(task, prepared.datasets[task.name].train) for task in prepared.tasks}
    paired = {t.name for t in prepared.tasks if evaluate.paired(t, prepared.datasets[t.name].train)}
    length, tokenizer = prepared.config.max_length, prepared.identity["tokenizer_digest"]
    assert length is not None, "filled in when the run was prepared"
    facts = {task.name: texts.facts(prepared, state, task, dev.scores, scores) for task in prepared.tasks}
    export.export(prepared.model, state.params, folder / "export", length, usual, tokenizer, facts, paired)

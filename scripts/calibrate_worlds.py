"""Does the verdict find what is planted? Trained studies of the planted worlds (``mtlfn/data/embedded/worlds.py``).

    python scripts/calibrate_worlds.py [--minutes 40] [--seeds 3] [--studies 20] [--processes 2] [--folder DIR]

A study is one sample of a world's texts and some seeds. Each seed trains three runs, as the experiments do: multi-task
(S2) on source and target, plain S1 and token-controlled S1 on the target. The verdict is on the target alone, from
``mtlfn.analysis`` as it is. Printed: the table truth x verdict, and the differences behind it. The backbone is the
planted one (``mtlfn/models/planted.py``), in which every made-up word is one token: a run takes seconds.

Finished runs are kept in the folder, so that the same command goes on where the time was over. Exit code 1: more than
5 % of a world's verdicts are decided and wrong, or fewer than 80 % are right where transfer, genuine or negative, is
planted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

from attrs import frozen

from mtlfn.analysis.runs import cells
from mtlfn.analysis.statistics import verdict
from mtlfn.analysis.statistics.bootstrap import Difference, difference
from mtlfn.core.keys import fold, root
from mtlfn.run.commands.command import guarded
from mtlfn.run.config import Config
from mtlfn.run.errors import UsageError
from mtlfn.run.many import execute, plan

PLANTED = {
    "genuine": verdict.GENUINE,
    "exposure": verdict.EXPOSURE,
    "negative": verdict.NEGATIVE,
    "unrelated": verdict.NO_EFFECT,
    "dilution": verdict.DILUTION,
    "part": verdict.HELPS_LESS,
    "overdone": verdict.OVER_TRAINED,
    "again": verdict.OWN_SHARE,
}
FIRST = max(map(len, PLANTED.values())) + 2  # width of the first column
MUST_BE_FOUND = ("genuine", "negative")
MOST_WRONG, LEAST_RIGHT = 0.05, 0.80
ALPHA, DRAWS = 0.05, 10_000


@frozen(kw_only=True)
class Job:
    """The runs of one seed of one study. ``until``: no run begins after this time, in seconds since the epoch."""

    folder: Path
    world: str
    study: int
    seed: int
    budget_tokens: int
    until: float

    @property
    def place(self) -> Path:
        return self.folder / self.world / f"study-{self.study}" / f"seed-{self.seed}"

    @property
    def tasks(self) -> tuple[str, str]:
        """Target and source, of the sample that is the study's own."""
        names = [f"world_{self.world}_{side}" for side in ("target", "source")]
        return tuple(f"{name}.{self.study}" if self.study else name for name in names)


def config(job: Job) -> Config:
    """Of the multi-task run, from which the controls inherit."""
    return Config(
        tasks=",".join(job.tasks),
        backbone="planted",
        cache_dir=job.folder / "cache",
        seed=job.seed,
        budget_tokens=job.budget_tokens,
        # By size, and so fewer steps for plain S1: with every task once a step it would have as many as the others.
        sampling="proportional",
        micro_batches=1,  # a step is of one task, so that the target has as many of them in plain S1
        micro_batch_tokens=128,
        max_length=16,
        lora_targets="all-linear",
        lora_dropout=0.0,
        learning_rate=3e-3,
        threads=1,
        device="cpu",
        save_every_steps=1_000_000,
        quick_eval_examples=0,
        skip_smoke_test=True,
    )


def train(job: Job) -> bool:
    """Trains what is not finished, until the time is over; whether all runs are finished."""
    target = job.tasks[0]
    controls = (
        node
        for kind in cells.CONTROLS
        for node in plan.controls(lambda at: at / "multi-task", job.budget_tokens, [target], kind, kind)
    )
    for node in (plan.multi("s2", config(job), "multi-task"), *controls):
        if plan.progress(job.place, [node])[node.name] != "finished":
            if time.time() >= job.until:
                return False
            job.place.mkdir(parents=True, exist_ok=True)
            with (job.place / "train.log").open("a") as log, redirect_stdout(log):
                if execute.execute(job.place, [node], sys.argv) != 0:
                    return False
        for name in ("checkpoints", "export"):  # megabytes, hundreds of times, that nobody reads again
            shutil.rmtree(job.place / node.name / name, ignore_errors=True)
    return True


@frozen
class Judged:
    """What is said of one study, and the two differences behind it."""

    world: str
    verdict: str
    controlled: Difference
    plain: Difference


def judge(jobs: Sequence[Job], margin: float) -> Judged:
    """The jobs of one study, all of them finished."""
    target = jobs[0].tasks[0]
    (study,) = cells.find([job.place for job in jobs]).studies
    key = fold(root(0), "verdict", target)
    made = {}
    for control in cells.CONTROLS:
        task, sides = cells.sides(study, target, control)
        made[control] = difference(task, sides.multi, sides.control, key, DRAWS)
    pair = verdict.Pair(made["total"], made["per-task"])
    said = verdict.decide({target: pair}, margin, ALPHA)[target].verdict
    return Judged(jobs[0].world, said, pair.controlled, pair.plain)


def table(judged: Sequence[Judged], margin: float) -> tuple[list[str], int]:
    """Lines to print, and how many worlds miss their bounds."""
    names = (*verdict.CLAIMS, verdict.INCONCLUSIVE)
    lines = [
        f"{'planted':<{FIRST}}{'studies':>8}"
        + "".join(f"{name:>{_wide(name)}}" for name in names)
        + f"{'wrong':>8}{'right':>8}"
    ]
    missed = 0
    for world, truth in PLANTED.items():
        said = Counter(each.verdict for each in judged if each.world == world)
        if not (count := said.total()):
            lines.append(f"{truth:<{FIRST}}{0:>8}")
            continue
        right, wrong = said[truth] / count, (count - said[truth] - said[verdict.INCONCLUSIVE]) / count
        bad = wrong > MOST_WRONG or (world in MUST_BE_FOUND and right < LEAST_RIGHT)
        missed += bad
        row = "".join(f"{said[name]:>{_wide(name)}}" for name in names)
        lines.append(f"{truth:<{FIRST}}{count:>8}{row}{wrong:>8.0%}{right:>8.0%}{' !' if bad else ''}")
    lines += [
        "",
        f"multi-task less control, mean over all seeds (standard deviation between them), margin {margin:g}",
        f"{'planted':<{FIRST}}{'seeds':>8}{'token-controlled S1':>24}{'plain S1':>24}",
    ]
    for world, truth in PLANTED.items():
        mine = [each for each in judged if each.world == world]
        if mine:
            sides = [[d for each in mine for d in getattr(each, side).per_seed] for side in ("controlled", "plain")]
            shown = "".join(f"{f'{statistics.mean(d):+.3f} ({statistics.stdev(d):.3f})':>24}" for d in sides)
            lines.append(f"{truth:<{FIRST}}{len(sides[0]):>8}{shown}")
    return lines, missed


def _wide(name: str) -> int:
    """Width of the column of a verdict."""
    return max(20, len(name) + 2)


def calibrate(asked: argparse.Namespace) -> int:
    """Trains as much as the time allows, judges the studies that are complete, prints; returns the exit code."""
    if asked.seeds < 2:
        raise UsageError(f"--seeds {asked.seeds}: expected at least 2, since one seed gives no verdict")
    chosen = asked.worlds.split(",")
    if unknown := [world for world in chosen if world not in PLANTED]:
        raise UsageError(f"--worlds {asked.worlds}: {unknown[0]!r} is none of {', '.join(PLANTED)}")
    began, folder = time.time(), asked.folder.resolve()
    studies = {
        (study, world): [
            Job(
                folder=folder,
                world=world,
                study=study,
                seed=1000 * study + i,  # no study shares one with another
                budget_tokens=asked.budget_tokens,
                until=began + 60 * asked.minutes,
            )
            for i in range(asked.seeds)
        ]
        for study in range(asked.studies)  # outside: when the time is over, every world has had as much of it
        for world in chosen
    }
    jobs = [job for each in studies.values() for job in each]
    if asked.processes == 1:
        finished = list(map(train, jobs))
    else:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        with ProcessPoolExecutor(asked.processes, mp_context=context) as pool:
            finished = list(pool.map(train, jobs))
    done = {job for job, whole in zip(jobs, finished, strict=True) if whole}
    judged = [judge(each, asked.margin) for each in studies.values() if done.issuperset(each)]
    lines, missed = table(judged, asked.margin)
    print("\n".join(lines))
    print(
        f"\n{len(judged)} of {len(studies)} studies complete, {asked.seeds} seeds each; {len(done)} of {len(jobs)} "
        f"triples of runs of {asked.budget_tokens:,} tokens; {missed} worlds out of bounds (!); "
        f"{(time.time() - began) / 60:.1f} min"
    )
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("results/calibrate-worlds"), help="keeps what is finished")
    parser.add_argument("--minutes", type=float, default=40.0, help="no run begins later than this")
    parser.add_argument("--worlds", default=",".join(PLANTED))
    parser.add_argument("--studies", type=int, default=20, help="of each world: samples of its texts")
    parser.add_argument("--seeds", type=int, default=3, help="of each study")
    parser.add_argument("--processes", type=int, default=2, help="a core each")
    parser.add_argument("--margin", type=float, default=0.05)
    parser.add_argument("--budget-tokens", type=int, default=20_000, help="of a multi-task run")
    asked = parser.parse_args()
    return guarded(lambda: calibrate(asked))


if __name__ == "__main__":
    sys.exit(main())

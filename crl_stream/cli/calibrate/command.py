"""The command ``crl calibrate``."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated

import typer

from crl_stream.calibration.alternatives import alternatives
from crl_stream.calibration.drawing import draw
from crl_stream.calibration.measurement import QUICK_TASKS, TASKS, Simulation, figures, simulate
from crl_stream.calibration.recommendation import recommend
from crl_stream.calibration.stock import supply_of
from crl_stream.cli.calibrate.document import document
from crl_stream.cli.calibrate.page import Calibration, show_page
from crl_stream.cli.calibrate.source import named_policies, read_file, read_topic
from crl_stream.cli.orders import Task
from crl_stream.cli.session import task_key
from crl_stream.cli.talk import progress_bar, say, show_json
from crl_stream.errors import UsageError

File = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="Outcomes as JSON lines (.gz, .zst); - means stdin. Default: the topic."),
]
Policies = Annotated[
    list[Path] | None,
    typer.Option("--policy", metavar="<path>", help="Also measure the policy of this settings file; repeatable."),
]
OnlyNamed = Annotated[
    bool, typer.Option("--only-named", help="Measure only the present policy and the files of --policy.")
]
Budget = Annotated[
    float, typer.Option("--budget", min=0, help="Accepted number of false rollbacks per 1,000 invocations.")
]
Falls = Annotated[
    float, typer.Option("--falls", min=0, max=10_000, help="Expected number of falls in 10,000 outcomes.")
]
Active = Annotated[
    str | None,
    typer.Option("--active", help="The active variant. Default: the one of the newest outcome without exploration."),
]
Whole = Annotated[bool, typer.Option("--whole", help="Use all outcomes, even if a variant changed in between.")]
Last = Annotated[int, typer.Option("--last", min=1, help="Use at most this many of the newest outcomes.")]
Seed = Annotated[str, typer.Option("--seed", help="Seed of the simulation; differences between seeds are chance.")]
Tasks = Annotated[
    int | None,
    typer.Option(
        "--tasks", min=16, max=100_000, help=f"Simulated tasks per policy. Default: {TASKS}.", show_default=False
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help=f"Simulate only {QUICK_TASKS} tasks per policy; intervals widen.")]
Processes = Annotated[
    int | None,
    typer.Option("--processes", min=1, help="Processes to use. Default: one for each core.", show_default=False),
]
Plot = Annotated[Path | None, typer.Option("--plot", help="Also draw the figures in this file (.svg).")]


def calibrate(
    context: typer.Context,
    task: Task,
    file: File = None,
    policy: Policies = None,
    only_named: OnlyNamed = False,
    budget: Budget = 0.2,
    falls: Falls = 1.0,
    active: Active = None,
    whole: Whole = False,
    last: Last = 20_000,
    seed: Seed = "1",
    tasks: Tasks = None,
    quick: Quick = False,
    processes: Processes = None,
    plot: Plot = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure false rollbacks, delay and harm of a task's policy and of others, and recommend one.

    The task's own outcomes are resampled and fed to the real engine: while nothing changes, so that every rollback is
    false, and with falls of the active variant. Writes nothing to Kafka. docs/calibration.md says what is assumed.
    """
    key = task_key(task)
    _check_plot(plot)
    if not math.isfinite(budget) or not math.isfinite(falls):
        raise UsageError("--budget and --falls must be finite.", hint="leave the option out for its default")
    named = named_policies(policy or [], key)
    source = read_topic(context.obj, key, last) if file is None else read_file(context.obj, key, file, last)
    progress = progress_bar()
    supply = supply_of(
        source.history,
        source.present.policy.learning,
        active=active,
        whole=whole,
        progress=lambda done, of: progress("looking for changes", done, of),
    )
    chosen = alternatives(source.present.policy, named, only_named=only_named)
    count = tasks or (QUICK_TASKS if quick else TASKS)
    simulation = Simulation(supply, tuple(one.policy for one in chosen), seed, count)
    samples = simulate(simulation, processes or available(), lambda done, of: progress("simulating", done, of))
    found = figures(chosen, samples, supply, falls)
    result = Calibration(
        source=source,
        supply=supply,
        figures=found,
        recommendation=recommend(found, budget),
        settings=context.obj.settings.policies,
        budget=budget,
        falls=falls,
        seed=seed,
        tasks=count,
        whole=whole,
    )
    if plot is not None:
        _draw(plot, result)
    if json:
        show_json(document(result))
    else:
        show_page(result)


def available() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_plot(plot: Path | None) -> None:
    """Refuse a file that cannot be written, before the simulation starts."""
    if plot is None:
        return
    if plot.suffix != ".svg":
        raise UsageError(f"{plot} does not end with .svg.", hint="the plot is an SVG, which every browser shows")
    if not os.access(plot.parent, os.W_OK) or plot.is_dir():
        raise UsageError(f"{plot} cannot be written.", hint="name a file in a folder that you may write to")


def _draw(plot: Path, result: Calibration) -> None:
    chosen = result.recommendation.chosen
    name = chosen.alternative.name if chosen is not None and result.recommendation.conclusion != "undecided" else None
    text = draw(f"Policies for {result.source.history.key}", result.figures, result.budget, name)
    try:
        plot.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{plot} cannot be written: {error.strerror}.", hint="name another file") from error
    say(f"wrote {plot}")

"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from trace_data.errors import InterruptedRun, TraceError
from trace_data.progress import Progress
from trace_train.config import stage_name
from trace_train.streaming.batch import Batch
from trace_train.streaming.pixels import finish
from trace_train.training.hooks import Hooks
from trace_train.training.optimizer import learning_rate
from trace_train.training.run_log import RunLog
from trace_train.training.signals import stop_signals
from trace_train.training.state import RunState
from trace_train.weights.checkpoint_writer import best_so_far, best_steps


def loop(state: RunState, hooks: Hooks, progress: Progress) -> None:
    """Run the remaining steps, all processes in lockstep.

    When any process is told to stop or cannot read its clips, a checkpoint is saved and all processes raise
    InterruptedRun or, usually, ShardError.
    """
    config, processes = state.config, state.processes
    log = RunLog(state.run, config, next_step=state.step, log=progress.log) if processes.first else None
    progress.begin(f"train {config.preset}", config.steps, "steps")
    progress.skip(state.step)
    saved = time.monotonic()
    stage = -1
    with stop_signals() as stopped:
        batches = state.stream.batches(state.step, config.steps)
        for step in range(state.step, config.steps):
            number, shape = state.stream.stage_at(step)
            if number != stage:
                stage = number
                state.enter(number)
            batch = _next_batch(state, batches)
            rate = learning_rate(state.loss_module.config.optim, step, config.steps)
            with processes.exchanging():
                update = state.updater(batch, rate, partial(hooks.on_not_finite, state.snapshot()))
            state.take(update)
            done, last = state.step, state.step == config.steps
            # the first step gets its own line, as a baseline for later ones
            if log is not None and (done == 1 or done % config.log_every == 0 or last):
                name = stage_name(config, number)
                line = state.window.line(
                    step=done, steps=config.steps, stage=name, update=update, rate=rate, clips=shape.clips
                )
                line["skipped"] = state.skipped
                line["clips_replaced"] = state.stream.unreadable.skipped
                log.write(line)
                hooks.on_line(state.snapshot(), line)
            progress.advance(1, f"loss {update.values['total']:.1f}")
            improved = _look(state, hooks, progress.log)
            late = config.checkpoint_minutes and time.monotonic() - saved > 60 * config.checkpoint_minutes
            stop, late = processes.any(stopped(), bool(late))
            if done % config.checkpoint_every == 0 or last or stop or late or improved:
                with state.window.pausing():
                    state.save()
                saved = time.monotonic()
            if stop and not last:
                raise InterruptedRun(
                    f"stopped after step {done:,} of {config.steps:,}; the checkpoint is saved",
                    where=state.run,
                    hint=f"{state.resume_command}  continues",
                )
    progress.end()


def _next_batch(state: RunState, batches: Iterator[Batch]) -> Batch:
    """The batch of the next step. If any process cannot read its clips, all save a checkpoint and end."""
    batch, failed = None, None
    with state.window.waiting():
        try:
            batch = finish(next(batches).to(state.device))
        except TraceError as error:
            failed = error
    if state.processes.any(failed is not None) == (True,):
        state.save()
        failed = next(error for error in state.processes.gather(failed) if error is not None)
        raise type(failed)(
            f"{failed.message}; the checkpoint of step {state.step:,} is saved",
            where=failed.where,
            hint=f"{failed.hint}; then  {state.resume_command}  continues",
        ) from failed
    assert batch is not None
    return batch


def _look(state: RunState, hooks: Hooks, log: Callable[[str], None]) -> bool:
    """Evaluate and draw when due, and log the best step so far.

    Returns, in every process, whether the current weights are the best so far.
    """
    config, step = state.config, state.step
    scores = hooks.evaluate if config.evaluation.every else None
    due = scores is not None and (step % config.evaluation.every == 0 or step == config.steps)
    draws = hooks.draw is not None and config.pictures_every > 0 and step % config.pictures_every == 0
    if not (due or draws):
        return False
    improved = False
    with state.window.pausing():
        if state.processes.first and scores is not None and due:
            state.history.append({**scores(state.snapshot()), "step": step})
            improved = step in best_steps(state.history).values()
            for line in best_so_far(state.history):
                log(line)
        if state.processes.first and hooks.draw is not None and draws:
            hooks.draw(state.snapshot())
        return state.processes.share(improved)

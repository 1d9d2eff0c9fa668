"""The command `trace`: the table of commands, what all of them share, and errors as messages and exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .streams import accept_any_text

if TYPE_CHECKING:
    from trace_data.errors import TraceError

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
"""Click settings of all commands."""
COMMANDS: dict[str, tuple[str, str, str]] = {
    "quickstart": (
        "quickstart",
        "quickstart",
        "The whole pipeline on synthetic data: bodies, shards, training, score.",
    ),
    "make-sample": ("sample", "make_sample", "Write the synthetic sample world: body models and datasets."),
    "prepare-smpl": ("assets", "prepare_smpl", "Convert SMPL pickles to the packs that everything else reads."),
    "prepare-smil": ("assets", "prepare_smil", "Convert the SMIL infant model to its pack."),
    "verify-assets": ("verify_assets", "verify_assets", "Check packs and body-model files, and draw them."),
    "import-weights": ("weights", "import_weights", "Read the released checkpoints into a folder of weights."),
    "export-weights": ("weights", "export_weights", "Write weights in the form of the released checkpoints."),
    "verify-datasets": ("datasets", "verify_datasets", "Check dataset folders: layout, content, geometry."),
    "extract-frames": ("extract", "extract_frames", "Write the frames of a dataset's videos as image files."),
    "build-shards": ("shards", "build_shards", "Build HDF5 shards for training from datasets."),
    "add-flow": ("flow", "add_flow", "Compute optical flow once and store it beside finished shards."),
    "verify-shards": ("verify_shards", "verify_shards", "Check shards: index, hashes, every image and annotation."),
    "preview": ("preview", "preview", "Show clips of the shards on one page, as stored or as the network sees them."),
    "fit-pose-prior": ("prior", "fit_pose_prior", "Fit the pose prior of a loss to motions of AMASS."),
    "train": ("train", "train", "Train the network on shards."),
    "evaluate": ("evaluate", "evaluate", "Score a run or checkpoint on a split of the shards."),
    "predict": ("predict", "predict", "Find the people of videos, with identities, in one world."),
    "draw": ("draw", "draw", "Draw the result of a video onto its pictures."),
    "export": ("export", "export", "Write a predicted result in the formats of other programs: GLB, BVH, AMASS, …"),
    "view": ("view", "view", "Show a result, or a sequence of the shards, on one page in 3D."),
    "report": ("report", "report", "Show a run on one page: scores, curves, pictures, settings."),
    "compare": ("report", "compare", "Show several runs beside each other on one page: scores, curves, settings."),
    "doctor": ("doctor", "doctor", "Show what this machine can do, what is missing and how to get it."),
    "docs": ("docs", "docs", "Show the pages of the documentation."),
    "config": ("config", "config", "Show the settings in force and where each comes from."),
}
"""Command -> (module, attribute, one line of help). Literal, so that help imports no command's module."""

GOES_ON = frozenset({"quickstart", "make-sample", "build-shards", "add-flow", "extract-frames", "predict"})
"""Commands that, stopped and called again, go on with what is finished. `train` says itself what it has saved."""
ANEW = frozenset({"--force", "all", "--only=all"})
"""Words with which they begin anew."""
COMPLETION = "_TRACE_COMPLETE"
"""Set by the shell when it asks for completions."""


def _remember_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.meta["debug"] = True


debug: Callable[..., Any] = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error."
)


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the workflow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; the error for an unknown name suggests the closest one."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(f"there is no command {cmd_name!r}{_did_you_mean(cmd_name, COMMANDS)}", ctx)
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f".{module}", __package__), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, since importing them all would take seconds."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, _, help_line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings=CONTEXT, invoke_without_command=True)
@click.version_option(package_name="trace-5d", prog_name="trace", message="%(prog)s %(version)s")
@debug
@click.pass_context
def trace(context: click.Context) -> None:
    """TRACE: 3D human bodies tracked through video, in world coordinates.

    \b
    Examples:
      trace quickstart                     the whole pipeline on synthetic data, about ten minutes
      trace build-shards 3dpw --root DATA  shards from a dataset you have
      trace COMMAND --help                 options and examples of a command
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit the process with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns 0, the exit code of the error, or 130 when interrupted.

    With `--json` an error is an object on stdout too.
    """
    from trace_data.errors import ConfigError, InterruptedRun, TraceError

    accept_any_text()
    if asked := os.environ.get(COMPLETION):
        from click.shell_completion import shell_complete

        return shell_complete(trace, {}, "trace", COMPLETION, asked)
    context: click.Context | None = None
    shared: dict[str, object] = {}
    try:
        context = trace.make_context("trace", list(arguments))
        shared = context.meta  # one mapping for the group and its command
        with context:
            trace.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        known: TraceError = ConfigError(_usage_message(error), hint=f"{_asked(error)} --help  shows what it takes")
    except (KeyboardInterrupt, click.Abort):
        kept = context is not None and context.invoked_subcommand in GOES_ON and ANEW.isdisjoint(arguments)
        known = InterruptedRun(f"stopped{'; what is finished is kept, the same command goes on from there' * kept}")
    except BrokenPipeError:  # the reader, e.g. `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  users should not have to read a traceback
        if shared.get("debug"):
            traceback.print_exc()
        known = error if isinstance(error, TraceError) else _from_system(error) or _from_defect(error)
    else:
        return 0
    _complain(known, as_json="--json" in arguments)
    return known.exit_code


def _complain(error: TraceError, *, as_json: bool) -> None:
    from trace_data.errors import printable

    colour = False if os.environ.get("NO_COLOR") else None  # None: where a terminal shows it
    click.echo(click.style("error:", fg="red", bold=True) + " " + printable(str(error)), err=True, color=colour)
    if as_json:
        import json

        facts = {"message": error.message, "where": error.where, "hint": error.hint, "exit_code": error.exit_code}
        click.echo(json.dumps({"error": {"kind": type(error).__name__, **facts}}, indent=2))


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    from trace_data.errors import nearest

    near = nearest(word, known)
    return f", did you mean {near!r}?" if near else ""


def _usage_message(error: click.UsageError) -> str:
    message = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        options = [name for parameter in error.ctx.command.params for name in parameter.opts]
        message = f"there is no option {error.option_name!r}{_did_you_mean(error.option_name, [*options, '--help'])}"
    return message


def _asked(error: click.UsageError) -> str:
    return error.ctx.command_path if error.ctx is not None else "trace"


def _from_system(error: Exception) -> TraceError | None:
    """The TraceError for an error of the operating system; None for other exceptions."""
    from trace_data.errors import ConfigError, OutputError, TraceError
    from trace_data.os_errors import TOO_LITTLE_MEMORY

    code = error.errno if isinstance(error, OSError) else None
    file = error.filename if isinstance(error, OSError) else None
    # HDF5 and torch wrap the system's message, without the file name
    told = "" if file else f" ({error})"
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
        return OutputError(
            f"the disk is full{told}; an unfinished file does not count as output",
            where=file,
            hint="free some space or write to another disk, then run the same command again",
        )
    if code == errno.ENAMETOOLONG:
        return ConfigError(f"a name is longer than this system allows: {str(file)[:80]}…", hint="give a shorter one")
    if code == errno.EFBIG:
        return OutputError(
            f"a file grew larger than this disk or a limit allows{told}",
            where=file,
            hint="choose a disk that takes large files (FAT takes 4 GB), or raise the limit: ulimit -f unlimited",
        )
    if _is_out_of_memory(error):
        return TraceError(f"there is too little memory: {error or 'no more is to be had'}", hint=TOO_LITTLE_MEMORY)
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(
            f"{os.strerror(code).lower()}{told}",
            where=file,
            hint="check its owner and mode with  ls -ld  or choose another folder",
        )
    return None


def _is_out_of_memory(error: Exception) -> bool:
    # torch is not imported here: its own classes and its allocator's message on the CPU are known by name
    named = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return named or isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _from_defect(error: Exception) -> TraceError:
    from trace_data.errors import TraceError

    last = traceback.extract_tb(error.__traceback__)[-1]
    return TraceError(
        f"unexpected {type(error).__name__}: {error}",
        where=f"{last.filename}:{last.lineno}",
        hint="this is a bug; run the same command with --debug and report the traceback",
    )

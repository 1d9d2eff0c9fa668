"""The script `trace`, and `python -m trace_cli` where no script is installed or its name is taken."""

import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C while its modules are still being imported ends it as later, and while it ends
    changes nothing: impatience must not turn exit code 130 into a traceback."""
    try:
        from .main import main as command

        command()
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped\n")
        sys.exit(130)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if pool := sys.modules.get("multiprocessing"):  # Python would wait for what workers are at, deaf as it is now
            for worker in pool.active_children():
                worker.terminate()


if __name__ == "__main__":
    main()

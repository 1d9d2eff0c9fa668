"""The script `trace`, and `python -m trace_cli` where no script is installed or its name is taken."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while its modules are still being imported ends it as later."""
    try:
        from .main import main as command

        command()
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped\n")
        sys.exit(130)


if __name__ == "__main__":
    main()

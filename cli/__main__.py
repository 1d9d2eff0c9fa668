"""`python -m trace_cli` runs the command `trace` where no script is installed or its name is taken."""

from .main import main

main()

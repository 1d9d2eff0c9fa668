"""`python -m trace_cli` is the command `trace` where no script is installed or its name is taken."""

from .main import main

main()

"""The command `trace`: parses arguments, calls the libraries, shows their results."""

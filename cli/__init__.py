"""The command `trace`: parses words, calls the libraries, shows what they found."""

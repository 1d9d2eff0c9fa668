"""How well annotations of a record agree with each other; for verification, and for builds that ask for it."""

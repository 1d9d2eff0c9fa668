"""Which clip comes when: a pure function of seed, epoch and position."""

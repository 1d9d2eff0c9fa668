"""What is watched while a run goes on: unusual losses, numbers that are not finite, boards."""

"""Diagnosis of this machine: what is available, and what is missing for which command."""

"""Deterministic reviewers: programs that are run on head and base."""

"""Deterministic reviewers of our own making: functions that compare the head of a change with its base.

They run in the sandbox, all those of one panel in one process (`python -m sdlc.review_graphs.checks`), and
import nothing of the product but this package: what they need is the standard library and the tool that they
are made with, imported where it is used, so that each process starts fast.
"""

"""Differences, their tests and what they decide."""

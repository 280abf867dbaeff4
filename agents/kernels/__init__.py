"""Faster copies of `agents.scan.reference`; each is checked against it."""

"""Faster copies of `agents.net.scan.reference`; each is checked against it."""

"""Agents with memory."""

"""Antechamber: a self-hosted sign-in broker for command-line tools."""

__version__ = "0.1.0"

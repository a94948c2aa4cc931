"""The command line."""

from convista.cli.app import main

__all__ = ["main"]

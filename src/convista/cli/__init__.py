"""The command line."""

from convista.cli.main import main

__all__ = ["main"]

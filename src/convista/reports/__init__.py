"""Records become pages, tables and drawings; nothing here knows where they came from."""

from convista.reports.drawing import draw
from convista.reports.page import Material, render
from convista.reports.text import count

__all__ = ["Material", "count", "draw", "render"]

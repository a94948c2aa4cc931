"""Records become pages and tables; nothing here knows where they came from."""

from convista.reports.page import Material, render
from convista.reports.text import count

__all__ = ["Material", "count", "render"]

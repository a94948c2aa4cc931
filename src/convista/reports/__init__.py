"""Records become pages, tables and drawings; nothing here knows where they came from."""

from convista.reports.comparison import comparison_csv, comparison_page, comparison_rows, setting_rows
from convista.reports.drawing import draw
from convista.reports.findings import overview_page
from convista.reports.health import health_drawing, health_page, loss_over_rate
from convista.reports.maps import map_page
from convista.reports.neighbours import found_page, neighbours_page
from convista.reports.page import Material, render
from convista.reports.pretraining import pretraining_page
from convista.reports.prices import budget_page, price_page
from convista.reports.rates import rate_curves
from convista.reports.sprites import Gallery
from convista.reports.text import count

__all__ = [
    "Gallery",
    "Material",
    "budget_page",
    "comparison_csv",
    "comparison_page",
    "comparison_rows",
    "count",
    "draw",
    "found_page",
    "health_drawing",
    "health_page",
    "loss_over_rate",
    "map_page",
    "neighbours_page",
    "overview_page",
    "pretraining_page",
    "price_page",
    "rate_curves",
    "render",
    "setting_rows",
]

"""The paper that drawings are on: its size, its letters, its colours by day and by night."""

from __future__ import annotations

import re
from html import escape

from convista.reports.shapes import FONT, rectangle

__all__ = ["EDGE", "WIDTH", "document"]

WIDTH, EDGE = 1016.0, 28.0  # pixels of the drawing, and of the margin
STYLE = (
    "text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace;"
    f"font-size:{FONT}px}}.small{{font-size:9.5px}}.title{{font-size:22px;font-weight:700}}"
    ".name,.strong{font-weight:700}.inner{font-weight:400}.letter{font-size:10px;font-weight:700}"
    "path{fill:none;stroke-width:1.3}.rule{stroke-width:1}.cross{stroke-width:1.6}.shortcut{stroke-width:1.6}"
    "rect,circle{stroke-width:1.1}.frame{fill:none;stroke-dasharray:4 3}.badge,.dot{stroke:none}"
)
LIGHT = {
    "ink": "#1f2328", "faint": "#59636e", "paper": "#ffffff", "edge": "#d1d9e0", "wire": "#6e7781", "funnel": "#eaeef2",
    "learns": "#ddeaff", "learns_edge": "#3567b5", "fixed": "#fff1d0", "fixed_edge": "#a8741a",
    "join": "#d9f2e4", "join_edge": "#2c8a5f", "accent": "#7a3fb0",
}  # fmt: skip
DARK = {
    "ink": "#e6edf3", "faint": "#9da7b1", "paper": "#0d1117", "edge": "#30363d", "wire": "#8b949e", "funnel": "#1c2430",
    "learns": "#17305a", "learns_edge": "#6ea8fe", "fixed": "#3d2f10", "fixed_edge": "#d9a53f",
    "join": "#123a2a", "join_edge": "#4cc38a", "accent": "#c297f0",
}  # fmt: skip
RULES = (
    "text{fill:ink}.small,.faint{fill:faint}.paper{fill:paper;stroke:edge}path{stroke:wire}.rule{stroke:edge}"
    ".dot{fill:wire}.funnel{fill:funnel}.frame{stroke:wire}.plain{fill:paper;stroke:wire}"
    ".learns{fill:learns;stroke:learns_edge}.fixed{fill:fixed;stroke:fixed_edge}.join{fill:join;stroke:join_edge}"
    ".cross,.shortcut{stroke:join_edge}.badge{fill:accent}.letter{fill:paper}"
    ".previous{stroke:accent}.current{stroke:learns_edge}"
)


def _colours(palette: dict[str, str]) -> str:
    """The rules with the colours of a palette in the place of their names."""
    return re.sub(r":(\w+)", lambda m: f":{palette[m[1]]}", RULES)


def document(title: str, description: str, height: float, marks: list[str]) -> str:
    """The marks as a whole SVG document with its title, its description in words, and its colours."""
    dark = "@media (prefers-color-scheme: dark) {" + _colours(DARK) + "}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:.0f}" width="{WIDTH:g}" '
        f'height="{height:.0f}" role="img" aria-labelledby="title description">\n'
        f'<title id="title">{escape(title)}</title>\n<desc id="description">{escape(description)}</desc>\n'
        f"<style>{STYLE}{_colours(LIGHT)}{dark}</style>\n"
        + rectangle(0.5, 0.5, WIDTH - 1, round(height) - 1, "paper", 10)
        + "\n"
        + "\n".join(marks)
        + "\n</svg>\n"
    )

"""The page: its parts, what they do, and how it looks. Nothing of it is loaded from elsewhere."""

from __future__ import annotations

from typing import Any

import gradio as gr

from medclipsam_monai.web.events import Events
from medclipsam_monai.web.parts import asset, lay_out
from medclipsam_monai.web.visits.registry import Visits

TITLE = "MedCLIP-SAM"
_SYSTEM = ("system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "DejaVu Sans", "sans-serif")
THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.slate,
    font=_SYSTEM,
    font_mono=("ui-monospace", "DejaVu Sans Mono", "monospace"),
    radius_size=gr.themes.sizes.radius_md,
    spacing_size=gr.themes.sizes.spacing_sm,
).set(  # words must stand out from what is behind them, and boxes that are not ticked, too
    body_text_color_subdued="*neutral_500",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    checkbox_border_color_dark="*neutral_400",
)
HEAD = '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">'
_UPLOADS_LIVE = (60, 600)  # seconds: what was sent and not taken over is looked for, and removed when it is so old


def style() -> str:
    """The page's style sheet."""
    return asset("style.css")


def build_page(visits: Visits) -> Any:
    """The page of a server's visits, see `gradio.Blocks`."""
    networks = visits.networks
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=_UPLOADS_LIVE, fill_width=True) as page:
        parts = lay_out(dict(networks.presets), networks.first, visits.limits.upload)
        Events(page, parts, visits).connect()
    page.queue(default_concurrency_limit=None, api_open=False)
    return page

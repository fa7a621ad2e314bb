"""The whole app's layout: theme, address, memory, header, page, dialogs.

It must not know what is inside the page it shows.
"""

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard import ids, theme
from dashboard.pages.floor import floor_page
from dashboard.panels.gallery import gallery_page
from dashboard.panels.header import banner, header, strip
from dashboard.panels.inspector import stores
from dashboard.panels.lab import insights_page
from dashboard.panels.sheets import sheets
from dashboard.panels.transport import closed_note


def shell_layout() -> Component:
    """The layout of every page; a new one for each load. Which page is shown, the address tells the browser script."""
    shell = dmc.AppShell(
        [
            dmc.AppShellHeader([header(), strip()], withBorder=False),
            dmc.AppShellMain([banner(), floor_page(), gallery_page(), insights_page(), closed_note()]),
        ],
        header={"height": 100},
        padding=0,
        transitionDuration=0,
    )
    layout: Component = dmc.MantineProvider(
        [
            dcc.Location(id=ids.URL, refresh=False),
            *stores(),
            dmc.NotificationContainer(id=ids.NOTES, position="bottom-right", limit=4),
            html.Div(shell, id="shell"),
            *sheets(),
        ],
        id="mantine",
        theme=theme.MANTINE,
        defaultColorScheme="auto",
    )
    return layout

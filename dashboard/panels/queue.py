"""The queue: tabs with counts, a search, and the grid of orders.

It must not know an order: rows, counts and the order of rows come from the browser script (`assets/60-queue.js`), which
holds them still while the pointer is over them.
"""

from typing import Final

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from dashboard import formats, ids
from dashboard.panels.pieces import attributes

TABS: Final = (
    ("needs", "Needs a hand"),
    ("unassigned", "Unassigned"),
    ("at_mall", "At mall"),
    ("on_the_way", "On the way"),
    ("done", "Done"),
    ("all", "All"),
)

QUEUE_WORDS: Final = (*formats.ADVICE_WORDS, "offered")
"""What a row is marked by in the dispatch column."""


def _column(field: str, header: str, width: int, hint: str = "", **more: object) -> dict[str, object]:
    return {
        "field": field,
        "headerName": header,
        "width": width,
        "headerTooltip": hint or header,
        "tooltipField": field,
        "comparator": {"function": f"queueBy('{field}')"},
        **more,
    }


def columns() -> list[dict[str, object]]:
    """The columns; `breach` is the sort that a new floor starts with."""
    risk = {name: f"params.data.risk === '{name}'" for name in ("on_time", "at_risk", "late", "ended")}
    toned = {f"risk-{name.replace('_', '-')}": test for name, test in risk.items()}
    return [
        _column("id", "Order", 68, "The dot is the risk: filled red late, amber at risk", cellClassRules=toned),
        _column("stores", "Store", 80, "Where it is collected", flex=1, minWidth=70),
        _column("items", "#", 34, "Items", type="rightAligned"),
        _column("status", "Status", 88),
        _column(
            "breach",
            "Breach",
            92,
            "Minutes between ETA and promise; without an ETA, minutes left until the promise",
            sort="asc",
            type="rightAligned",
            tooltipField="breach_words",
            valueFormatter={"function": "queueBreach(params)"},
            cellClassRules=toned,
        ),
        _column(
            "dispatch",
            "Dispatch",
            150,
            "Its driver, or what the autopilot makes of it and why; an offer with the time left to answer",
            flex=3,
            minWidth=152,
            tooltipField="dispatch_words",
            cellClassRules={
                f"advice-{word.replace('_', '-')}": f"params.data.advice === '{word}'" for word in QUEUE_WORDS
            },
        ),
        _column(
            "times",
            "ETA / due",
            108,
            "ETA at the door, and the promise, on the mall's clock",
            sortable=False,
            tooltipField="times_words",
        ),
    ]


def queue_panel() -> Component:
    """The left pane."""
    tabs = [
        html.Button(
            [label, html.Span("", className="count", **attributes({"data-count": tab}))],
            className="pick",
            role="tab",
            **attributes({"data-tab": tab, "aria-selected": "true" if tab == "needs" else "false"}),
        )
        for tab, label in TABS
    ]
    search = dmc.TextInput(
        id=ids.QUEUE_SEARCH, placeholder="Search orders  /", size="xs", **attributes({"aria-label": "Search orders"})
    )
    return html.Section(
        [
            html.Div(
                [html.Div(tabs, className="tabs", role="tablist"), search],
                className="queue-head",
            ),
            html.Div(
                [_grid(), html.Div("Connecting to the floor …", id="queue-empty", className="empty")], id="queue-box"
            ),
            html.Div("", id="queue-held", className="held", role="status"),
        ],
        className="pane",
        id="pane-queue",
        **attributes({"aria-label": "Queue"}),
    )


def _grid() -> Component:
    grid: Component = dag.AgGrid(
        id=ids.QUEUE,
        columnDefs=columns(),
        defaultColDef={"sortable": True, "resizable": True, "suppressMovable": True},
        rowData=[],
        getRowId="params.data.id",
        dashGridOptions={
            "theme": {"function": "queueTheme(themeQuartz)"},
            "animateRows": False,
            "asyncTransactionWaitMillis": 50,
            "rowHeight": 30,
            "headerHeight": 30,
            "rowSelection": {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True},
            "isExternalFilterPresent": {"function": "true"},
            "doesExternalFilterPass": {"function": "queuePasses(params)"},
            "suppressCellFocus": False,
            "suppressNoRowsOverlay": True,
            "tooltipShowDelay": 400,
            "suppressDragLeaveHidesColumns": True,
        },
        style={"height": "100%", "width": "100%"},
    )
    return grid

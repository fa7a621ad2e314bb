"""The colours of the floor in its two schemes, and the style sheet made from them.

It must not know components. `python -m dashboard.theme` rewrites `assets/palette.css`; a test fails when it is behind.

Source: the hues follow Okabe & Ito's colour-blind safe set (https://jfly.uni-koeln.de/color/), shifted in lightness so
that text reaches WCAG AA (4.5:1) and marks 3:1 on both grounds; shape repeats whatever colour says.
"""

from pathlib import Path
from typing import Final

LIGHT: Final = {
    "ground": "#eef1f4",
    "surface": "#ffffff",
    "raised": "#f6f8fa",
    "line": "#d5dce3",
    "text": "#17202a",
    "dim": "#55626f",
    "accent": "#0a6b5c",
    "accent-text": "#ffffff",
    "on-time": "#0b6f8a",
    "at-risk": "#a35a00",
    "late": "#c21f30",
    "driver-free": "#00875f",
    "driver-busy": "#0b63c5",
    "driver-at-store": "#8a3fb8",
    "driver-silent": "#66717c",
    "driver-on-break": "#7a6a58",
    "halo": "#17202a",
    "edge": "#ffffff",
    "trip": "#22303c",
    "map-ground": "#e6eaee",
    "map-text": "#3c4954",
    "hex-low": "#b35806",
    "hex-mid": "#9aa7b3",
    "hex-high": "#00716a",
    "hex-wait": "#7d2f83",
    "term-1": "#2f74b5",
    "term-2": "#0f8f86",
    "term-3": "#b0720a",
    "term-4": "#7b57b2",
    "term-5": "#c0392f",
    "term-6": "#6b7785",
    "term-7": "#a5517f",
    "term-8": "#5d7a2c",
    "term-9": "#8a5a3c",
}
DARK: Final = {
    "ground": "#0d1217",
    "surface": "#141b22",
    "raised": "#1b242d",
    "line": "#2b3742",
    "text": "#e7edf3",
    "dim": "#9fadba",
    "accent": "#35c2a5",
    "accent-text": "#06211b",
    "on-time": "#6cc3dc",
    "at-risk": "#f2b134",
    "late": "#ff6b6b",
    "driver-free": "#2fd08f",
    "driver-busy": "#5aa9ff",
    "driver-at-store": "#c792ea",
    "driver-silent": "#9aa5b0",
    "driver-on-break": "#b8a58e",
    "halo": "#ffffff",
    "edge": "#0d1217",
    "trip": "#f4f7fa",
    "map-ground": "#10171e",
    "map-text": "#c2ccd6",
    "hex-low": "#f1a340",
    "hex-mid": "#3b4854",
    "hex-high": "#35b8a8",
    "hex-wait": "#d48be0",
    "term-1": "#5fa3e0",
    "term-2": "#34bdb2",
    "term-3": "#e0a63c",
    "term-4": "#ad8be0",
    "term-5": "#f0776c",
    "term-6": "#95a2b0",
    "term-7": "#dd8fb9",
    "term-8": "#a3c267",
    "term-9": "#cfa07f",
}

# Colours of the Plotly traces. They are drawn once and never restyled, so they must do in both schemes.
MALL_FILL: Final = "rgba(122,134,148,0.22)"
MALL_LINE: Final = "#7d8996"
STORE: Final = "#8792a0"
ENTRANCE: Final = "#7d8996"
REACH_LINE: Final = "rgba(125,137,150,0.35)"
ROUTE: Final = "#d0508f"

MANTINE: Final = {
    "fontFamily": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
    "primaryColor": "teal",
    "defaultRadius": "sm",
    "cursorType": "pointer",
    # The kit's greys, text to ground, in the hue of the palette above.
    "colors": {
        "dark": [
            "#e7edf3",
            "#c2ccd6",
            "#9fadba",
            "#6b7a88",
            "#3a4753",
            "#2b3742",
            "#1b242d",
            "#141b22",
            "#0d1217",
            "#090d11",
        ],
    },
}

PALETTE_FILE: Final = Path(__file__).parent / "assets" / "palette.css"


def palette_css() -> str:
    """The style sheet that gives every colour a name (`--late`) in each scheme."""
    return (
        "/* Written by `python -m dashboard.theme`; change the colours there. */\n"
        + _rule(":root", LIGHT, "light")
        + _rule(':root[data-mantine-color-scheme="dark"]', DARK, "dark")
    )


def _rule(selector: str, colours: dict[str, str], scheme: str) -> str:
    lines = "".join(f"  --{name}: {value};\n" for name, value in colours.items())
    return f"{selector} {{\n  color-scheme: {scheme};\n{lines}}}\n"


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio of two `#rrggbb` colours, 1 to 21.

    Source: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
    """
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


if __name__ == "__main__":
    PALETTE_FILE.write_text(palette_css(), encoding="utf-8")

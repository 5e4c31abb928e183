"""One look for every figure: colours, sizes, fonts, and file bytes that depend on the figure alone.

Colours mean the same thing in every figure. Lines of methods and graphs use the palette of Okabe and Ito
(2008), which stays distinct under the three common colour-vision deficiencies; the kind of a site, the sign
of a weight and the channel of an edge have colours of their own. Fonts are stored as text (TrueType in PDF,
`<text>` in SVG), so that labels can be searched and edited.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

Width = Literal["single", "double"]

WIDTHS: dict[str, float] = {"single": 3.5, "double": 7.2}
"""Figure widths in inches: one and two columns of a page."""

TEXT = 7.5
SMALL = 6.5
INK = "#1F2933"
MUTED = "#66727F"
FAINT = "#D5DAE0"
BAND = "#F5F7F9"

SITE_COLOURS: dict[str, str] = {
    "embed": "#66727F",
    "input": "#66727F",
    "attn": "#0B8A83",
    "mlp": "#D0911B",
    "linear": "#D0911B",
    "conv": "#8E6BB0",
    "resid": "#9AA5AF",
    "logits": "#2F3E4D",
}
SIGN_COLOURS: dict[str, str] = {"positive": "#BF3F2B", "negative": "#2767A8"}
CHANNEL_COLOURS: dict[str, str] = {"q": "#0072B2", "k": "#D55E00", "v": "#009E73", "": "#5B6770"}

PALETTE: tuple[str, ...] = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7A5195",
    "#7F7F7F",
)
SERIES_COLOURS: dict[str, str] = {
    "eap": "#0072B2",
    "composition": "#009E73",
    "weight-norm": "#009E73",
    "pearson": "#E69F00",
    "louvain": "#CC79A7",
    "sbm": "#7A5195",
    "random": "#7F7F7F",
    "effective": "#0072B2",
    "structural": "#009E73",
    "functional": "#E69F00",
}
"""Fixed colours of named methods; every other name takes the next free colour of `PALETTE`."""

SEQUENTIAL = LinearSegmentedColormap.from_list(
    "compgraph.sequential", ["#FFFFFF", "#D9E7F0", "#9CC3DC", "#4B92C0", "#1F5F93", "#0E2F55"]
)
DIVERGING = LinearSegmentedColormap.from_list(
    "compgraph.diverging", ["#123F73", "#2767A8", "#8FB7DB", "#F7F7F7", "#E9A596", "#BF3F2B", "#7A1C10"]
)

RC: dict[str, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": TEXT,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    "text.usetex": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.borderaxespad": 0.2,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "compgraph",
    "path.simplify": True,
}

# No date, no producer version: two runs of one figure give the same bytes.
METADATA: dict[str, dict[str, None]] = {
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
    "png": {"Software": None},
}
DPI = 220

P = ParamSpec("P")
R = TypeVar("R")


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the style, leaving matplotlib's settings as they were."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(RC)  # type: ignore[arg-type]
            return function(*args, **kwargs)

    return inner


@styled
def render(figure: Figure, kind: str) -> bytes:
    """The file bytes of a figure; the same figure gives the same bytes.

    Parameters
    ----------
    figure
        Any figure of this package.
    kind
        `pdf`, `svg` or `png`.

    Raises
    ------
    ValueError
        For another kind.
    """
    if kind not in METADATA:
        raise ValueError(f"figure format {kind!r}; valid formats are {', '.join(METADATA)}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=DPI, metadata=METADATA[kind])
    return buffer.getvalue()


def new_figure(width: Width | float, height: float) -> Figure:
    """An empty figure (inches) with an Agg canvas, outside pyplot's global list."""
    inches = WIDTHS[width] if isinstance(width, str) else float(width)
    figure = Figure(figsize=(inches, height))
    FigureCanvasAgg(figure)
    return figure


def series_colours(names: Iterable[str]) -> dict[str, str]:
    """Name -> colour: the fixed colour of a known name, else the next colour not yet taken.

    The assignment depends on the names alone, not on their order.
    """
    colours = {name: SERIES_COLOURS[name] for name in set(names) if name in SERIES_COLOURS}
    free = [colour for colour in PALETTE if colour not in colours.values()] or list(PALETTE)
    for position, name in enumerate(sorted(set(names) - set(colours))):
        colours[name] = free[position % len(free)]
    return colours


def site_kind(site: str) -> str:
    """Kind of a site from its name: `attn.3` -> `attn`."""
    return site.split(".", 1)[0]


def site_colour(site: str) -> str:
    """Colour of a site's kind; grey for a kind without one."""
    return SITE_COLOURS.get(site_kind(site), MUTED)


def tint(colour: str, amount: float) -> str:
    """Mix a colour with white: 0 leaves it, 1 gives white."""
    red, green, blue = to_rgb(colour)

    def mix(channel: float) -> float:
        return channel + (1.0 - channel) * amount

    return str(to_hex((mix(red), mix(green), mix(blue))))


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Width of a text in inches at a font size in points, in the figures' font."""
    width, _, _ = TextToPath().get_text_width_height_descent(
        text, FontProperties(family="DejaVu Sans", size=size), ismath=False
    )
    return float(width) / 72.0


def message(figure: Figure, text: str) -> Figure:
    """Put one centred sentence on an otherwise empty figure: what is missing, and why."""
    figure.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, fontsize=TEXT + 1, wrap=True)
    return figure


def count(number: float, noun: str, plural: str | None = None) -> str:
    """`1 edge`, `32,491 edges`."""
    return f"{number:,.0f} {noun if number == 1 else plural or noun + 's'}"


def number(value: float) -> str:
    """Three significant digits, without an exponent where people would not write one."""
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 1e5:
        text = f"{value:,.{max(0, 2 - _magnitude(value))}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "\u2212")
    return f"{value:.2g}".replace("-", "\u2212")


def percent(share: float) -> str:
    """A share as `12 %`, with more digits below one percent."""
    value = 100 * float(share)
    if value != 0 and abs(value) < 1:
        return f"{value:.2g} %".replace("-", "\u2212")
    return f"{value:.0f} %".replace("-", "\u2212")


def _magnitude(value: float) -> int:
    return int(f"{value:e}".split("e")[1])


def clean_axes(axes: Axes) -> Axes:
    """Remove ticks and spines: for drawings whose coordinates mean nothing."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes

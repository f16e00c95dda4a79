"""Charts as SVG, written by hand: grouped bars and lines, readable without colours (every bar and every line says its name
or value) and on any background (they bring their own)."""

import math
from html import escape

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 78, 46
FONT = "font-family='system-ui, sans-serif'"
INK, PALE = "#222", "#ddd"


def number(value):
    """As few digits as tell it apart."""
    if value >= 10000:
        return f"{value / 1000:.0f}k" if value >= 100000 else f"{value / 1000:.1f}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _text(x, y, text, size=12, anchor="middle", weight="normal", fill=INK, more=""):
    return (f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' font-weight='{weight}' fill='{fill}' {FONT} "
            f"{more}>{escape(str(text))}</text>")


def _across(y, style):
    return f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' {style}/>"


def _ticks(top):
    """Round numbers from 0 to at least `top`."""
    if top <= 0:
        return [0, 1]
    step = 10 ** math.floor(math.log10(top))
    step = next(step * factor for factor in (0.2, 0.25, 0.5, 1, 2) if top / (step * factor) <= 6)
    return [step * i for i in range(math.ceil(top / step - 1e-9) + 1)]


def _frame(title, unit, ticks, names, colours):
    """Background, headings, legend and the lines of the axis; the scale from value to y."""
    def y(value):
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / ticks[-1]
    size = f"viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'"
    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img'>",
             f"<title>{escape(title)}</title>", f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>",
             _text(LEFT - 44, 24, title, 15, "start", "bold"), _text(LEFT - 44, 43, unit, 12, "start", fill="#555")]
    x = LEFT - 44
    for name in names:
        parts += [f"<rect x='{x}' y='52' width='11' height='11' fill='{colours[name]}'/>", _text(x + 16, 62, name, 12, "start")]
        x += 16 + 7 * len(name) + 22
    for tick in ticks:
        parts += [_across(y(tick), f"stroke='{INK if tick == 0 else PALE}'"),
                  _text(LEFT - 8, y(tick) + 4, f"{tick:g}" if tick < 10000 else number(tick), 11, "end", fill="#555")]
    return parts, y


def bars(title, unit, groups, colours, mark=None):
    """`groups`: [(label, {name: value})]. `mark`: (value, text) of a line to compare with. None where there is no value at all."""
    groups = [(label, {name: value for name, value in values.items() if value is not None}) for label, values in groups]
    groups = [each for each in groups if each[1]]
    if not groups:
        return None
    names = [name for name in colours if any(name in values for _, values in groups)]
    top = max([value for _, values in groups for value in values.values()] + [mark[0] if mark else 0])
    parts, y = _frame(title, unit, _ticks(top * 1.05), names, colours)
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    width = min(46, (room - 24) / len(names))
    for index, (label, values) in enumerate(groups):
        present = [name for name in names if name in values]
        x = LEFT + room * (index + 0.5) - width * len(present) / 2
        for name in present:
            at = y(values[name])
            parts += [f"<rect x='{x + 1:.1f}' y='{at:.1f}' width='{width - 2:.1f}' height='{HEIGHT - BOTTOM - at:.1f}' "
                      f"fill='{colours[name]}'><title>{escape(name)}: {values[name]:g}</title></rect>",
                      _text(x + width / 2, at - 4, number(values[name]), 10 if width > 26 else 8)]
            x += width
        parts.append(_text(LEFT + room * (index + 0.5), HEIGHT - BOTTOM + 18, label))
    if mark:
        parts += [_across(y(mark[0]), "stroke='#b00' stroke-dasharray='5 4'"),
                  _text(WIDTH - RIGHT, y(mark[0]) - 4, mark[1], 11, "end", fill="#b00")]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _apart(wanted, least):
    """Heights for labels, as near to the wanted ones as can be with so much between them."""
    placed = []
    for at, name in sorted(wanted):
        placed.append((max(at, placed[-1][0] + least) if placed else at, name))
    return placed


def lines(title, unit, xlabel, xs, series, colours):
    """`series`: {name: {x: value}} over `xs`, which stand at equal distances."""
    series = {name: {x: v for x, v in values.items() if v is not None} for name, values in series.items()}
    series = {name: values for name, values in series.items() if values}
    if not series:
        return None
    names = [name for name in colours if name in series]
    parts, y = _frame(title, unit, _ticks(max(v for values in series.values() for v in values.values()) * 1.05), names, colours)
    span = WIDTH - LEFT - RIGHT - 165  # names at the right

    def place(x):
        return LEFT + 20 + (span - 20) * (xs.index(x) / max(1, len(xs) - 1))
    ends = []
    for name in names:
        points = [(place(x), y(series[name][x])) for x in xs if x in series[name]]
        parts.append(f"<polyline fill='none' stroke='{colours[name]}' stroke-width='2.5' points='"
                     + " ".join(f"{x:.1f},{at:.1f}" for x, at in points) + "'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{at:.1f}' r='3.5' fill='{colours[name]}'/>" for x, at in points]
        ends.append((points[-1][1], name))
    for at, name in _apart(ends, 14):
        last = [series[name][x] for x in xs if x in series[name]][-1]
        parts.append(_text(place(xs[-1]) + 10, at + 4, f"{name} {number(last)}", 11, "start"))
    parts += [_text(place(x), HEIGHT - BOTTOM + 18, f"{x:,}" if isinstance(x, int) else x) for x in xs]
    parts.append(_text(LEFT + span / 2, HEIGHT - 8, xlabel, 12, fill="#555"))
    return "\n".join([*parts, "</svg>"]) + "\n"

"""Tables and pictures of what suite.py measured."""

import pathlib
import statistics

import charts
from goals import GOALS

LABELS = {"direct": "direct", "pgbouncer": "PgBouncer", "pgbouncer-pool": "PgBouncer, pool", "pginterlock": "pginterlock",
          "pginterlock-2": "pginterlock, 2 workers", "pginterlock-pool": "pginterlock, pool",
          "pginterlock-pool-2": "pginterlock, pool, 2 workers"}
COLOURS = {"direct": "#8c8c8c", "PgBouncer": "#c8741c", "PgBouncer, pool": "#ecb671", "pginterlock": "#165a96",
           "pginterlock, 2 workers": "#0b2f52", "pginterlock, pool": "#6aa9dc", "pginterlock, pool, 2 workers": "#3d3f9a"}
PERCENTILES = [("p50 µs", "p50_us", None, ".0f"), ("p99 µs", "p99_us", None, ".0f"), ("p99.9 µs", "p999_us", None, ".0f")]
CPU = [("CPU µs", "cpu_us", None, ".1f"), ("of PgBouncer's", "cpu_us", "peer", ".2f")]
RATE = [("a second", "tps", None, ".0f"), ("of direct", "tps", "direct", ".2f")]
PROXIES = {name: colour for name, colour in COLOURS.items() if name != "direct"}
# Of each measurement: heading, what it is, columns (heading, metric, compared with, format).
TABLES = {
    "select": ("Look-ups by primary key",
               "`pgbench -S`, 8 clients; *same text*: simple queries that are all alike, *simple*: with another number in each. "
               "PgBouncer before 1.21 knows no prepared statements in a transaction pool: where it is one, our pool stands next to its session's.",
               RATE + CPU + PERCENTILES),
    "latency": ("Latency", "`pgbench -S`, one client.", PERCENTILES + [("added, of PgBouncer's", "p50_us", "added", ".2f")] + CPU),
    "clients": ("Clients", "`pgbench -S -M simple`.", RATE + CPU + PERCENTILES[1:]),
    "pool": ("More clients than connections", "`pgbench -S`, 64 clients on a pool of 20; direct they have 64 connections.",
             RATE + [("of PgBouncer", "tps", "peer", ".2f")] + CPU + PERCENTILES[1:]),
    "workers": ("Workers", "`pgbench -S`, 8 clients. Busiest: the share of the busiest thread.",
                RATE[:1] + [("CPU µs", "cpu_us", None, ".1f"), ("of one worker's", "cpu_us", "pginterlock", ".2f"),
                            ("busiest", "busiest", None, ".2f")]),
    "sizes": ("Size of results", "8 clients, rows of 1 KB.",
              [("MB/s", "mb", None, ".0f"), ("of direct", "mb", "direct", ".2f"), ("CPU µs/MB", "cpu_mb", None, ".0f"),
               ("of PgBouncer's", "cpu_mb", "peer", ".2f")]),
    "copy": ("COPY", "psql, rows of 100 bytes; and one value of 100 MB. Growth: of the process's memory, at most.",
             [("MB/s", "mb", None, ".0f"), ("of direct", "mb", "direct", ".2f"), ("CPU s/GB", "cpu_gb", None, ".2f"),
              ("of PgBouncer's", "cpu_gb", "peer", ".2f"), ("growth KiB", "grown_kb", None, ".0f")]),
    "unseen": ("Statements not seen before",
               "Simple queries, 8 clients; so many in a hundred are a text that never came, beyond its constants.", RATE + CPU),
    "tpcb": ("TPC-B", "pgbench's own script, 8 clients.", RATE + [("of PgBouncer", "tps", "peer", ".2f")] + CPU + PERCENTILES),
    "block": ("A block over two databases",
              "`BEGIN`, a `SELECT` from ci, an `UPDATE` of main, `COMMIT`; direct: on a connection to each, with a block on both, as "
              "the proxy has, or on main alone.",
              [("a second", "tps", None, ".0f"), ("mean µs", "mean_us", None, ".0f"), ("of direct", "mean_us", "direct", ".2f")]
              + PERCENTILES),
    "connect": ("Connections", "Opened and closed by four clients, without a query. Without a pool each of ours has one made to the "
                "server, too.", [("a second", "tps", None, ".0f"), *CPU]),
    "mixed": ("Look-ups beside big inserts",
              "2,000 look-ups a second while four clients insert 1,000 rows of 48 KB in all, 40 times a second; a direct client "
              "beside it sees what is the databases' and the machine's. Stalls: of 10,000 look-ups, those over 2 ms. Own turn: the longest of the loop in which nothing else ran on its processor; others' turns: of "
              "10,000, those over 2 ms.",
              PERCENTILES + [("direct p99.9 µs", "direct_p999_us", None, ".0f"), ("longest µs", "most_us", None, ".0f"),
                             ("direct longest µs", "direct_most_us", None, ".0f"), ("stalls", "stalls", None, ".1f"),
                             ("direct stalls", "direct_stalls", None, ".1f"), ("own turn µs", "turn_us", None, ".0f"),
                             ("others' turns", "disturbed", None, ".1f")]),
    "instructions": ("Instructions", "`pgbench -S`, 8 clients; of the proxy's own code and its libraries per transaction, counted by "
                     "valgrind. The kernel's part, the bigger one, is not in it.",
                     [("instructions", "instructions", None, ".0f"), ("of PgBouncer's", "instructions", "peer", ".2f")]),
    "idle": ("Idle clients", "Resident memory for each, beyond the empty process. Without a pool each of ours has a connection "
             "to the server, too.", [("KiB", "kb", None, ".2f")]),
}


def peer_of(target):
    return "pgbouncer-pool" if "-pool" in target else "pgbouncer"


class Runs:
    """The figures by measurement, cell, target and round, without the noisy ones where there are others."""

    def __init__(self, rows, noise):
        found = {}
        for row in rows:
            if "values" in row:
                values = dict(row["values"])
                if "stalls" in values:
                    values["stalls_beyond"] = values["stalls"] - values["direct_stalls"]
                key = row["measurement"], self.key(row["cell"]), row["target"]
                found.setdefault(key, {})[row["round"]] = (values, row["others"] > noise)
        self.total = sum(map(len, found.values()))
        self.noisy = sum(noisy for runs in found.values() for _, noisy in runs.values())
        self.only_noisy = [key for key, runs in found.items() if all(noisy for _, noisy in runs.values())]
        self.failed = [row for row in rows if "failed" in row]
        self._found = {key: {n: values for n, (values, noisy) in runs.items() if not noisy or key in self.only_noisy}
                       for key, runs in found.items()}

    @staticmethod
    def key(cell):
        return tuple(cell.items())

    def cells(self, measurement):
        return list(dict.fromkeys(cell for name, cell, _ in self._found if name == measurement))

    def targets(self, measurement, cell):
        present = {target for name, at, target in self._found if (name, at) == (measurement, cell)}
        return [target for target in LABELS if target in present]

    def _series(self, measurement, cell, target, metric):
        runs = self._found.get((measurement, cell, target), {})
        return {number: values[metric] for number, values in runs.items() if metric in values}

    def value(self, measurement, cell, target, metric, base=None):
        """The median, or None where it was not measured."""
        mine = self._series(measurement, cell, target, metric)
        if base is None:
            return statistics.median(mine.values()) if mine else None
        if base in ("peer", "added"):
            other = (self._series(measurement, cell, peer_of(target), metric)
                     or self._series(measurement, cell, "pgbouncer", metric))
        else:
            other = self._series(measurement, cell, base, metric)
        if base == "added":
            direct = self._series(measurement, cell, "direct", metric)
            mine, other = ({n: v - direct[n] for n, v in each.items() if n in direct} for each in (mine, other))
        ratios = [mine[number] / other[number] for number in mine if other.get(number)]
        return statistics.median(ratios) if ratios else None


def shown(value, form):
    return format(value, form) if value is not None else "–"


def cell_text(cell):
    words = {"mode": "{}", "clients": "{} clients", "kb": "{} KB", "way": "{}", "percent": "{} % new", "tls": "TLS: {}",
             "direct": "direct: a block on {}"}
    cell = [(name, value) for name, value in cell if (name, value) != ("clients", 1) or len(cell) == 1]
    if cell == [("clients", 1)]:
        return "1 client"
    return ", ".join(words[name].format(("no", "yes")[value] if name == "tls" else value) for name, value in cell)


def line(row):
    """One run, while it is measured."""
    text = f"{row['measurement']} {cell_text(Runs.key(row['cell']))} {row['target']}: "
    if "failed" in row:
        return text + "FAILED: " + row["failed"]
    return text + " ".join(f"{name}={value:.4g}" for name, value in row["values"].items()) + f" others={row['others']:.2f}"


def table(runs, measurement):
    heading, about, columns = TABLES[measurement]
    lines = [f"### {heading}", "", about, "", "| | | " + " | ".join(column[0] for column in columns) + " |",
             "|---|---|" + "---:|" * len(columns)]
    for cell in runs.cells(measurement):
        first = cell_text(cell)
        for target in runs.targets(measurement, cell):
            values = [shown(runs.value(measurement, cell, target, metric, base), form)
                      if base is None or base != target and (base not in ("peer", "added") or target.startswith("pginterlock")) else ""
                      for _, metric, base, form in columns]
            lines.append(f"| {first} | {LABELS[target]} | " + " | ".join(values) + " |")
            first = ""
    return lines + [""]


def judge(runs, goal):
    """(figure, met) of a goal; None where it was not measured."""
    cells = runs.cells(goal.measurement) if goal.cell is None else [Runs.key(goal.cell)]
    for target in goal.target if isinstance(goal.target, tuple) else (goal.target,):
        for cell in cells:
            value = runs.value(goal.measurement, cell, target, goal.metric, goal.base)
            if value is not None:
                rounded = round(value, 2)
                return rounded, rounded <= goal.limit if goal.at_most else rounded >= goal.limit
    return None, None


def goals(runs):
    lines = ["| what | wanted | measured | |", "|---|---:|---:|---|"]
    for goal in GOALS:
        value, met = judge(runs, goal)
        wanted = f"{'≤' if goal.at_most else '≥'} {goal.limit:g}"
        verdict = {True: "met", False: "**not met**", None: "not measured"}[met]
        figure = "–" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:g}"
        lines.append(f"| {goal.text} | {wanted} | {figure} | {verdict} |")
    return lines + [""]


def _grouped(runs, measurement, metric, base=None, label=cell_text):
    return [(label(cell), {LABELS[target]: runs.value(measurement, cell, target, metric, base)
                           for target in runs.targets(measurement, cell)}) for cell in runs.cells(measurement)]


def _latencies(runs):
    found = []
    for title, metric, _, _ in PERCENTILES:
        for cell in runs.cells("latency"):
            if dict(cell)["mode"] == "simple":
                targets = runs.targets("latency", cell)
                found.append((title, {LABELS[target]: runs.value("latency", cell, target, metric) for target in targets}))
    return found


def _over(runs, measurement, field, metric):
    series = {}
    for cell in runs.cells(measurement):
        for target in runs.targets(measurement, cell):
            series.setdefault(LABELS[target], {})[dict(cell)[field]] = runs.value(measurement, cell, target, metric)
    return [dict(cell)[field] for cell in runs.cells(measurement)], series


def pictures(runs):
    def mode(cell):
        return dict(cell)["mode"]
    made = {
        "cpu.svg": charts.bars("CPU of the proxy per transaction", "microseconds; pgbench -S, 8 clients",
                               _grouped(runs, "select", "cpu_us", label=mode), COLOURS),
        "latency.svg": charts.bars("Latency of one client", "microseconds; pgbench -S -M simple", _latencies(runs), COLOURS),
        "clients.svg": charts.lines("Throughput over clients", "transactions a second; pgbench -S -M simple", "clients",
                                    *_over(runs, "clients", "clients", "tps"), COLOURS),
        "clients-cpu.svg": charts.lines("CPU of the proxy per transaction over clients", "microseconds; pgbench -S -M simple",
                                        "clients", *_over(runs, "clients", "clients", "cpu_us"), COLOURS),
        "pool.svg": charts.bars("64 clients, pool of 20 connections", "transactions a second; pgbench -S; direct: 64 connections",
                                _grouped(runs, "pool", "tps", label=mode), COLOURS),
        "sizes.svg": charts.bars("Size of results: throughput", "of direct; 8 clients, rows of 1 KB",
                                 _grouped(runs, "sizes", "mb", "direct"), PROXIES, (1, "direct")),
        "copy.svg": charts.bars("COPY: CPU of the proxy", "seconds a gigabyte", _grouped(runs, "copy", "cpu_gb"), COLOURS),
        "unseen.svg": charts.bars("Statements not seen before: CPU of the proxy per transaction",
                                  "microseconds; simple queries, 8 clients", _grouped(runs, "unseen", "cpu_us"), COLOURS),
        "idle.svg": charts.bars("Memory for each idle client", "KiB", _grouped(runs, "idle", "kb"), COLOURS, (2, "wanted")),
    }
    return {name: picture for name, picture in made.items() if picture}


PICTURES_OF = {"select": ["cpu.svg"], "latency": ["latency.svg"], "clients": ["clients.svg", "clients-cpu.svg"], "pool": ["pool.svg"],
               "sizes": ["sizes.svg"], "copy": ["copy.svg"], "unseen": ["unseen.svg"], "idle": ["idle.svg"]}


def make(rows, about, noise):
    """The report's text, whose pictures stand beside it, and the pictures by their names."""
    runs = Runs(rows, noise)
    drawn = pictures(runs)
    facts = "; ".join(about[name] for name in ("date", "machine", "system", "pginterlock", "pgbouncer", "postgres"))
    left_out = " (left out where there are others)" if runs.noisy else ""
    lines = [f"{facts}. `tests/bench/run.sh`, {about['how']}, {about['minutes']} minutes: {runs.total} runs, of which {runs.noisy} with",
             f"more than {noise:g} cores used by others{left_out}, {len(runs.failed)} failed. Medians; ratios within rounds.", ""]
    if runs.only_noisy:
        names = dict.fromkeys(measurement for measurement, _, _ in runs.only_noisy)
        lines += [f"**Not to be relied on**, as nothing but noisy runs is there of some of: {', '.join(names)}.", ""]
    if not about.get("pool"):
        lines += ["This build knows no `pool`: what needs one is not measured.", ""]
    lines += goals(runs)
    for measurement in TABLES:
        if runs.cells(measurement):
            lines += table(runs, measurement)
            for name in PICTURES_OF.get(measurement, []):
                if name in drawn:
                    title = drawn[name].split("<title>")[1].split("</title>")[0]
                    lines += [f"![{title}]({name})", ""]
    for row in runs.failed:
        lines.append(f"- {line(row)}")
    return "\n".join(lines).rstrip() + "\n", drawn


BEGIN, END = "<!-- figures: tests/bench/run.sh --write-docs -->", "<!-- end of figures -->"


def write_docs(root, text, drawn):
    """Into PERFORMANCE.md, between its marks; all else in it is written by hand."""
    document, folder = root / "PERFORMANCE.md", pathlib.Path("tests/bench/figures")
    before, rest = document.read_text().split(BEGIN)
    _, after = rest.split(END)
    for name in drawn:
        text = text.replace(f"]({name})", f"]({folder / name})")
    (root / folder).mkdir(parents=True, exist_ok=True)
    for old in (root / folder).glob("*.svg"):
        old.unlink()
    for name, picture in drawn.items():
        (root / folder / name).write_text(picture)
    document.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")

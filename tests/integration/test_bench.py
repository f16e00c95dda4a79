"""The benchmark suite's arithmetic and pictures, on runs that are made up."""

import pathlib
import sys
import types
import xml.etree.ElementTree as ElementTree

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
import charts  # noqa: E402
import goals  # noqa: E402
import loads  # noqa: E402
import micro  # noqa: E402
import report  # noqa: E402
import turns  # noqa: E402

ABOUT = {"date": "2026-11-23", "machine": "m", "system": "s", "pginterlock": "p", "pgbouncer": "b", "postgres": "q", "how": "h",
         "minutes": 1, "pool": False}
CELL = {"mode": "simple", "clients": 8}


def run(target, number, others=0.0, cell=None, measurement="select", **values):
    return {"measurement": measurement, "cell": cell or CELL, "target": target, "round": number, "values": values,
            "others": others}


def value(rows, *arguments, cell=None):
    return report.Runs(rows, 0.3).value("select", report.Runs.key(cell or CELL), *arguments)


def test_a_ratio_is_taken_within_each_round():
    rows = [run("pgbouncer", number, cpu_us=cpu) for number, cpu in enumerate((10, 20, 40))]
    rows += [run("pginterlock", number, cpu_us=cpu) for number, cpu in enumerate((9, 10, 60))]
    assert value(rows, "pginterlock", "cpu_us", "peer") == 0.9  # of 0.9, 0.5, 1.5; the medians' would be 0.5


def test_a_pool_without_a_peer_is_compared_with_pgbouncers_sessions():
    rows = [run("pgbouncer", 0, cpu_us=10), run("pginterlock-pool", 0, cpu_us=12)]
    assert value(rows, "pginterlock-pool", "cpu_us", "peer") == 1.2
    rows.append(run("pgbouncer-pool", 0, cpu_us=8))
    assert value(rows, "pginterlock-pool", "cpu_us", "peer") == 1.5


def test_added_latency_is_what_comes_on_top_of_the_direct_one():
    rows = [run("direct", 0, p50_us=50), run("pgbouncer", 0, p50_us=90), run("pginterlock", 0, p50_us=70)]
    assert value(rows, "pginterlock", "p50_us", "added") == 0.5


def test_noisy_runs_are_left_out():
    rows = [run("direct", number, tps=tps, others=others) for number, (tps, others) in enumerate(((100, 0), (10, 0.5), (100, 0.1)))]
    assert value(rows, "direct", "tps") == 100
    assert "Not to be relied on" not in report.make(rows, ABOUT, 0.3)[0]


def test_where_all_runs_are_noisy_they_count_and_the_report_says_so():
    rows = [run("direct", 0, tps=10, others=0.5)]
    assert value(rows, "direct", "tps") == 10
    assert "**Not to be relied on**, as nothing but noisy runs is there of some of: select." in report.make(rows, ABOUT, 0.3)[0]


def test_a_goal_is_met_at_its_limit_and_not_beyond():
    goal = goals.most("", "select", CELL, "pginterlock", "cpu_us", "peer", 1.1)
    rows = [run("pgbouncer", 0, cpu_us=10), run("pginterlock", 0, cpu_us=11)]
    assert report.judge(report.Runs(rows, 0.3), goal) == (1.1, True)
    rows[1]["values"]["cpu_us"] = 11.1
    assert report.judge(report.Runs(rows, 0.3), goal) == (1.11, False)
    assert report.judge(report.Runs([], 0.3), goal) == (None, None)


def test_every_goal_is_about_a_cell_and_a_target_that_are_measured():
    stage = types.SimpleNamespace(has_pool=True, folder=None, bouncer_prepares=True)
    options = types.SimpleNamespace(max_clients=1000, idle=10000)
    for goal in goals.GOALS:
        measurement = loads.MEASUREMENTS[goal.measurement](stage, options)
        cells = [goal.cell] if goal.cell is not None else measurement.cells()
        assert all(cell in measurement.cells() for cell in cells), goal.text
        wanted = goal.target if isinstance(goal.target, tuple) else (goal.target,)
        assert set(wanted) & set(measurement.targets(cells[0])), goal.text


def test_a_failed_run_is_in_the_report():
    rows = [{"measurement": "select", "cell": CELL, "target": "direct", "round": 0, "failed": "RuntimeError: no such thing"}]
    text, _ = report.make(rows, ABOUT, 0.3)
    assert "1 failed" in text and "select simple, 8 clients direct: FAILED: RuntimeError: no such thing" in text


@pytest.mark.parametrize("picture", [
    charts.bars("A & B", "µs", [("one", {"direct": 12.5, "PgBouncer": None}), ("two", {"PgBouncer": 7})], report.COLOURS, (9, "<wanted>")),
    charts.lines("A & B", "µs", "clients", [1, 1000], {"direct": {1: 12.5, 1000: 7}, "PgBouncer": {1: 12.4}}, report.COLOURS),
])
def test_a_picture_is_well_formed_and_says_its_values(picture):
    texts = [element.text for element in ElementTree.fromstring(picture).iter() if element.tag.endswith("text")]
    assert "A & B" in texts
    assert any("12.4" in text or "12.5" in text for text in texts) and any("7" in text for text in texts)


def test_there_is_no_picture_without_a_value():
    assert charts.bars("t", "u", [("one", {"direct": None})], report.COLOURS) is None
    assert charts.lines("t", "u", "x", [1], {"direct": {1: None}}, report.COLOURS) is None


def test_what_is_written_by_hand_stays_in_the_document(tmp_path):
    document = tmp_path / "PERFORMANCE.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.write_docs(tmp_path, "new ![t](cpu.svg)\n", {"cpu.svg": "<svg/>"})
    assert document.read_text() == f"before\n{report.BEGIN}\n\nnew ![t](tests/bench/figures/cpu.svg)\n\n{report.END}\nafter\n"
    assert (tmp_path / "tests/bench/figures/cpu.svg").read_text() == "<svg/>"


def test_a_part_may_get_a_tenth_dearer_and_no_more():
    before = {("parse", "t"): 100.0}
    assert micro.compare({("parse", "t"): 110.0}, before) == 0
    assert micro.compare({("parse", "t"): 110.2}, before) == 1


def test_a_part_that_has_no_figure_to_compare_with_fails_and_one_that_is_gone_too():
    assert micro.compare({("new", "t"): 1.0}, {("old", "t"): 1.0}) == 2


def test_turns_of_a_loop_are_told_apart_by_whether_others_ran_meanwhile():
    lines = ["  7  1.000000: syscalls:sys_enter_epoll_wait: ", "  7  1.000100: syscalls:sys_exit_epoll_wait: ",
             "  7  1.000150: syscalls:sys_enter_epoll_wait: ", "  7  1.000160:     sched:sched_switch: ",
             "  7  2.000000: syscalls:sys_exit_epoll_pwait: ", "  8  2.000100: syscalls:sys_exit_epoll_pwait: ",
             "  7  2.000200:     sched:sched_switch: ", "  8  2.000300: syscalls:sys_enter_epoll_pwait: ",
             "  7  2.003000: syscalls:sys_enter_epoll_pwait: "]
    assert turns.turns_of(lines) == ([50.0, 200.0], [3000.0])

"""What processes use of the machine: CPU time, memory, and how much of it goes to others while something is measured."""

import os
import pathlib
import platform
import re
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """Parent and CPU ticks (user, system, both of reaped children too) of a process."""
    fields = pathlib.Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[1]), sum(map(int, fields[11:15]))


def _tree_ticks():
    """CPU ticks of this process and of all that descend from it."""
    parents, ticks = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)], ticks[int(entry)] = _stat(entry)
            except (OSError, IndexError):
                pass
    total, mine = 0, {os.getpid(): True}

    def ours(pid):
        if pid not in mine:
            mine[pid] = False  # whoever is its own ancestor is not ours
            mine[pid] = pid in parents and ours(parents[pid])
        return mine[pid]
    for pid in ticks:
        total += ticks[pid] if ours(pid) else 0
    return total


def _machine_ticks():
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[1]) + int(fields[2]) + int(fields[3]) + int(fields[8])  # user, nice, system, stolen


class Others:
    """`with Others() as others: …`: afterwards others.cores is how many cores processes used that are none of ours."""

    def __enter__(self):
        self.cores, self._begun = 0.0, (time.monotonic(), _machine_ticks(), _tree_ticks())
        return self

    def __exit__(self, *_):
        began, machine, tree = self._begun
        used = (_machine_ticks() - machine) - (_tree_ticks() - tree)
        self.cores = max(0.0, round(used / TICK / max(time.monotonic() - began, 1e-3), 3))


def wait_for_quiet(cores, patience):
    """Until all together use fewer than so many cores, or `patience` seconds have passed."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = _machine_ticks()
        time.sleep(0.5)  # what is measured is the work done in this time
        if (_machine_ticks() - before) / TICK / 0.5 < cores:
            return


def threads_cpu(pid):
    """CPU seconds of each thread."""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/task"):
        fields = pathlib.Path(f"/proc/{pid}/task/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        found[entry] = (int(fields[11]) + int(fields[12])) / TICK
    return found


def _kilobytes(path, field):
    return next(int(line.split()[1]) for line in pathlib.Path(path).read_text().splitlines() if line.startswith(field))


def resident(pid):
    """KiB, with what is shared counted once for all who share it."""
    return _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:")


def reset_peak(pid):
    """Starts peak() anew; KiB of memory now."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _kilobytes(f"/proc/{pid}/status", "VmRSS:")


def peak(pid):
    return _kilobytes(f"/proc/{pid}/status", "VmHWM:")


def _first_line(*command):
    try:
        run = subprocess.run(command, capture_output=True, text=True)
        return (run.stdout or run.stderr).strip().splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def describe(program, pgbouncer):
    """The machine and the versions of what runs on it, in one line each."""
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    memory = _kilobytes("/proc/meminfo", "MemTotal:") / 1024 / 1024
    system = re.search(r'^PRETTY_NAME="(.*)"$', pathlib.Path("/etc/os-release").read_text(), re.M)
    return {
        "machine": f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.machine()}, {memory:.0f} GiB, "
                   f"Linux {platform.release().split('-')[0]}",
        "system": system[1] if system else "unknown",
        "postgres": _first_line("psql", "--version"),
        "pgbouncer": _first_line(pgbouncer, "--version"),
        "pginterlock": _first_line(program, "--version"),
        "date": time.strftime("%Y-%m-%d"),
    }

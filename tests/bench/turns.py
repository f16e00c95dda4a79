"""How long an event loop keeps its clients waiting: its turns, from when epoll_wait returns to its next call, as perf sees them.

A turn in which the kernel ran something else on the loop's processor tells of the machine, not of the loop; both are told.
"""

import re
import subprocess
import tempfile

WAITS = ("epoll_wait", "epoll_pwait")
EVENTS = ",".join([f"syscalls:sys_{way}_{name}" for way in ("enter", "exit") for name in WAITS] + ["sched:sched_switch"])
LINE = re.compile(r"\s*(\d+)\s+(\d+\.\d+):\s+\w+:(\w+):")


class Turns:
    """`with Turns(pid) as turns: …`: afterwards turns.own and turns.disturbed, sorted, in microseconds; or None without perf."""

    def __init__(self, pid):
        self._pid, self.own, self.disturbed = pid, None, None

    def __enter__(self):
        self._file = tempfile.NamedTemporaryFile(prefix="pginterlock-turns-")
        try:
            self._perf = subprocess.Popen(["perf", "record", "-q", "-e", EVENTS, "-p", str(self._pid), "-o", self._file.name],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            self._perf = None
        return self

    def __exit__(self, *_):
        if self._perf is not None:
            self._perf.terminate()
            self._perf.wait()
            text = subprocess.run(["perf", "script", "-i", self._file.name, "-F", "tid,time,event"], capture_output=True,
                                  text=True).stdout
            found = turns_of(text.splitlines())
            if any(found):
                self.own, self.disturbed = map(sorted, found)
        self._file.close()


def turns_of(lines):
    """Of perf's lines, in order: the turns in which nothing else ran, and the others."""
    begun, own, disturbed = {}, [], []
    for line in lines:
        match = LINE.match(line)
        if not match:
            continue
        thread, when, event = match[1], float(match[2]), match[3]
        if event.startswith("sys_exit"):
            begun[thread] = [when, False]
        elif thread not in begun:
            continue
        elif event == "sched_switch":
            begun[thread][1] = True
        else:
            since, switched = begun.pop(thread)
            (disturbed if switched else own).append(round((when - since) * 1e6, 1))
    return own, disturbed

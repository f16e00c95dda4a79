"""What the figures are wanted to be, and how each is taken from the runs."""

from collections import namedtuple

# The median of `metric` of `target` in that cell, or with `base` of its ratio to that target's in the same round, has to be
# `at_most` the limit, or at least it. base "peer": PgBouncer with the same sort of pool; "added": how much more than direct it
# is, next to how much more PgBouncer's is. Several targets: the first that was measured; cell None: whichever was.
Goal = namedtuple("Goal", "text measurement cell target metric base at_most limit")


def most(text, measurement, cell, target, metric, base, limit):
    return Goal(text, measurement, cell, target, metric, base, True, limit)


def least(text, measurement, cell, target, metric, base, limit):
    return Goal(text, measurement, cell, target, metric, base, False, limit)


MODES = {"same text": 1.0, "simple": 1.1, "extended": 1.0, "prepared": 1.0}
POOLS = {"pginterlock": "session", "pginterlock-pool": "pool of 20"}
POOLED_FIRST = "pginterlock-pool", "pginterlock"


def at_eight(mode):
    return {"mode": mode, "clients": 8}


def at_64(mode):
    return {"mode": mode, "clients": 64}


GOALS = [
    *(most(f"CPU per transaction, 8 clients, {pool}, {mode}: of PgBouncer's",
           "select", at_eight(mode), target, "cpu_us", "peer", limit)
      for target, pool in POOLS.items() for mode, limit in MODES.items()),
    *(least(f"throughput of 64 clients on a pool of 20, {mode}: of PgBouncer's",
            "pool", at_64(mode), "pginterlock-pool", "tps", "peer", 1.0) for mode in ("simple", "extended")),
    *(most(f"CPU per transaction with two workers, 8 clients, {mode}: of one worker's",
           "workers", at_eight(mode), "pginterlock-2", "cpu_us", "pginterlock", 1.1) for mode in ("simple", "prepared")),
    most("… 64 clients on a pool of 20, simple",
         "pool", at_64("simple"), "pginterlock-pool-2", "cpu_us", "pginterlock-pool", 1.1),
    most("8 clients on two workers: share of the busier one",
         "workers", at_eight("simple"), "pginterlock-2", "busiest", None, 0.6),
    *(least(f"TPC-B, 8 clients, {pool}, throughput: of PgBouncer's",
            "tpcb", at_eight("simple"), target, "tps", "peer", 1.1) for target, pool in POOLS.items()),
    *(most(f"block that reads ci and writes main, {pool}, time: of two direct connections'",
           "block", {"direct": "both"}, target, "mean_us", "direct", 1.15) for target, pool in POOLS.items()),
    *(least(f"COPY {way}, speed: of direct", "copy", {"way": way}, "pginterlock", "mb", "direct", 0.97) for way in ("out", "in")),
    *(most(f"COPY {way}, CPU s/GB", "copy", {"way": way}, "pginterlock", "cpu_gb", None, 0.8) for way in ("out", "in")),
    most("a value of 100 MB: growth of the process, KiB",
         "copy", {"way": "one value"}, "pginterlock", "grown_kb", None, 1024),
    *(most(f"added latency, one client, {mode}: of PgBouncer's",
           "latency", {"mode": mode, "clients": 1}, "pginterlock", "p50_us", "added", 1.0)
      for mode in ("simple", "extended", "prepared")),
    *(most(f"mixed load, {pool}: look-ups of 10,000 over 2 ms beyond those of a direct client beside it",
           "mixed", {}, target, "stalls_beyond", None, 1.0) for target, pool in POOLS.items()),
    *(most(f"… {pool}: longest turn of the loop in which nothing else ran on its processor, µs",
           "mixed", {}, target, "turn_us", None, 2000) for target, pool in POOLS.items()),
    most("memory of an idle client, KiB", "idle", None, POOLED_FIRST, "kb", None, 2.0),
    least("connections a second, opened and closed", "connect", {"tls": False}, POOLED_FIRST, "tps", None, 4000),
    most("CPU of a TLS connection: of PgBouncer's", "connect", {"tls": True}, POOLED_FIRST, "cpu_us", "peer", 1.1),
]

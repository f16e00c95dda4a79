/* A hint for the compiler, no more: what hardly ever holds is laid out behind what every message
 * runs.
 *
 * Most of a transaction's time is the kernel's, whose code our own drives out of the processor's
 * cache: how many lines of code a transaction touches costs more than how many instructions it
 * runs. GCC takes the way past many early returns for the unlikely one, so conditions of faults and
 * of waiting, on the way of every message, say what they are. Functions that are only called then
 * say it themselves: __attribute__((cold)), or noinline if they should be fast. */
#ifndef PGINTERLOCK_RARELY_H
#define PGINTERLOCK_RARELY_H

#define RARELY(condition) __builtin_expect_with_probability(!!(condition), 0, 1.0)

#endif

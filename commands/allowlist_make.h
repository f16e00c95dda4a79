/* `pginterlock allowlist`: from a record of violations the allowlist that would let them pass, as
 * YAML on standard output, for people to look through and to shorten. */
#ifndef PGINTERLOCK_ALLOWLIST_MAKE_H
#define PGINTERLOCK_ALLOWLIST_MAKE_H

struct allowlist_options {
    const char *config;
    const char *from;  /* the record; "-" is the standard input */
    const char *url;   /* of entries that have none yet, or NULL */
    const char *until; /* likewise, and of expired ones: YYYY-MM-DD, or NULL */
};

/* Returns the exit status: 0, or 2 where options, settings or record are wrong. */
int allowlist_command(const struct allowlist_options *options);

#endif

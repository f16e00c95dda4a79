/* The sessions of a worker by what a cancel request names: process id and key. A hash table, so
 * finding one takes the same time however many there are. Entries are embedded in the sessions,
 * which must leave the table before they are freed. One thread. */
#ifndef PGINTERLOCK_CANCEL_KEYS_H
#define PGINTERLOCK_CANCEL_KEYS_H

#include <stddef.h>
#include <stdint.h>

struct session;

struct cancel_entry {
    struct cancel_entry *next;
    struct session *session; /* NULL: not entered */
    uint32_t pid, key;
};

/* Zeroed: empty. */
struct cancel_keys {
    struct cancel_entry **buckets;
    size_t count, capacity; /* capacity: 0 or a power of two */
};

/* `entry` is not entered yet; it is filled in. */
void cancel_keys_enter(struct cancel_keys *keys, struct cancel_entry *entry, uint32_t pid,
                       uint32_t key, struct session *session);
/* Does nothing if it isn't entered. */
void cancel_keys_leave(struct cancel_keys *keys, struct cancel_entry *entry);
/* The session, or NULL. Keys are compared in constant time. */
struct session *cancel_keys_find(const struct cancel_keys *keys, uint32_t pid, uint32_t key);
void cancel_keys_close(struct cancel_keys *keys);

#endif

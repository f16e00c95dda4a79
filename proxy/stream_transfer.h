/* One read or write of a stream's socket, with TLS or without: the inside of stream.c, which alone
 * decides when. The loop's thread. */
#ifndef PGINTERLOCK_STREAM_TRANSFER_H
#define PGINTERLOCK_STREAM_TRANSFER_H

#include "proxy/stream.h"

#include <stddef.h>
#include <stdint.h>

/* What one read or write did. */
enum transfer { TRANSFER_DONE, TRANSFER_BLOCKED, TRANSFER_END, TRANSFER_FAILED };

/* *done: bytes, also where the result is not TRANSFER_DONE. TRANSFER_FAILED: stream->error says
 * why. */
enum transfer stream_read_some(struct stream *stream, uint8_t *data, size_t size, size_t *done);
enum transfer stream_write_some(struct stream *stream, const uint8_t *data, size_t size,
                                size_t *done);

/* Classifies a failed OpenSSL call; ERR_clear_error() was called before it. *other_direction: it
 * waits for `other`, SSL_ERROR_WANT_READ or _WRITE. */
enum transfer stream_judge_tls(struct stream *stream, int result, const char *what,
                               bool *other_direction, int other);

/* `why` NULL: `what` says it all. */
void stream_note_error(struct stream *stream, const char *what, const char *why);

#endif

#include "proxy/stream_transfer.h"

#include "config/alloc.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

void stream_note_error(struct stream *stream, const char *what, const char *why) {
    free(stream->error);
    stream->error = why == NULL ? alloc_text(what) : alloc_format("%s failed: %s", what, why);
}

/* recv() and send() are cancellation points, each of which costs a process with threads two atomic
 * operations; nobody cancels a worker. */
static ssize_t receive(int fd, void *data, size_t size) {
    return syscall(SYS_recvfrom, fd, data, size, 0, NULL, NULL);
}

static ssize_t send_off(int fd, const void *data, size_t size) {
    return syscall(SYS_sendto, fd, data, size, MSG_NOSIGNAL, NULL, 0);
}

static enum transfer fail_system(struct stream *stream, const char *what) {
    stream_note_error(stream, what, strerror(errno));
    return TRANSFER_FAILED;
}

enum transfer stream_judge_tls(struct stream *stream, int result, const char *what,
                               bool *other_direction, int other) {
    int number = errno;
    int reason = SSL_get_error(stream->ssl, result);
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) {
        *other_direction = reason == other;
        return TRANSFER_BLOCKED;
    }
    if (reason == SSL_ERROR_ZERO_RETURN)
        return TRANSFER_END;
    unsigned long code = ERR_peek_error();
    if (reason == SSL_ERROR_SYSCALL && code == 0) {
        if (number == 0)
            return TRANSFER_END;
        errno = number;
        return fail_system(stream, what);
    }
    /* Messages are framed, so that an end without close_notify is no more than an end. */
    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return TRANSFER_END;
    const char *text = ERR_reason_error_string(code);
    free(stream->error);
    stream->error = alloc_format("TLS: %s failed: %s", what, text != NULL ? text : "unknown error");
    ERR_clear_error();
    return TRANSFER_FAILED;
}

static __attribute__((noinline)) enum transfer read_tls(struct stream *stream, uint8_t *data,
                                                        size_t size, size_t *done) {
    *done = 0;
    stream->tls_wants_write = false;
    do {
        size_t length = 0;
        ERR_clear_error();
        errno = 0;
        int result = SSL_read_ex(stream->ssl, data + *done, size - *done, &length);
        if (result <= 0) {
            /* What came before an end is handed out first; the next call meets the end again. */
            if (*done > 0)
                return TRANSFER_DONE;
            return stream_judge_tls(stream, result, "receiving", &stream->tls_wants_write,
                                    SSL_ERROR_WANT_WRITE);
        }
        *done += length;
    } while (*done < size && SSL_pending(stream->ssl) > 0);
    return TRANSFER_DONE;
}

enum transfer stream_read_some(struct stream *stream, uint8_t *data, size_t size, size_t *done) {
    if (stream->ssl != NULL)
        return read_tls(stream, data, size, done);
    ssize_t length;
    do
        length = receive(stream->fd, data, size);
    while (length < 0 && errno == EINTR);
    *done = length > 0 ? (size_t)length : 0;
    if (length > 0)
        return TRANSFER_DONE;
    if (length == 0)
        return TRANSFER_END;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return TRANSFER_BLOCKED;
    return fail_system(stream, "receiving");
}

static __attribute__((noinline)) enum transfer write_tls(struct stream *stream, const uint8_t *data,
                                                         size_t size, size_t *done) {
    stream->tls_wants_read = false;
    ERR_clear_error();
    errno = 0;
    int result = SSL_write_ex(stream->ssl, data, size, done);
    if (result > 0)
        return TRANSFER_DONE;
    return stream_judge_tls(stream, result, "sending", &stream->tls_wants_read,
                            SSL_ERROR_WANT_READ);
}

enum transfer stream_write_some(struct stream *stream, const uint8_t *data, size_t size,
                                size_t *done) {
    *done = 0;
    if (stream->ssl != NULL)
        return write_tls(stream, data, size, done);
    ssize_t length;
    do
        length = send_off(stream->fd, data, size);
    while (length < 0 && errno == EINTR);
    if (length >= 0) {
        *done = (size_t)length;
        return TRANSFER_DONE;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return TRANSFER_BLOCKED;
    return fail_system(stream, "sending");
}

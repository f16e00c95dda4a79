#include "proxy/link_cancel.h"

#include "config/alloc.h"
#include "proxy/cancel_request.h"
#include "proxy/worker.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { RETRY_MILLISECONDS = 20 }; /* a Unix socket whose queue is full tells nobody of room */

enum attempt_state { ATTEMPT_CONNECTING, ATTEMPT_SENT };

/* One CancelRequest on its way. */
struct cancel_attempt {
    struct link_cancel *cancel;
    struct cancel_attempt *next, **previous_next; /* the worker's */
    struct cancel_request *requests;              /* that it is for */
    enum attempt_state state;
    int fd;
    uv_poll_t poll;
    uv_timer_t timer;
    uint64_t deadline;   /* uv_now() */
    unsigned still_open; /* handles */
};

struct link_cancel {
    struct link *link; /* NULL once it was closed */
    struct worker *worker;
    struct sockaddr *address;
    socklen_t length;
    uint32_t pid, key;
    struct cancel_attempt *attempt;
    struct cancel_request *waiting; /* for its end */
    bool in_doubt;                  /* one was given up that may still come */
};

static void log_failure(const struct link_cancel *cancel, const char *why) {
    log_event(
        cancel->worker->log, LOG_WARNING, "a cancel request failed",
        (struct log_field[]){{"server_pid", NULL, (int64_t)cancel->pid}, {"error", why, 0}, {0}});
}

/* -- what a link needs ------------------------------------------------------------------------- */

/* As libpq makes it: what getpeername() tells is where the server has bound it, which may have
 * another name here (a mounted folder). */
static socklen_t unix_address(const PGconn *conn, struct sockaddr_un *out) {
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length =
        snprintf(out->sun_path, sizeof out->sun_path, "%s/.s.PGSQL.%s", PQhost(conn), PQport(conn));
    if (length < 0 || (size_t)length >= sizeof out->sun_path)
        return 0;
    size_t path = (size_t)length + 1;
    if (out->sun_path[0] == '@') { /* an abstract one has a length in place of an end */
        out->sun_path[0] = '\0';
        path--;
    }
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path);
}

static bool learn_address(struct link_cancel *cancel, const PGconn *conn) {
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_in6 tcp;
    } address = {0};
    cancel->length = sizeof address;
    if (getpeername(PQsocket(conn), &address.any, &cancel->length) != 0)
        return false;
    if (address.any.sa_family == AF_UNIX)
        cancel->length = unix_address(conn, &address.local);
    if (cancel->length == 0 || cancel->length > sizeof address)
        return false;
    cancel->address = alloc_new(cancel->length);
    memcpy(cancel->address, &address, cancel->length);
    return true;
}

static void cancel_free(struct link_cancel *cancel) {
    free(cancel->address);
    OPENSSL_cleanse(&cancel->key, sizeof cancel->key);
    free(cancel);
}

struct link_cancel *link_cancel_new(struct link *link, PGconn *conn,
                                    const struct backend_key *watch) {
    struct link_cancel *cancel = alloc_new(sizeof *cancel);
    cancel->link = link;
    cancel->worker = link->worker;
    cancel->pid = link->pid;
    const char *lacks = NULL;
    if (!backend_key_get(watch, link->pid, &cancel->key))
        lacks = "the server's key is not known: statements there can't be cancelled";
    else if (!learn_address(cancel, conn))
        lacks = "the server's address is not known: statements there can't be cancelled";
    if (lacks == NULL)
        return cancel;
    log_failure(cancel, lacks);
    cancel_free(cancel);
    return NULL;
}

/* -- the end of an attempt --------------------------------------------------------------------- */

static void start(struct link_cancel *cancel, struct cancel_request *requests_take);

static void on_handle_closed(uv_handle_t *handle) {
    struct cancel_attempt *attempt = handle->data;
    if (--attempt->still_open == 0)
        free(attempt);
}

static void attempt_close(struct cancel_attempt *attempt) {
    *attempt->previous_next = attempt->next;
    if (attempt->next != NULL)
        attempt->next->previous_next = attempt->previous_next;
    uv_close((uv_handle_t *)&attempt->poll, on_handle_closed);
    uv_close((uv_handle_t *)&attempt->timer, on_handle_closed);
    close(attempt->fd);
}

/* Nothing is on its way any more; what waits may go. */
static void settle(struct link_cancel *cancel) {
    struct cancel_request *waiting = cancel->waiting;
    cancel->waiting = NULL;
    if (waiting != NULL && !cancel->in_doubt) {
        start(cancel, waiting);
        return;
    }
    cancel_request_over(waiting);
    if (cancel->link == NULL)
        cancel_free(cancel);
    else if (cancel->link->on_cancelled != NULL)
        cancel->link->on_cancelled(cancel->link);
}

static void finish(struct cancel_attempt *attempt, const char *why) {
    struct link_cancel *cancel = attempt->cancel;
    if (why != NULL)
        log_failure(cancel, why);
    cancel->in_doubt |= why != NULL && attempt->state == ATTEMPT_SENT;
    cancel->attempt = NULL;
    struct cancel_request *requests = attempt->requests;
    attempt_close(attempt);
    cancel_request_over(requests);
    settle(cancel);
}

/* -- its way ----------------------------------------------------------------------------------- */

static void on_ready(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);

static bool is_for_later(int number) {
    return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

static void wait_for(struct cancel_attempt *attempt, int events) {
    uint64_t now = uv_now(attempt->timer.loop);
    uv_timer_start(&attempt->timer, on_timer, attempt->deadline > now ? attempt->deadline - now : 0,
                   0);
    uv_poll_start(&attempt->poll, events, on_ready);
}

static void proceed(struct cancel_attempt *attempt) {
    struct link_cancel *cancel = attempt->cancel;
    if (connect(attempt->fd, cancel->address, cancel->length) == 0 || errno == EINPROGRESS ||
        errno == EINTR)
        wait_for(attempt, UV_WRITABLE);
    else if (errno == EAGAIN)
        uv_timer_start(&attempt->timer, on_timer, RETRY_MILLISECONDS, 0);
    else
        finish(attempt, strerror(errno));
}

static void on_timer(uv_timer_t *timer) {
    struct cancel_attempt *attempt = timer->data;
    if (uv_now(timer->loop) >= attempt->deadline)
        finish(attempt, "the server has not taken it within login_timeout");
    else
        proceed(attempt);
}

static void on_connected(struct cancel_attempt *attempt) {
    uint8_t packet[STARTUP_CANCEL_LENGTH];
    startup_write_cancel(packet, attempt->cancel->pid, attempt->cancel->key);
    ssize_t sent = send(attempt->fd, packet, sizeof packet, MSG_NOSIGNAL);
    int number = errno;
    OPENSSL_cleanse(packet, sizeof packet);
    if (sent == sizeof packet) {
        attempt->state = ATTEMPT_SENT;
        wait_for(attempt, UV_READABLE);
    } else if (sent >= 0 || !is_for_later(number)) {
        finish(attempt, sent >= 0 ? "the socket took a part of it only" : strerror(number));
    }
}

/* It has nothing to say, whatever came of it: the manual's "Canceling Requests in Progress". */
static void on_readable(struct cancel_attempt *attempt) {
    char ignored[256];
    ssize_t received = recv(attempt->fd, ignored, sizeof ignored, 0);
    if (received == 0)
        finish(attempt, NULL);
    else if (received < 0 && !is_for_later(errno))
        finish(attempt, strerror(errno));
}

static void on_ready(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events; /* the system calls say what is wrong */
    struct cancel_attempt *attempt = poll->data;
    if (attempt->state == ATTEMPT_CONNECTING)
        on_connected(attempt);
    else
        on_readable(attempt);
}

static void start(struct link_cancel *cancel, struct cancel_request *requests_take) {
    struct worker *worker = cancel->worker;
    struct cancel_attempt *attempt = alloc_new(sizeof *attempt);
    attempt->fd = socket(cancel->address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int failed = attempt->fd < 0 ? -errno : 0;
    if (failed == 0 && (failed = uv_poll_init(&worker->loop, &attempt->poll, attempt->fd)) != 0)
        close(attempt->fd);
    if (failed != 0) {
        free(attempt);
        log_failure(cancel, uv_strerror(failed));
        cancel_request_over(requests_take);
        settle(cancel);
        return;
    }
    uv_timer_init(&worker->loop, &attempt->timer);
    attempt->poll.data = attempt->timer.data = attempt;
    attempt->still_open = 2;
    attempt->cancel = cancel;
    attempt->requests = requests_take;
    attempt->deadline =
        uv_now(&worker->loop) + (uint64_t)worker->config->settings->login_timeout * 1000;
    attempt->next = worker->cancels;
    attempt->previous_next = &worker->cancels;
    if (attempt->next != NULL)
        attempt->next->previous_next = &attempt->next;
    worker->cancels = attempt;
    cancel->attempt = attempt;
    proceed(attempt);
}

/* -- for who uses links ------------------------------------------------------------------------ */

void link_cancel(struct link *link, struct cancel_request *request_take) {
    struct link_cancel *cancel = link->cancel;
    if (cancel == NULL)
        cancel_request_over(request_take);
    else if (cancel->attempt != NULL)
        cancel->waiting = cancel_request_join(cancel->waiting, request_take);
    else
        start(cancel, request_take);
}

bool link_is_cancelling(const struct link *link) {
    return link->cancel != NULL && link->cancel->attempt != NULL;
}

bool link_cancel_in_doubt(const struct link *link) {
    return link->cancel != NULL && link->cancel->in_doubt;
}

void link_cancel_leave(struct link *link) {
    struct link_cancel *cancel = link->cancel;
    link->cancel = NULL;
    if (cancel == NULL)
        return;
    cancel->link = NULL;
    if (cancel->attempt == NULL)
        cancel_free(cancel);
}

void link_cancels_stop(struct worker *worker) {
    while (worker->cancels != NULL)
        finish(worker->cancels, NULL);
}

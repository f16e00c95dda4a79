#include "proxy/listener.h"

#include "config/alloc.h"
#include "config/file.h"
#include "proxy/listener_socket.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_EVENT = 64, /* of one socket, before the other ones' turn comes */
    PAUSE_MILLISECONDS = 200,
};

/* One socket that is watched. Freed by the loop. */
struct listener {
    uv_poll_t poll; /* first */
    struct listeners *owner;
    int fd;
    bool is_unix;
};

/* One address of the settings with its sockets. */
struct bound_address {
    char *text;
    struct address_sockets sockets;
    struct listener *listeners[ADDRESS_SOCKETS_MAX]; /* NULL before listeners_start() */
};

struct listeners {
    uv_timer_t pause; /* first; runs while accepting is paused for want of descriptors */
    uv_loop_t *loop;
    struct log *log;
    struct workers *workers; /* NULL: not accepting yet */
    struct bound_address *addresses;
    size_t count;
    size_t next_worker; /* where the search for the least loaded one starts */
};

/* -- accepting --------------------------------------------------------------------------------- */

static void describe_peer(const struct sockaddr_storage *address, socklen_t length, char *out,
                          size_t size) {
    char host[64], port[8];
    if (address->ss_family != AF_INET && address->ss_family != AF_INET6) {
        snprintf(out, size, "unix");
        return;
    }
    if (getnameinfo((const struct sockaddr *)address, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        snprintf(out, size, "unknown");
        return;
    }
    snprintf(out, size, address->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* The one with the fewest clients; of several the one whose turn it is. */
static struct worker *choose_worker(struct listeners *listeners) {
    struct workers *workers = listeners->workers;
    size_t best = listeners->next_worker % workers->count;
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; i < workers->count; i++) {
        size_t index = (listeners->next_worker + i) % workers->count;
        size_t clients = worker_client_count(workers->list[index]);
        if (clients < fewest) {
            fewest = clients;
            best = index;
        }
    }
    listeners->next_worker = best + 1;
    return workers->list[best];
}

static void hand_over(struct listener *listener, int fd, const struct sockaddr_storage *address,
                      socklen_t length) {
    char peer[96];
    describe_peer(address, length, peer, sizeof peer);
    worker_adopt_client(choose_worker(listener->owner), fd, listener->is_unix, peer);
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void watch_all(struct listeners *listeners, bool watch) {
    for (size_t i = 0; i < listeners->count; i++)
        for (size_t j = 0; j < listeners->addresses[i].sockets.count; j++) {
            uv_poll_t *poll = &listeners->addresses[i].listeners[j]->poll;
            if (watch)
                uv_poll_start(poll, UV_READABLE, on_acceptable);
            else
                uv_poll_stop(poll);
        }
}

static void on_pause_over(uv_timer_t *timer) {
    watch_all((struct listeners *)timer, true);
}

static bool is_shortage(int number) {
    return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

/* The queue stays readable while nothing can be accepted: without a pause the loop would spin. */
static void pause_accepting(struct listeners *listeners, int number) {
    log_event(listeners->log, LOG_ERROR, "clients can't be accepted for the moment",
              (struct log_field[]){{"error", strerror(number), 0}, {0}});
    watch_all(listeners, false);
    uv_timer_start(&listeners->pause, on_pause_over, PAUSE_MILLISECONDS, 0);
}

static void on_acceptable(uv_poll_t *poll, int status, int events) {
    struct listener *listener = (struct listener *)poll;
    (void)status, (void)events;
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        struct sockaddr_storage address = {0};
        socklen_t length = sizeof address;
        int fd = accept4(listener->fd, (struct sockaddr *)&address, &length,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_over(listener, fd, &address, length);
            continue;
        }
        int number = errno;
        if (is_shortage(number))
            pause_accepting(listener->owner, number);
        if (number == EAGAIN || number == EWOULDBLOCK || is_shortage(number))
            return;
        /* Others are about one connection that is gone already (accept(2)): the next one is tried.
         */
    }
}

/* -- opening and closing ----------------------------------------------------------------------- */

static void on_listener_closed(uv_handle_t *handle) {
    free(handle);
}

static void close_address(struct bound_address *bound) {
    address_unlink(&bound->sockets);
    for (size_t i = 0; i < bound->sockets.count; i++) {
        if (bound->listeners[i] != NULL)
            uv_close((uv_handle_t *)&bound->listeners[i]->poll, on_listener_closed);
        close(bound->sockets.fds[i]);
    }
    free(bound->text);
    *bound = (struct bound_address){0};
}

static bool open_address(const struct settings *settings, const struct listen_address *address,
                         bool beside, struct bound_address *out, struct error *error) {
    struct error reason;
    *out = (struct bound_address){0};
    bool opened = address_open(address, beside, &out->sockets, &reason);
    if (opened && !address_tune(&out->sockets, settings, &reason)) {
        close_address(out);
        opened = false;
    }
    if (!opened)
        return error_set(error, "%s:%u: listen %s: %s", settings->path,
                         file_find_line(settings->path, address->text, "listen"), address->text,
                         reason.text);
    out->text = alloc_text(address->text);
    return true;
}

static bool start_address(struct listeners *listeners, struct bound_address *bound,
                          struct error *error) {
    for (size_t i = 0; i < bound->sockets.count; i++) {
        struct listener *listener = alloc_new(sizeof *listener);
        listener->owner = listeners;
        listener->fd = bound->sockets.fds[i];
        listener->is_unix = bound->sockets.path[0] != '\0';
        int result = uv_poll_init(listeners->loop, &listener->poll, listener->fd);
        if (result != 0) {
            free(listener);
            return error_set(error, "listen %s: the socket can't be watched: %s", bound->text,
                             uv_strerror(result));
        }
        bound->listeners[i] = listener;
        uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
    }
    log_event(listeners->log, LOG_INFO, "listening",
              (struct log_field[]){{"address", bound->text, 0}, {0}});
    return true;
}

/* Index among `count` addresses, or -1. */
static int find_address(const struct bound_address *addresses, size_t count, const char *text) {
    for (size_t i = 0; i < count; i++)
        if (addresses[i].text != NULL && strcmp(addresses[i].text, text) == 0)
            return (int)i;
    return -1;
}

bool listeners_open(struct listeners **out, uv_loop_t *loop, const struct settings *settings,
                    struct log *log, struct error *error) {
    struct listeners *listeners = alloc_new(sizeof *listeners);
    listeners->loop = loop;
    listeners->log = log;
    listeners->addresses = alloc_new(settings->listen_count * sizeof *listeners->addresses);
    int result = uv_timer_init(loop, &listeners->pause);
    assert(result == 0); /* it can't fail: libuv only fills in the struct */
    for (size_t i = 0; i < settings->listen_count; i++) {
        if (!open_address(settings, &settings->listen[i], false, &listeners->addresses[i], error)) {
            listeners_close(listeners);
            return false;
        }
        listeners->count++;
    }
    *out = listeners;
    return true;
}

bool listeners_start(struct listeners *listeners, struct workers *workers, struct error *error) {
    listeners->workers = workers;
    for (size_t i = 0; i < listeners->count; i++)
        if (!start_address(listeners, &listeners->addresses[i], error))
            return false;
    return true;
}

/* Opens and watches what `settings` has beyond the addresses there are; `fresh` has room for all.
 */
static bool open_new_addresses(struct listeners *listeners, const struct settings *settings,
                               struct bound_address *fresh, struct error *error) {
    for (size_t i = 0; i < settings->listen_count; i++) {
        const struct listen_address *address = &settings->listen[i];
        if (find_address(listeners->addresses, listeners->count, address->text) < 0 &&
            (!open_address(settings, address, true, &fresh[i], error) ||
             !start_address(listeners, &fresh[i], error)))
            return false;
    }
    return true;
}

/* While old and new sockets stand side by side; afterwards nobody else gets in beside them. */
static void share_all(const struct bound_address *addresses, size_t count, bool shared) {
    for (size_t i = 0; i < count; i++)
        address_share(&addresses[i].sockets, shared);
}

bool listeners_change(struct listeners *listeners, const struct settings *settings,
                      struct error *error) {
    struct bound_address *fresh = alloc_new(settings->listen_count * sizeof *fresh);
    share_all(listeners->addresses, listeners->count, true);
    bool opened = open_new_addresses(listeners, settings, fresh, error);
    share_all(listeners->addresses, listeners->count, false);
    share_all(fresh, settings->listen_count, false);
    if (!opened) {
        for (size_t i = 0; i < settings->listen_count; i++)
            if (fresh[i].text != NULL)
                close_address(&fresh[i]);
        free(fresh);
        return false;
    }
    for (size_t i = 0; i < settings->listen_count; i++) {
        int kept = find_address(listeners->addresses, listeners->count, settings->listen[i].text);
        if (kept < 0)
            continue;
        fresh[i] = listeners->addresses[kept];
        struct error reason;
        if (!address_tune(&fresh[i].sockets, settings, &reason))
            log_event(listeners->log, LOG_WARNING, "a listening address keeps its old options",
                      (struct log_field[]){
                          {"address", fresh[i].text, 0}, {"error", reason.text, 0}, {0}});
        listeners->addresses[kept] = (struct bound_address){0};
    }
    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->addresses[i].text == NULL)
            continue;
        log_event(listeners->log, LOG_INFO, "no longer listening",
                  (struct log_field[]){{"address", listeners->addresses[i].text, 0}, {0}});
        close_address(&listeners->addresses[i]);
    }
    free(listeners->addresses);
    listeners->addresses = fresh;
    listeners->count = settings->listen_count;
    return true;
}

static void on_pause_closed(uv_handle_t *handle) {
    free(handle);
}

void listeners_close(struct listeners *listeners) {
    for (size_t i = 0; i < listeners->count; i++)
        close_address(&listeners->addresses[i]);
    free(listeners->addresses);
    listeners->addresses = NULL;
    listeners->count = 0;
    uv_close((uv_handle_t *)&listeners->pause, on_pause_closed);
}

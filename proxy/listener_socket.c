#include "proxy/listener_socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 }; /* the kernel caps it at net.core.somaxconn */

static const char *advice(int number) {
    switch (number) {
    case EADDRINUSE:
        return "another program listens there: stop it or choose another port";
    case EACCES:
    case EPERM:
        return "this user may not: choose a port above 1023 or a folder that it may write to";
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return "this machine doesn't have the address: give one of its own";
    case ENOENT:
    case ENOTDIR:
        return "create the folder first";
    default:
        return "check the address";
    }
}

static bool fail(struct error *error, const char *what, int number) {
    return error_set(error, "%s: %s: %s", what, strerror(number), advice(number));
}

static bool set_flag(int fd, int level, int option) {
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

/* A socket that listens, or -1 with errno. */
static int open_tcp(const struct addrinfo *info, bool beside) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool ready = set_flag(fd, SOL_SOCKET, SO_REUSEADDR) &&
                 (!beside || set_flag(fd, SOL_SOCKET, SO_REUSEPORT)) &&
                 (info->ai_family != AF_INET6 || set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY)) &&
                 bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    if (ready)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

/* localhost is often ::1 too where the machine has no IPv6: one address that works is enough. */
static bool is_absent_family(int number) {
    return number == EADDRNOTAVAIL || number == EAFNOSUPPORT;
}

static void close_all(struct address_sockets *sockets) {
    for (size_t i = 0; i < sockets->count; i++)
        close(sockets->fds[i]);
    sockets->count = 0;
}

static bool open_resolved(const struct addrinfo *list, bool beside, struct address_sockets *out,
                          struct error *error) {
    int absent = 0;
    for (const struct addrinfo *info = list; info != NULL && out->count < ADDRESS_SOCKETS_MAX;
         info = info->ai_next) {
        int fd = open_tcp(info, beside);
        if (fd >= 0) {
            out->fds[out->count++] = fd;
        } else if (is_absent_family(errno)) {
            absent = errno;
        } else {
            int number = errno;
            close_all(out);
            return fail(error, "it can't be listened on", number);
        }
    }
    return out->count > 0 || fail(error, "it can't be listened on", absent);
}

static bool open_host(const struct listen_address *address, bool beside,
                      struct address_sockets *out, struct error *error) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char port[8];
    bool any = address->host == NULL || address->host[0] == '\0' || strcmp(address->host, "*") == 0;
    snprintf(port, sizeof port, "%u", (unsigned)address->port);
    int result = getaddrinfo(any ? NULL : address->host, port, &hints, &list);
    if (result != 0)
        return error_set(error, "the host isn't known: %s: give an address of this machine",
                         result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
    bool opened = open_resolved(list, beside, out, error);
    freeaddrinfo(list);
    return opened;
}

/* A file that is left over from a process that ended hard is removed; one that somebody answers on
 * is not. */
static bool remove_stale(const struct sockaddr_un *name, struct error *error) {
    struct stat status;
    if (lstat(name->sun_path, &status) != 0)
        return errno == ENOENT || fail(error, "the socket's file can't be looked at", errno);
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, "%s is there and isn't a socket: remove it or choose another port",
                         name->sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(error, "a socket can't be made", errno);
    int result = connect(fd, (const struct sockaddr *)name, sizeof *name);
    int number = errno;
    close(fd);
    if (result == 0 || number != ECONNREFUSED)
        return fail(error, "it can't be listened on",
                    result == 0 || number == EAGAIN ? EADDRINUSE : number);
    if (unlink(name->sun_path) != 0)
        return fail(error, "the socket's file is left over and can't be removed", errno);
    return true;
}

static bool listen_unix(int fd, const struct sockaddr_un *name, struct address_sockets *out,
                        struct error *error) {
    struct stat status;
    if (bind(fd, (const struct sockaddr *)name, sizeof *name) != 0)
        return fail(error, "it can't be listened on", errno);
    memcpy(out->path, name->sun_path, sizeof out->path);
    if (lstat(out->path, &status) == 0) {
        out->device = status.st_dev;
        out->inode = status.st_ino;
    }
    /* Who may connect is authentication's business, as with PostgreSQL's default. */
    if (chmod(out->path, 0777) == 0 && listen(fd, BACKLOG) == 0)
        return true;
    int number = errno;
    address_unlink(out);
    return fail(error, "it can't be listened on", number);
}

static bool open_unix(const struct listen_address *address, struct address_sockets *out,
                      struct error *error) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    _Static_assert(sizeof name.sun_path == sizeof out->path, "the path of a socket");
    int length = snprintf(name.sun_path, sizeof name.sun_path, "%s/.s.PGSQL.%u", address->folder,
                          (unsigned)address->port);
    if (length < 0 || (size_t)length >= sizeof name.sun_path)
        return error_set(error,
                         "the path is longer than %zu bytes: choose a folder with a shorter name",
                         sizeof name.sun_path - 1);
    if (!remove_stale(&name, error))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(error, "a socket can't be made", errno);
    if (!listen_unix(fd, &name, out, error)) {
        close(fd);
        return false;
    }
    out->fds[out->count++] = fd;
    return true;
}

bool address_open(const struct listen_address *address, bool beside, struct address_sockets *out,
                  struct error *error) {
    *out = (struct address_sockets){0};
    return address->folder != NULL ? open_unix(address, out, error)
                                   : open_host(address, beside, out, error);
}

/* The value, or for 0 what a new socket has: the system's. */
static bool set_tcp(int fd, int fresh, int option, unsigned value) {
    int number = (int)value;
    socklen_t size = sizeof number;
    if (number == 0 && getsockopt(fresh, IPPROTO_TCP, option, &number, &size) != 0)
        return false;
    return setsockopt(fd, IPPROTO_TCP, option, &number, sizeof number) == 0;
}

static bool tune(int fd, int fresh, const struct settings *settings) {
    int on = settings->tcp.keepalive;
    return set_flag(fd, IPPROTO_TCP, TCP_NODELAY) &&
           setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
           set_tcp(fd, fresh, TCP_KEEPIDLE, settings->tcp.keepidle) &&
           set_tcp(fd, fresh, TCP_KEEPINTVL, settings->tcp.keepintvl) &&
           set_tcp(fd, fresh, TCP_KEEPCNT, settings->tcp.keepcnt) &&
           set_tcp(fd, fresh, TCP_USER_TIMEOUT, settings->tcp.user_timeout);
}

/* Linux gives an accepted socket the options of the listening one: nothing is left to be done for
 * each client. */
bool address_tune(const struct address_sockets *sockets, const struct settings *settings,
                  struct error *error) {
    if (sockets->path[0] != '\0')
        return true;
    int fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fresh < 0)
        fresh = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool done = fresh >= 0;
    for (size_t i = 0; i < sockets->count && done; i++)
        done = tune(sockets->fds[i], fresh, settings);
    int number = errno;
    if (fresh >= 0)
        close(fresh);
    return done || error_set(error, "its options (tcp_keepalive and others) can't be set: %s",
                             strerror(number));
}

void address_share(const struct address_sockets *sockets, bool shared) {
    int on = shared;
    for (size_t i = 0; i < sockets->count && sockets->path[0] == '\0'; i++)
        setsockopt(sockets->fds[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
}

void address_unlink(const struct address_sockets *sockets) {
    struct stat status;
    if (sockets->path[0] != '\0' && lstat(sockets->path, &status) == 0 &&
        status.st_dev == sockets->device && status.st_ino == sockets->inode)
        unlink(sockets->path);
}

/* How clients get in: listen, auth, tls. */
#include "config/settings_internal.h"

#include "config/alloc.h"
#include "config/file.h"
#include "config/userlist.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/un.h>

/* -- listen ------------------------------------------------------------------------------------ */

static bool read_port(const struct tree_node *node, const char *text, uint16_t *port,
                      struct error *error) {
    size_t digits = strspn(text, "0123456789");
    long value = digits > 0 && digits <= 5 && text[digits] == '\0' ? strtol(text, NULL, 10) : 0;
    if (value < 1 || value > 65535)
        return tree_error(node, error, "listen: \"%s\" is no port: write a number from 1 to 65535",
                          text);
    *port = (uint16_t)value;
    return true;
}

static bool check_folder(const struct tree_node *node, const struct listen_address *address,
                         struct error *error) {
    struct stat status;
    if (stat(address->folder, &status) != 0 || !S_ISDIR(status.st_mode))
        return tree_error(node, error, "listen: there is no folder %s: create it", address->folder);
    if (strlen(address->folder) + sizeof "/.s.PGSQL.65535" >
        sizeof((struct sockaddr_un *)0)->sun_path)
        return tree_error(node, error,
                          "listen: %s is too long for the path of a socket: choose a shorter one",
                          address->folder);
    return true;
}

static bool check_host(const struct tree_node *node, const char *host, bool bracketed,
                       struct error *error) {
    struct in6_addr v6;
    if (bracketed && inet_pton(AF_INET6, host, &v6) != 1)
        return tree_error(node, error, "listen: \"%s\" is no IPv6 address: correct it", host);
    if (bracketed)
        return true;
    if (strcmp(host, "*") == 0)
        return tree_error(node, error,
                          "listen: \"*\" is no address: write 0.0.0.0:PORT, [::]:PORT or both");
    if (strchr(host, ':') != NULL)
        return tree_error(node, error, "listen: IPv6 needs brackets: write [%s]:PORT", host);
    struct in_addr v4;
    bool numeric = host[strspn(host, "0123456789.")] == '\0';
    size_t valid =
        strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
    if (host[0] == '\0' || host[valid] != '\0' || (numeric && inet_pton(AF_INET, host, &v4) != 1))
        return tree_error(node, error, "listen: \"%s\" is no host: write an address or a name",
                          host);
    return true;
}

static bool read_address(const struct tree_node *node, struct listen_address *out,
                         struct error *error) {
    const char *text;
    if (!tree_text(node, "listen", &text, error))
        return false;
    const char *colon = strrchr(text, ':');
    out->text = alloc_text(text);
    if (colon == NULL || colon == text)
        return tree_error(node, error,
                          "listen: \"%s\" has no port or no host: write HOST:PORT, [V6]:PORT or "
                          "FOLDER:PORT",
                          text);
    if (!read_port(node, colon + 1, &out->port, error))
        return false;
    size_t length = (size_t)(colon - text);
    if (text[0] == '/' || text[0] == '.') {
        char *folder = alloc_copy(text, length);
        out->folder = file_resolve(node->path, folder);
        free(folder);
        return check_folder(node, out, error);
    }
    bool bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    out->host = bracketed ? alloc_copy(text + 1, length - 2) : alloc_copy(text, length);
    return check_host(node, out->host, bracketed, error);
}

static bool is_v6(const char *host) {
    return strchr(host, ':') != NULL;
}

/* Whether the kernel would refuse the second of the two. */
static bool conflict(const struct listen_address *a, const struct listen_address *b) {
    if (a->port != b->port || (a->host == NULL) != (b->host == NULL))
        return false;
    if (a->host == NULL)
        return strcmp(a->folder, b->folder) == 0;
    if (strcasecmp(a->host, b->host) == 0)
        return true;
    if (is_v6(a->host) != is_v6(b->host))
        return false;
    const char *any = is_v6(a->host) ? "::" : "0.0.0.0";
    return strcmp(a->host, any) == 0 || strcmp(b->host, any) == 0;
}

bool settings_read_listen(struct loader *loader, const struct tree_node *node,
                          struct error *error) {
    struct settings *s = loader->settings;
    if (!tree_expect(node, "listen", TREE_LIST, error))
        return false;
    if (node->count == 0)
        return tree_error(node, error, "listen is empty: add an address, HOST:PORT");
    s->listen = alloc_zeroed(node->count, sizeof *s->listen);
    for (size_t i = 0; i < node->count; i++) {
        s->listen_count++;
        if (!read_address(node->values[i], &s->listen[i], error))
            return false;
        for (size_t n = 0; n < i; n++) {
            if (conflict(&s->listen[n], &s->listen[i]))
                return tree_error(node->values[i], error,
                                  "listen: %s and %s can't both be used: change one's port, or "
                                  "remove it",
                                  s->listen[n].text, s->listen[i].text);
        }
    }
    return true;
}

static bool is_loopback(const struct listen_address *address) {
    struct in_addr v4;
    struct in6_addr v6;
    if (address->host == NULL || strcasecmp(address->host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, address->host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* -- auth -------------------------------------------------------------------------------------- */

static const char *const auth_methods[] = {"trust", "password", "md5", "scram-sha-256", "cert"};

static bool read_auth_method(struct loader *loader, const struct tree_node *node,
                             struct error *error) {
    unsigned method;
    if (!tree_choice(node, "auth.method", auth_methods, 5, &method, error))
        return false;
    loader->settings->auth.method = (enum auth_method)method;
    return true;
}

static void warn_readable(struct settings *s, const char *path, const char *what) {
    struct stat status;
    if (stat(path, &status) == 0 && (status.st_mode & 007) != 0)
        settings_notice(s, "%s: every user of this machine can read the %s: chmod o= it", path,
                        what);
}

static bool read_auth_users(struct loader *loader, const struct tree_node *node,
                            struct error *error) {
    struct settings *s = loader->settings;
    char *path = NULL, *data;
    size_t length;
    if (!settings_read_path(node, "auth.users", &path, error))
        return false;
    bool ok = file_read(path, &data, &length, error);
    if (!ok) {
        settings_wrap_error(node, "auth.users", "correct the path", error);
    } else {
        ok = userlist_parse(path, data, length, &s->auth.users, &s->auth.user_count, error);
        explicit_bzero(data, length);
        free(data);
        warn_readable(s, path, "passwords");
    }
    free(path);
    return ok;
}

static bool read_auth_insecure(struct loader *loader, const struct tree_node *node,
                               struct error *error) {
    return tree_bool(node, "auth.allow_insecure", &loader->settings->auth.allow_insecure, error);
}

bool settings_read_auth(struct loader *loader, const struct tree_node *node, struct error *error) {
    static const struct setting_key keys[] = {{"method", read_auth_method},
                                              {"users", read_auth_users},
                                              {"allow_insecure", read_auth_insecure}};
    return settings_read_map(loader, node, "auth", keys, 3, error);
}

/* -- tls --------------------------------------------------------------------------------------- */

static bool read_tls_mode(struct loader *loader, const struct tree_node *node,
                          struct error *error) {
    static const char *const modes[] = {"disable", "prefer", "require", "verify-ca", "verify-full"};
    unsigned mode;
    if (!tree_choice(node, "tls.mode", modes, 5, &mode, error))
        return false;
    loader->settings->tls.mode = (enum tls_mode)mode;
    return true;
}

static bool read_tls_cert(struct loader *loader, const struct tree_node *node,
                          struct error *error) {
    return settings_read_path(node, "tls.cert", &loader->settings->tls.cert, error);
}

static bool read_tls_key(struct loader *loader, const struct tree_node *node, struct error *error) {
    struct settings *s = loader->settings;
    if (!settings_read_path(node, "tls.key", &s->tls.key, error))
        return false;
    warn_readable(s, s->tls.key, "private key");
    return true;
}

static bool read_tls_ca(struct loader *loader, const struct tree_node *node, struct error *error) {
    return settings_read_path(node, "tls.ca", &loader->settings->tls.ca, error);
}

bool settings_read_tls(struct loader *loader, const struct tree_node *node, struct error *error) {
    static const struct setting_key keys[] = {{"mode", read_tls_mode},
                                              {"cert", read_tls_cert},
                                              {"key", read_tls_key},
                                              {"ca", read_tls_ca}};
    struct settings *s = loader->settings;
    if (!settings_read_map(loader, node, "tls", keys, 4, error))
        return false;
    const struct tree_node *mode = tree_find(node, "mode");
    if (mode == NULL)
        s->tls.mode = s->tls.cert != NULL ? TLS_PREFER : TLS_DISABLE;
    if ((s->tls.cert == NULL) != (s->tls.key == NULL))
        return tree_error(node, error, "tls has a %s without a %s: add the other file",
                          s->tls.cert != NULL ? "cert" : "key",
                          s->tls.cert != NULL ? "key" : "cert");
    if (s->tls.mode != TLS_DISABLE && s->tls.cert == NULL)
        return tree_error(mode, error, "tls.mode %s needs a certificate: add cert and key",
                          mode->text);
    if (s->tls.mode >= TLS_VERIFY_CA && s->tls.ca == NULL)
        return tree_error(mode, error, "tls.mode %s needs the authority of the clients: add ca",
                          mode->text);
    return true;
}

/* -- all of them together ---------------------------------------------------------------------- */

/* The most exact place for an error about authentication. */
static const struct tree_node *auth_node(const struct loader *loader) {
    const struct tree_node *auth = tree_find(loader->root, "auth");
    const struct tree_node *method = auth != NULL ? tree_find(auth, "method") : NULL;
    return method != NULL ? method : auth != NULL ? auth : loader->root;
}

static bool check_trust(const struct loader *loader, struct error *error) {
    const struct settings *s = loader->settings;
    const struct tree_node *listen = tree_find(loader->root, "listen");
    for (size_t i = 0; i < s->listen_count; i++) {
        if (s->auth.method == AUTH_TRUST && !s->auth.allow_insecure && !is_loopback(&s->listen[i]))
            return tree_error(listen->values[i], error,
                              "auth.method trust lets everyone in who reaches %s: choose another "
                              "method, a loopback address, or set auth.allow_insecure: true",
                              s->listen[i].text);
    }
    return true;
}

bool settings_check_access(struct loader *loader, struct error *error) {
    struct settings *s = loader->settings;
    const struct tree_node *auth = tree_find(loader->root, "auth");
    bool has_users = auth != NULL && tree_find(auth, "users") != NULL;
    const char *method = auth_methods[s->auth.method];
    if (s->auth.method != AUTH_TRUST && s->auth.method != AUTH_CERT && !has_users)
        return tree_error(
            auth_node(loader), error,
            "auth.method %s%s needs a list of users: add `auth: {users: userlist.txt}`", method,
            auth == NULL ? " (the default)" : "");
    if (s->auth.method == AUTH_CERT && (s->tls.mode == TLS_DISABLE || s->tls.ca == NULL))
        return tree_error(auth_node(loader), error,
                          "auth.method cert needs TLS with client certificates: add tls with cert, "
                          "key and ca");
    if (!check_trust(loader, error))
        return false;
    if (s->listen_count == 0) {
        s->listen = alloc_zeroed(1, sizeof *s->listen);
        s->listen[s->listen_count++] = (struct listen_address){
            .text = alloc_text("127.0.0.1:6432"), .host = alloc_text("127.0.0.1"), .port = 6432};
    }
    return true;
}

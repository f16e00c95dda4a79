/* Listening sockets in a temporary folder and on the loopback. */
#include "proxy/listener_socket.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { PORT = 6432 };

struct fixture {
    char folder[64], path[96];
    struct address_sockets sockets;
    struct error error;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->folder, sizeof f->folder, "/tmp/pginterlock-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/.s.PGSQL.%d", f->folder, PORT);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < f->sockets.count; i++)
        close(f->sockets.fds[i]);
    unlink(f->path);
    rmdir(f->folder);
    free(f);
    return 0;
}

static bool open_folder(struct fixture *f, char *folder) {
    struct listen_address address = {.text = folder, .folder = folder, .port = PORT};
    return address_open(&address, false, &f->sockets, &f->error);
}

static void make_socket_file(const struct fixture *f, bool listening, int *fd) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", f->path);
    *fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(*fd, (const struct sockaddr *)&name, sizeof name), 0);
    if (listening)
        assert_int_equal(listen(*fd, 1), 0);
}

static void a_unix_socket_is_open_to_every_user(void **state) {
    struct fixture *f = *state;
    struct stat status;
    assert_true(open_folder(f, f->folder));
    assert_int_equal(stat(f->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0777);
}

static void a_socket_file_that_nobody_listens_on_is_replaced(void **state) {
    struct fixture *f = *state;
    int fd;
    make_socket_file(f, false, &fd);
    close(fd);
    assert_true(open_folder(f, f->folder));
}

static void a_socket_that_somebody_listens_on_is_left_alone(void **state) {
    struct fixture *f = *state;
    int fd;
    make_socket_file(f, true, &fd);
    assert_false(open_folder(f, f->folder));
    assert_non_null(strstr(f->error.text, "another program listens there"));
    assert_int_equal(access(f->path, F_OK), 0);
    close(fd);
}

static void a_file_that_is_no_socket_is_left_alone(void **state) {
    struct fixture *f = *state;
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    fclose(file);
    assert_false(open_folder(f, f->folder));
    assert_non_null(strstr(f->error.text, "isn't a socket"));
    assert_int_equal(access(f->path, F_OK), 0);
}

static void a_path_too_long_for_a_socket_is_refused(void **state) {
    struct fixture *f = *state;
    char folder[200];
    memset(folder, 'x', sizeof folder - 1);
    folder[0] = '/';
    folder[sizeof folder - 1] = '\0';
    assert_false(open_folder(f, folder));
    assert_non_null(strstr(f->error.text, "longer than 107 bytes"));
}

static void a_missing_folder_is_named_as_such(void **state) {
    struct fixture *f = *state;
    char folder[] = "/nonexistent-folder";
    assert_false(open_folder(f, folder));
    assert_non_null(strstr(f->error.text, "create the folder first"));
}

static void the_file_is_removed_only_while_it_is_ours(void **state) {
    struct fixture *f = *state;
    assert_true(open_folder(f, f->folder));
    struct address_sockets other = f->sockets;
    other.inode++;
    address_unlink(&other);
    assert_int_equal(access(f->path, F_OK), 0);
    address_unlink(&f->sockets);
    assert_int_not_equal(access(f->path, F_OK), 0);
}

static void a_tcp_address_that_is_taken_is_refused(void **state) {
    struct fixture *f = *state;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &length), 0);
    char host[] = "127.0.0.1";
    struct listen_address address = {.text = host, .host = host, .port = ntohs(name.sin_port)};
    assert_false(address_open(&address, false, &f->sockets, &f->error));
    assert_non_null(strstr(f->error.text, "another program listens there"));
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_unix_socket_is_open_to_every_user),
        TEST(a_socket_file_that_nobody_listens_on_is_replaced),
        TEST(a_socket_that_somebody_listens_on_is_left_alone),
        TEST(a_file_that_is_no_socket_is_left_alone),
        TEST(a_path_too_long_for_a_socket_is_refused),
        TEST(a_missing_folder_is_named_as_such),
        TEST(the_file_is_removed_only_while_it_is_ours),
        TEST(a_tcp_address_that_is_taken_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

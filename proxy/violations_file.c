#include "proxy/violations_file.h"

#include "config/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void violations_file_init(struct violations_file *file, struct log *log) {
    *file = (struct violations_file){.log = log, .fd = -1};
}

static bool fail(struct violations_file *file, const char *why) {
    if (!file->failing)
        log_event(file->log, LOG_ERROR, "violations can't be recorded, which is tried again",
                  (struct log_field[]){{"file", file->path, 0}, {"error", why, 0}, {0}});
    file->failing = true;
    return false;
}

static void succeed(struct violations_file *file) {
    if (file->failing)
        log_event(file->log, LOG_WARNING, "violations are recorded again",
                  (struct log_field[]){
                      {"file", file->path, 0}, {"lost", NULL, (int64_t)file->lost}, {0}});
    file->failing = false;
    file->lost = 0;
}

/* Not to wait: what stands at the path by now might be a pipe that nobody reads. */
static bool open_again(struct violations_file *file) {
    struct stat status;
    int fd =
        open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd < 0)
        return fail(file, strerror(errno));
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return fail(file, "it is not a regular file");
    }
    file->fd = fd;
    return true;
}

static void close_fd(struct violations_file *file) {
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    file->torn = false;
}

void violations_file_open(struct violations_file *file, const char *path) {
    char *copy = alloc_text(path);
    violations_file_close(file);
    file->path = copy;
    if (copy != NULL)
        (void)open_again(file);
}

void violations_file_close(struct violations_file *file) {
    close_fd(file);
    free(file->path);
    file->path = NULL;
    file->failing = false;
    file->lost = 0;
}

bool violations_file_write(struct violations_file *file, const char *line, size_t length) {
    if (file->path == NULL)
        return true;
    if (file->fd < 0 && !open_again(file))
        return false;
    if (file->torn && write(file->fd, "\n", 1) != 1)
        return fail(file, strerror(errno));
    file->torn = false;
    ssize_t written = write(file->fd, line, length);
    if (written < 0)
        return fail(file, strerror(errno));
    if ((size_t)written < length) {
        file->torn = true;
        return fail(file, "only a part of a line could be written");
    }
    succeed(file);
    return true;
}

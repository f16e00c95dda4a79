#include "config/file.h"

#include "config/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static bool open_file(const char *path, int *out, struct error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, "can't read %s: %s", path, strerror(errno));
    struct stat status;
    if (fstat(fd, &status) == 0 && (S_ISDIR(status.st_mode) || S_ISCHR(status.st_mode))) {
        close(fd);
        return error_set(error, "can't read %s: it is a %s", path,
                         S_ISDIR(status.st_mode) ? "folder" : "device");
    }
    *out = fd;
    return true;
}

bool file_check_readable(const char *path, struct error *error) {
    int fd;
    if (!open_file(path, &fd, error))
        return false;
    close(fd);
    return true;
}

bool file_read(const char *path, char **data, size_t *length, struct error *error) {
    int fd;
    if (!open_file(path, &fd, error))
        return false;
    size_t used = 0, capacity = 16384;
    char *buffer = alloc_zeroed(capacity + 1, 1);
    ssize_t got;
    while ((got = read(fd, buffer + used, capacity - used)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || (used += (size_t)got) > FILE_SIZE_MAX)
            break;
        if (used == capacity) {
            char *bigger = alloc_zeroed(capacity * 2 + 1, 1);
            memcpy(bigger, buffer, used);
            free(buffer);
            buffer = bigger;
            capacity *= 2;
        }
    }
    int code = errno;
    close(fd);
    if (got != 0) {
        free(buffer);
        return got < 0 ? error_set(error, "can't read %s: %s", path, strerror(code))
                       : error_set(error, "can't read %s: it is over %d MiB", path,
                                   FILE_SIZE_MAX >> 20);
    }
    buffer[used] = '\0';
    *data = buffer;
    *length = used;
    return true;
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return alloc_text(".");
    return slash == path ? alloc_text("/") : alloc_copy(path, (size_t)(slash - path));
}

static bool check_folder(const char *folder, bool writable, struct error *error) {
    struct stat status;
    if (stat(folder, &status) != 0)
        return error_set(error, "can't find the folder %s: %s", folder, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return error_set(error, "%s is no folder", folder);
    if (writable && access(folder, W_OK | X_OK) != 0)
        return error_set(error, "can't write the folder %s: %s", folder, strerror(errno));
    return true;
}

bool file_check_appendable(const char *path, bool writable, struct error *error) {
    struct stat status;
    char *folder = folder_of(path);
    bool ok = check_folder(folder, writable, error);
    free(folder);
    if (!ok || stat(path, &status) != 0)
        return ok;
    if (!S_ISREG(status.st_mode))
        return error_set(error, "%s is not a regular file", path);
    if (writable && access(path, W_OK) != 0)
        return error_set(error, "can't write %s: %s", path, strerror(errno));
    return true;
}

char *file_resolve(const char *from, const char *path) {
    const char *slash = strrchr(from, '/');
    if (path[0] == '/' || slash == NULL)
        return alloc_text(path);
    return alloc_format("%.*s/%s", (int)(slash - from), from, path);
}

static int is_yaml_name(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot != NULL &&
           (strcmp(dot, ".yml") == 0 || strcmp(dot, ".yaml") == 0);
}

bool file_list_yaml(const char *folder, bool optional, char ***paths, size_t *count,
                    struct error *error) {
    *paths = NULL;
    *count = 0;
    struct dirent **entries;
    int found = scandir(folder, &entries, is_yaml_name, alphasort);
    if (found < 0 && optional && errno == ENOENT)
        return true;
    if (found < 0)
        return error_set(error, "can't read the folder %s: %s", folder, strerror(errno));
    *paths = alloc_zeroed((size_t)found, sizeof **paths);
    for (int i = 0; i < found; i++) {
        (*paths)[i] = alloc_format("%s/%s", folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    *count = (size_t)found;
    return true;
}

void file_list_free(char **paths, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
}

unsigned file_find_line(const char *path, const char *text, const char *key) {
    const char *slash = strrchr(text, '/');
    const char *wanted = slash != NULL && slash[1] != '\0' ? slash + 1 : text;
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    unsigned number = 0, with_text = 0, with_key = 0;
    if (file == NULL)
        return 1;
    while (with_text == 0 && getline(&line, &size, file) >= 0) {
        number++;
        if (line[strspn(line, " \t")] == '#')
            continue;
        if (strstr(line, wanted) != NULL)
            with_text = number;
        if (with_key == 0 && strstr(line, key) != NULL)
            with_key = number;
    }
    free(line);
    fclose(file);
    return with_text > 0 ? with_text : with_key > 0 ? with_key : 1;
}

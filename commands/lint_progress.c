#include "commands/lint_progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BAR_WIDTH = 40, DRAW_EACH = 1 << 20 };

void lint_progress_init(struct lint_progress *progress, char *const *files, size_t count) {
    *progress = (struct lint_progress){.shown = isatty(STDERR_FILENO) == 1};
    for (size_t i = 0; i < count; i++) {
        struct stat status;
        if (strcmp(files[i], "-") == 0 || stat(files[i], &status) != 0 ||
            !S_ISREG(status.st_mode)) {
            progress->total = 0;
            return;
        }
        progress->total += (uint64_t)status.st_size;
    }
}

static void draw(const struct lint_progress *progress) {
    if (progress->total == 0) {
        fprintf(stderr, "\rlint: %llu MB", (unsigned long long)(progress->done / 1000000));
        return;
    }
    uint64_t done = progress->done < progress->total ? progress->done : progress->total;
    char bar[BAR_WIDTH + 1];
    size_t filled = (size_t)(done * BAR_WIDTH / progress->total);
    memset(bar, '#', filled);
    memset(bar + filled, ' ', BAR_WIDTH - filled);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\rlint: [%s] %3u%% of %llu MB", bar, (unsigned)(done * 100 / progress->total),
            (unsigned long long)(progress->total / 1000000));
}

void lint_progress_add(struct lint_progress *progress, size_t bytes) {
    if (progress == NULL) {
        return;
    }
    progress->done += bytes;
    if (progress->shown && progress->done - progress->drawn >= DRAW_EACH) {
        draw(progress);
        progress->drawn = progress->done;
    }
}

void lint_progress_clear(struct lint_progress *progress) {
    if (progress->shown && progress->drawn > 0) {
        fputs("\r\033[K", stderr);
        progress->drawn = 0;
    }
}

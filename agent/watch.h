/* SPDX-License-Identifier: Apache-2.0 */
/* News of files: inotify on the folders they are in, so that a file replaced by rename is noticed too. */
#ifndef SLUICE_AGENT_WATCH_H
#define SLUICE_AGENT_WATCH_H

#include <stdbool.h>

struct watch;

int watch_new(struct watch **ret); /* 0 or -errno */
void watch_freep(struct watch **w);
int watch_fd(const struct watch *w);

/* Watches the folder `path` (a file's folder with watch_add_parent). A folder that is not there yet is tried again. */
int watch_add(struct watch *w, const char *path);
int watch_add_parent(struct watch *w, const char *file);
void watch_clear(struct watch *w);

/* Reads what is there. True: something may have changed. */
bool watch_read(struct watch *w);
/* Folders that were missing or have been replaced: watched if they are there by now. True: one more is. */
bool watch_retry(struct watch *w);

#endif

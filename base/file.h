/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: read with a bound, and replaced by rename so that readers see the old or the new one. */
#ifndef SLUICE_BASE_FILE_H
#define SLUICE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The file's bytes, NUL-terminated past `len`; free(). -EFBIG over `max`, -EISDIR, -ENOTSUP of a pipe or device, else -errno. */
int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len);
/* The same of what may be a pipe, of a shell's <(…): it may wait for ever. */
int file_read_stream(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len);
/* Writes PATH.tmp, syncs nothing (a run directory), renames it over PATH. 0 or -errno; nothing is left behind. */
int file_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode);
/* The same, and after a loss of power the file is the old or the new one too. */
int file_replace_synced(int dirfd, const char *path, const void *data, size_t len, mode_t mode);

/* The same of a file that comes in parts. `= {}`; `dirfd` and `path` are borrowed until the end. */
struct file_parts {
	int dirfd;
	const char *path;
	char *tmp; /* NULL: not begun */
	int fd;
	int result; /* of what was done so far */
};
void file_parts_begin(struct file_parts *f, int dirfd, const char *path, mode_t mode);
void file_parts_add(struct file_parts *f, const void *data, size_t len); /* nothing, after anything failed */
/* Not `wanted`: whatever came is dropped, and the old file stays. 0 or -errno: nothing is left behind. */
int file_parts_end(struct file_parts *f, bool wanted, bool synced);

#endif

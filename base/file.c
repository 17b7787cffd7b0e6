/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static int read_all(int fd, char *buf, size_t max, size_t *ret_len)
{
	size_t len = 0;

	while (len < max) {
		ssize_t n = read(fd, buf + len, max - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

static int read_bounded(int fd, const struct stat *st, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *buf = NULL;
	size_t cap, len = 0;
	int r;

	if (S_ISDIR(st->st_mode))
		return -EISDIR;
	if (st->st_size > 0 && (uint64_t)st->st_size > max)
		return -EFBIG;
	/* One byte over the size said, to notice a file that grows; pipes and /proc files say 0. */
	cap = st->st_size > 0 ? (size_t)st->st_size + 1 : max + 1;
	buf = malloc(cap + 1);
	if (!buf)
		return -ENOMEM;
	r = read_all(fd, buf, cap, &len);
	if (r < 0)
		return r;
	if (len > max || (st->st_size > 0 && len == cap))
		return -EFBIG;
	buf[len] = '\0';
	*ret = TAKE_PTR(buf);
	*ret_len = len;
	return 0;
}

static int read_path(int dirfd, const char *path, bool pipes, size_t max, char **ret, size_t *ret_len)
{
	/* To open a pipe takes until somebody opens its other end. */
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | (pipes ? 0 : O_NONBLOCK));
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!pipes && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -ENOTSUP;
	return read_bounded(fd, &st, max, ret, ret_len);
}

int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	return read_path(dirfd, path, false, max, ret, ret_len);
}

int file_read_stream(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	return read_path(dirfd, path, true, max, ret, ret_len);
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

void file_parts_begin(struct file_parts *f, int dirfd, const char *path, mode_t mode)
{
	*f = (struct file_parts){ .dirfd = dirfd, .path = path, .fd = -1 };
	if (asprintf(&f->tmp, "%s.tmp", path) < 0) {
		f->tmp = NULL;
		f->result = -ENOMEM;
		return;
	}
	f->fd = openat(dirfd, f->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	if (f->fd < 0)
		f->result = -errno;
	else if (fchmod(f->fd, mode) < 0) /* one that was left behind may have another */
		f->result = -errno;
}

void file_parts_add(struct file_parts *f, const void *data, size_t len)
{
	if (f->result == 0)
		f->result = write_all(f->fd, data, len);
}

int file_parts_end(struct file_parts *f, bool wanted, bool synced)
{
	int r = f->result;

	if (r == 0 && wanted && synced && fsync(f->fd) < 0)
		r = -errno;
	if (r == 0 && wanted && renameat(f->dirfd, f->tmp, f->dirfd, f->path) < 0)
		r = -errno;
	if (f->fd >= 0 && (r < 0 || !wanted))
		unlinkat(f->dirfd, f->tmp, 0);
	closep(&f->fd);
	freep(&f->tmp);
	return r;
}

static int replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode, bool synced)
{
	struct file_parts f;

	file_parts_begin(&f, dirfd, path, mode);
	file_parts_add(&f, data, len);
	return file_parts_end(&f, true, synced);
}

int file_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	return replace(dirfd, path, data, len, mode, false);
}

int file_replace_synced(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	return replace(dirfd, path, data, len, mode, true);
}

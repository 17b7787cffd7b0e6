/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/loop.h"

#include <errno.h>
#include <sys/epoll.h>

#include "base/clock.h"

int loop_new(int *ret_fd)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int control(int loop, int op, int fd, uint32_t events, struct source *s)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	return epoll_ctl(loop, op, fd, &ev) < 0 ? -errno : 0;
}

int loop_watch(int loop, int fd, uint32_t events, struct source *s)
{
	return control(loop, EPOLL_CTL_ADD, fd, events, s);
}

int loop_change(int loop, int fd, uint32_t events, struct source *s)
{
	return control(loop, EPOLL_CTL_MOD, fd, events, s);
}

int loop_run_once(int loop, int timeout_ms, uint64_t *ret_now)
{
	struct epoll_event events[64];
	int n = epoll_wait(loop, events, 64, timeout_ms);
	uint64_t now = clock_now();

	*ret_now = now;
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		struct source *s = events[i].data.ptr;

		s->ready(s, events[i].events, now);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sluice-cni/agent.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define PAUSE_MS   20
#define ANSWER_MAX 4096

static int connect_to(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	/* An agent that is stopped accepts nothing, and waiting for room in its queue has no end. */
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* One line, within the time. Its length, or -errno. */
static int read_line(int fd, uint64_t deadline, char buf[ANSWER_MAX])
{
	size_t len = 0;

	while (len < ANSWER_MAX) {
		uint64_t now = clock_now();
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (now >= deadline || poll(&p, 1, (int)((deadline - now) / NSEC_PER_MSEC) + 1) <= 0)
			return -ETIMEDOUT;
		n = recv(fd, buf + len, ANSWER_MAX - len, 0);
		if (n <= 0)
			return -EPIPE;
		len += (size_t)n;
		if (memchr(buf, '\n', len))
			return (int)len;
	}
	return -EMSGSIZE;
}

static bool in_force(const char *path, const char *interface, uint64_t deadline)
{
	_cleanup_close_ int fd = connect_to(path);
	char request[256], answer[ANSWER_MAX];
	const char *mode;
	json_t *root;
	int len;
	bool yes;

	if (fd < 0)
		return false;
	len = snprintf(request, sizeof(request), "{\"method\": \"" API_METHOD_INTERFACE "\", \"name\": \"%s\"}\n",
		       interface);
	if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len)
		return false;
	len = read_line(fd, deadline, answer);
	root = len > 0 ? json_loadb(answer, (size_t)len, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	mode = json_string_value(json_object_get(json_object_get(root, "result"), "mode"));
	yes = mode && strcmp(mode, "quarantine") != 0;
	json_decref(root);
	return yes;
}

bool agent_wait(const char *socket_path, const char *interface, double seconds)
{
	uint64_t deadline = clock_now() + (uint64_t)(seconds * (double)NSEC_PER_SEC);

	for (;;) {
		if (in_force(socket_path, interface, deadline))
			return true;
		if (clock_now() + PAUSE_MS * NSEC_PER_MSEC > deadline)
			return false;
		poll(NULL, 0, PAUSE_MS);
	}
}

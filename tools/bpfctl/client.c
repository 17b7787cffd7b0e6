/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "base/strbuf.h"
#include "tools/bpfctl/out.h"

#define MAX_LINE	(64u << 20) /* the policies of a large node with all their diagnostics */
#define CALL_TIMEOUT_MS 5000

struct client {
	int fd;
	struct strbuf in;
	size_t scanned; /* bytes of `in` known to hold no newline */
};

void client_freep(struct client **client)
{
	struct client *c = *client;

	if (!c)
		return;
	closep(&c->fd);
	strbuf_clear(&c->in);
	free(c);
	*client = NULL;
}

int client_connect(const char *path, struct client **ret)
{
	__attribute__((cleanup(client_freep))) struct client *c = calloc(1, sizeof(*c));
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (!c)
		return -ENOMEM;
	c->fd = -1;
	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	*ret = TAKE_PTR(c);
	return 0;
}

int client_send(struct client *client, json_t *request)
{
	_cleanup_json_ json_t *owned = request;
	_cleanup_free_ char *text = json_dumps(owned, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return -ENOMEM;
	text[len++] = '\n'; /* in place of the NUL: from here on it is bytes */
	for (size_t sent = 0; sent < len;) {
		ssize_t n = send(client->fd, text + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Takes the first line out of the buffer; NULL: there is none yet. */
static char *take_line(struct client *c)
{
	char *newline = c->in.len > c->scanned ? memchr(c->in.data + c->scanned, '\n', c->in.len - c->scanned) : NULL;
	size_t len;
	char *line;

	if (!newline) {
		c->scanned = c->in.len;
		return NULL;
	}
	len = (size_t)(newline - c->in.data);
	line = strndup(c->in.data, len);
	c->in.len -= len + 1;
	memmove(c->in.data, newline + 1, c->in.len + 1); /* with the NUL */
	c->scanned = 0;
	return line;
}

static int fill(struct client *c, int timeout_ms)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	char buf[65536];
	ssize_t n;
	int r = poll(&pfd, 1, timeout_ms);

	if (r <= 0)
		return r == 0 || errno == EINTR ? -EAGAIN : -errno;
	n = read(c->fd, buf, sizeof(buf));
	if (n <= 0)
		return n == 0 ? -EPIPE : -errno;
	strbuf_add(&c->in, buf, (size_t)n);
	return c->in.failed ? -ENOMEM : c->in.len > MAX_LINE ? -EMSGSIZE : 0;
}

int client_receive(struct client *client, int timeout_ms, json_t **ret)
{
	_cleanup_free_ char *line = take_line(client);
	json_t *value;

	while (!line) {
		int r = fill(client, timeout_ms);

		if (r < 0)
			return r;
		line = take_line(client);
	}
	value = json_loads(line, 0, NULL);
	if (!json_is_object(value)) {
		json_decref(value);
		return -EBADMSG;
	}
	*ret = value;
	return 0;
}

int client_ask(const char *path, json_t *request, json_t **ret)
{
	__attribute__((cleanup(client_freep))) struct client *c = NULL;
	_cleanup_json_ json_t *answer = NULL;
	int r = client_connect(path, &c);

	if (r == 0)
		r = client_send(c, request);
	else
		json_decref(request);
	if (r == 0)
		r = client_receive(c, CALL_TIMEOUT_MS, &answer);
	if (r < 0)
		return r;
	if (!get_flag(answer, "ok")) {
		ctl_error("the agent answered: %s", get_text(answer, "error"));
		return -EREMOTEIO;
	}
	*ret = json_incref(json_object_get(answer, "result"));
	return *ret ? 0 : -EBADMSG;
}

int client_call(const char *path, const char *method, json_t **ret)
{
	return client_ask(path, json_pack("{s:s}", "method", method), ret);
}

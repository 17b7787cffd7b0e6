/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * One `struct client` per connection: bytes come in until there is a line, the line is a request, its answer goes out.
 * What the socket does not take at once waits in `out`; while much of it waits, no further request is read. A follower
 * that does not read its lines loses them, counted, and never holds anybody up.
 */
#include "agent/api_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/strbuf.h"

#define MAX_CLIENTS 64
#define MAX_FOLLOW  (4u << 20) /* bytes that may wait for a follower */
#define CHUNK	    65536

struct client {
	struct api_server *server;
	struct client *next;
	int fd;
	sd_event_source *source;
	struct strbuf in;
	struct strbuf out;
	size_t sent; /* of `out` */
	bool follows;
	bool closing;  /* once `out` is sent */
	uint64_t lost; /* lines this follower was too slow for */
};

struct api_server {
	sd_event *event;
	sd_event_source *source;
	int fd;
	char *path;
	struct api_handlers handlers;
	struct client *clients;
	unsigned int nclients;
};

static void client_free(struct client *c)
{
	struct client **at = &c->server->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->server->nclients--;
	sd_event_source_disable_unref(c->source);
	closep(&c->fd);
	strbuf_clear(&c->in);
	strbuf_clear(&c->out);
	free(c);
}

/* ---- out --------------------------------------------------------------------------------------------------------- */

static void client_wait_for(struct client *c)
{
	bool waits = c->sent < c->out.len;

	sd_event_source_set_io_events(c->source, (waits ? EPOLLOUT : 0) | (waits && !c->follows ? 0 : EPOLLIN));
}

/* 0, or -errno: the connection is done for. */
static int client_flush(struct client *c)
{
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		c->sent += (size_t)n;
	}
	if (c->sent == c->out.len) {
		strbuf_clear(&c->out);
		c->sent = 0;
		if (c->closing)
			return -EPIPE;
	}
	client_wait_for(c);
	return 0;
}

static void client_add_line(const char *line, size_t len, void *context)
{
	struct client *c = context;

	strbuf_add(&c->out, line, len);
	strbuf_add(&c->out, "\n", 1);
}

/* Takes `answer`. */
static void client_answer(struct client *c, json_t *answer)
{
	_cleanup_free_ char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

	json_decref(answer);
	if (text)
		client_add_line(text, strlen(text), c);
	else
		client_add_line("{\"ok\": false, \"error\": \"out of memory\"}", 39, c);
}

static void client_result(struct client *c, json_t *result)
{
	client_answer(c, result ? json_pack("{s:b, s:o}", "ok", 1, "result", result) : NULL);
}

static void client_error(struct client *c, const char *text)
{
	client_answer(c, json_pack("{s:b, s:s}", "ok", 0, "error", text));
}

void api_server_line(const char *line, size_t len, void *server)
{
	struct api_server *s = server;

	for (struct client *c = s->clients, *next; c; c = next) {
		next = c->next;
		if (!c->follows)
			continue;
		if (c->out.len - c->sent > MAX_FOLLOW) {
			c->lost++;
			continue;
		}
		client_add_line(line, len, c);
		if (c->out.failed || client_flush(c) < 0)
			client_free(c);
	}
}

/* ---- in ---------------------------------------------------------------------------------------------------------- */

static void do_observe(struct client *c, const json_t *request)
{
	json_int_t last = json_integer_value(json_object_get(request, "last"));
	struct observe_losses losses;

	observe_history(c->server->handlers.observe, last < 0 ? 0 : (size_t)last, client_add_line, c);
	if (json_is_true(json_object_get(request, "follow"))) {
		c->follows = true;
		return;
	}
	observe_losses(c->server->handlers.observe, &losses);
	client_result(c, json_pack("{s:I}", "lost", (json_int_t)(losses.events + losses.dns_records)));
}

static void do_interface(struct client *c, const json_t *request)
{
	const struct api_handlers *h = &c->server->handlers;
	const char *error = "out of memory";
	json_t *result = h->interface(h->context, request, &error);

	if (result)
		client_result(c, result);
	else
		client_error(c, error);
}

static void do_trace(struct client *c, const json_t *request)
{
	const struct api_handlers *h = &c->server->handlers;
	const char *error = "out of memory";
	json_t *result = h->trace(h->context, request, &error);

	if (result)
		client_result(c, result);
	else
		client_error(c, error);
}

static void client_request(struct client *c, const char *line, size_t len)
{
	const struct api_handlers *h = &c->server->handlers;
	json_error_t error;
	json_t *request = json_loadb(line, len, 0, &error);
	const char *method = json_string_value(json_object_get(request, "method"));

	if (!request)
		client_error(c, "not a JSON object");
	else if (!method)
		client_error(c, "no \"method\"");
	else if (strcmp(method, API_METHOD_STATUS) == 0)
		client_result(c, h->status(h->context));
	else if (strcmp(method, API_METHOD_ENDPOINTS) == 0)
		client_result(c, h->endpoints(h->context));
	else if (strcmp(method, API_METHOD_POLICIES) == 0)
		client_result(c, h->policies(h->context));
	else if (strcmp(method, API_METHOD_INTERFACE) == 0)
		do_interface(c, request);
	else if (strcmp(method, API_METHOD_OBSERVE) == 0)
		do_observe(c, request);
	else if (strcmp(method, API_METHOD_TRACE) == 0)
		do_trace(c, request);
	else if (strcmp(method, API_METHOD_RELOAD) == 0) {
		h->reload(h->context);
		client_result(c, json_object());
	} else
		client_error(c, "unknown method");
	json_decref(request);
}

static int client_read(struct client *c)
{
	char buf[CHUNK];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
	char *newline;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	if (c->follows)
		return 0; /* there is nothing more to ask on this connection */
	strbuf_add(&c->in, buf, (size_t)n);
	if (c->in.failed)
		return -ENOMEM;
	while (c->in.len && !c->closing && (newline = memchr(c->in.data, '\n', c->in.len))) {
		size_t len = (size_t)(newline - c->in.data);

		client_request(c, c->in.data, len);
		memmove(c->in.data, newline + 1, c->in.len - len); /* with the NUL */
		c->in.len -= len + 1;
	}
	if (c->in.len > API_MAX_REQUEST) {
		client_error(c, "the request is too long");
		c->closing = true;
	}
	return c->out.failed ? -ENOMEM : 0;
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct client *c = userdata;
	int r = 0;

	(void)source;
	(void)fd;
	if (events & (EPOLLERR | EPOLLHUP))
		r = -EPIPE;
	if (r == 0 && events & EPOLLIN)
		r = client_read(c);
	if (r == 0)
		r = client_flush(c);
	if (r < 0)
		client_free(c);
	return 0;
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static bool may_connect(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct api_server *s = userdata;
	_cleanup_close_ int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	(void)source;
	(void)events;
	if (conn < 0 || !may_connect(conn) || s->nclients >= MAX_CLIENTS)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return 0;
	c->server = s;
	c->fd = TAKE_FD(conn);
	if (sd_event_add_io(s->event, &c->source, c->fd, EPOLLIN, on_client, c) < 0) {
		closep(&c->fd);
		free(c);
		return 0;
	}
	c->next = s->clients;
	s->clients = c;
	s->nclients++;
	return 0;
}

void api_server_freep(struct api_server **s)
{
	if (!*s)
		return;
	while ((*s)->clients)
		client_free((*s)->clients);
	sd_event_source_disable_unref((*s)->source);
	if ((*s)->fd >= 0)
		unlink((*s)->path);
	closep(&(*s)->fd);
	free((*s)->path);
	free(*s);
	*s = NULL;
}

static int listen_on(const char *path, int *ret)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;
	mode_t mask;
	int r;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	/* The pin folder's lock says that no other agent listens here. What is no socket is somebody's file. */
	if (lstat(path, &st) == 0 && (!S_ISSOCK(st.st_mode) || unlink(path) < 0))
		return -EEXIST;
	mask = umask(0077);
	r = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
	umask(mask);
	if (r == 0 && listen(fd, 16) < 0)
		r = -errno;
	if (r == 0)
		*ret = TAKE_FD(fd);
	return r;
}

int api_server_open(sd_event *event, const char *path, const struct api_handlers *handlers, struct api_server **ret)
{
	CLEANUP(api_server_freep) struct api_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->fd = -1;
	s->event = event;
	s->handlers = *handlers;
	s->path = strdup(path);
	r = s->path ? listen_on(path, &s->fd) : -ENOMEM;
	if (r == 0)
		r = sd_event_add_io(event, &s->source, s->fd, EPOLLIN, on_connection, s);
	if (r < 0) {
		log_error("api.socket %s: %s", path, strerror(-r));
		return r;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

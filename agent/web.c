/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/web.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Whoever reaches the port must not use up the agent's descriptors or memory. */
#define MAX_CONNECTIONS	  16u
#define CONNECTION_MEMORY 8192u
#define IDLE_SECONDS	  10u

struct web {
	struct MHD_Daemon *daemon;
	sd_event_source *source;
	sd_event_source *timer;
	struct web_handlers handlers;
};

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static enum MHD_Result respond(struct MHD_Connection *c, unsigned int status, struct strbuf *body, const char *type)
{
	char *text = strbuf_take(body);
	struct MHD_Response *r;
	enum MHD_Result result;

	if (!text)
		return MHD_NO;
	r = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	result = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *data, size_t *data_size, void **request)
{
	static const char text[] = "text/plain; charset=utf-8";
	struct web *w = context;
	struct strbuf body = {};
	unsigned int status = MHD_HTTP_OK;

	(void)version;
	(void)data;
	(void)data_size;
	(void)request;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		strbuf_adds(&body, "only GET\n");
		return respond(c, MHD_HTTP_METHOD_NOT_ALLOWED, &body, text);
	}
	if (!strcmp(url, "/metrics")) {
		w->handlers.metrics(w->handlers.context, &body);
		return respond(c, status, &body, "text/plain; version=0.0.4; charset=utf-8");
	}
	if (!strcmp(url, "/readyz")) {
		if (!w->handlers.ready(w->handlers.context, &body))
			status = MHD_HTTP_SERVICE_UNAVAILABLE;
	} else if (strcmp(url, "/healthz") != 0) {
		strbuf_adds(&body, "/metrics, /healthz and /readyz are here");
		status = MHD_HTTP_NOT_FOUND;
	}
	if (!body.len)
		strbuf_adds(&body, "ok");
	strbuf_adds(&body, "\n");
	return respond(c, status, &body, text);
}

/* ---- on the event loop ------------------------------------------------------------------------------------------- */

static void run(struct web *w)
{
	MHD_UNSIGNED_LONG_LONG msec;

	MHD_run(w->daemon);
	if (MHD_get_timeout(w->daemon, &msec) != MHD_YES)
		return;
	sd_event_source_set_time_relative(w->timer, (uint64_t)msec * 1000);
	sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static int on_ready(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	(void)source;
	(void)fd;
	(void)events;
	run(userdata);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	run(userdata);
	return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void web_freep(struct web **w)
{
	if (!*w)
		return;
	sd_event_source_disable_unref((*w)->source);
	sd_event_source_disable_unref((*w)->timer);
	if ((*w)->daemon)
		MHD_stop_daemon((*w)->daemon);
	free(*w);
	*w = NULL;
}

/* Splits "HOST:PORT"; an IPv6 address is in brackets, and no host means all of both families. */
static int resolve(const char *listen, struct addrinfo **ret)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
					.ai_socktype = SOCK_STREAM,
					.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV };
	const char *colon = strrchr(listen, ':');
	char host[64];
	size_t len = colon ? (size_t)(colon - listen) : 0;

	if (!colon || len >= sizeof(host))
		return -EINVAL;
	if (len >= 2 && listen[0] == '[' && listen[len - 1] == ']')
		snprintf(host, sizeof(host), "%.*s", (int)len - 2, listen + 1);
	else
		snprintf(host, sizeof(host), "%.*s", (int)len, listen);
	return getaddrinfo(*host ? host : "::", colon + 1, &hints, ret) == 0 ? 0 : -EINVAL;
}

static int listen_on(const char *listen_text)
{
	static const int yes = 1, no = 0;
	struct addrinfo *info = NULL;
	_cleanup_close_ int fd = -1;
	int r = resolve(listen_text, &info);

	if (r < 0)
		return r;
	fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
		if (info->ai_family == AF_INET6 && listen_text[0] == ':')
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	}
	r = fd < 0 || bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, MAX_CONNECTIONS) < 0 ? -errno : 0;
	freeaddrinfo(info);
	return r < 0 ? r : TAKE_FD(fd);
}

/* Takes `fd`. */
static int start_daemon(struct web *w, int fd)
{
	w->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, w, MHD_OPTION_LISTEN_SOCKET, fd,
				     MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				     (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
				     MHD_OPTION_END);
	if (w->daemon)
		return 0;
	close(fd);
	return -EIO;
}

int web_open(sd_event *event, const char *listen, const struct web_handlers *handlers, struct web **ret)
{
	CLEANUP(web_freep) struct web *w = calloc(1, sizeof(*w));
	const union MHD_DaemonInfo *info;
	int fd, r;

	if (!w)
		return -ENOMEM;
	w->handlers = *handlers;
	fd = listen_on(listen);
	r = fd < 0 ? fd : start_daemon(w, fd);
	if (r < 0)
		return r;
	info = MHD_get_daemon_info(w->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return -EIO;
	r = sd_event_add_io(event, &w->source, info->epoll_fd, EPOLLIN, on_ready, w);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &w->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, w);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	*ret = TAKE_PTR(w);
	return 0;
}

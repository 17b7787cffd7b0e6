/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * libcurl's multi handle says which sockets it waits for and when it wants to be called; both are sources of the event
 * loop. It is never asked for anything from within one of its own callbacks: handlers that start or cancel requests are
 * called with bytes from within one, so `data` only collects, and a cancelled request that libcurl is just calling back
 * for is taken out when the callback is over.
 */
#include "agent/kube/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/file.h"

#define CONNECT_MSEC	  10000L
#define DEAD_PEER_MSEC	  30000
#define KEEPALIVE_SECONDS 15L
#define TOKEN_MAX	  65536
#define FAILURE_TEXT	  1024

struct kube_http {
	sd_event *event;
	sd_event_source *timer;
	CURLM *multi;
	struct kube_access *access;
	struct kube_request *requests;
	bool within; /* libcurl is running */
};

struct kube_request {
	struct kube_http *http;
	struct kube_request *next;
	struct kube_request **at; /* what points to this one */
	CURL *easy;
	struct curl_slist *headers;
	struct curl_slist *connect_to;
	char *body;
	struct kube_handlers handlers;
	bool cancelled;
	char text[FAILURE_TEXT];
	size_t text_len;
	char error[CURL_ERROR_SIZE];
};

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void request_free(struct kube_request *r)
{
	if (r->at) {
		*r->at = r->next;
		if (r->next)
			r->next->at = r->at;
	}
	if (r->easy) {
		curl_multi_remove_handle(r->http->multi, r->easy);
		curl_easy_cleanup(r->easy);
	}
	curl_slist_free_all(r->headers);
	curl_slist_free_all(r->connect_to);
	free(r->body);
	free(r);
}

static void request_freep(struct kube_request **r)
{
	if (*r)
		request_free(*r);
	*r = NULL;
}

void kube_request_cancelp(struct kube_request **r)
{
	if (*r && (*r)->http->within)
		(*r)->cancelled = true;
	else if (*r)
		request_free(*r);
	*r = NULL;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	struct kube_request *r = context;
	size_t len = size * count, room = sizeof(r->text) - 1 - r->text_len;
	long status = 0;

	if (r->cancelled)
		return CURL_WRITEFUNC_ERROR;
	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 200 && status < 300) {
		if (r->handlers.data)
			r->handlers.data(r->handlers.context, bytes, len);
		return len;
	}
	room = len < room ? len : room;
	memcpy(r->text + r->text_len, bytes, room);
	r->text_len += room;
	return len;
}

/* One line at a time; the last one of a head is empty. */
static size_t on_head(char *bytes, size_t size, size_t count, void *context)
{
	struct kube_request *r = context;
	size_t len = size * count;
	long status = 0;

	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	if (len == strlen("\r\n") && *bytes == '\r' && status >= 200 && status < 300 && r->handlers.began &&
	    !r->cancelled)
		r->handlers.began(r->handlers.context);
	return len;
}

static int on_socket_made(void *context, curl_socket_t fd, curlsocktype purpose)
{
	const unsigned int timeout = DEAD_PEER_MSEC;

	(void)context;
	(void)purpose;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
	return CURL_SOCKOPT_OK;
}

static bool add_header(struct kube_request *r, const char *name, const char *value)
{
	_cleanup_free_ char *line = NULL;
	struct curl_slist *longer;

	if (asprintf(&line, "%s: %s", name, value) < 0) {
		line = NULL;
		return false;
	}
	longer = curl_slist_append(r->headers, line);
	explicit_bzero(line, strlen(line));
	if (longer)
		r->headers = longer;
	return longer != NULL;
}

/* Read for each request: the kubelet replaces a service account's token well before it ends. */
static int add_token(struct kube_request *r, const struct kube_access *a)
{
	_cleanup_free_ char *from_file = NULL, *value = NULL;
	const char *token = a->token;
	size_t len;
	int n;

	if (a->token_file) {
		n = file_read(AT_FDCWD, a->token_file, TOKEN_MAX, &from_file, &len);
		if (n < 0)
			return n;
		from_file[strcspn(from_file, "\r\n")] = '\0';
		token = from_file;
	}
	if (!token)
		return 0;
	n = asprintf(&value, "Bearer %s", token);
	if (n < 0) {
		value = NULL;
		return -ENOMEM;
	}
	n = add_header(r, "Authorization", value) ? 0 : -ENOMEM;
	explicit_bzero(value, strlen(value));
	if (from_file)
		explicit_bzero(from_file, strlen(from_file));
	return n;
}

/* libcurl does not change the text; its interface says otherwise. */
static struct curl_blob blob_of(char *text)
{
	return (struct curl_blob){ .data = text, .len = strlen(text), .flags = CURL_BLOB_NOCOPY };
}

static bool set_tls(CURL *e, const struct kube_access *a)
{
	bool ok = true;
	struct curl_blob blob;

	if (a->ca) {
		blob = blob_of(a->ca);
		ok = curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &blob) == CURLE_OK;
	}
	if (ok && a->cert) {
		blob = blob_of(a->cert);
		ok = curl_easy_setopt(e, CURLOPT_SSLCERT_BLOB, &blob) == CURLE_OK;
		blob = blob_of(a->key);
		ok = ok && curl_easy_setopt(e, CURLOPT_SSLKEY_BLOB, &blob) == CURLE_OK;
	}
	return ok;
}

/*
 * A certificate for another name: the request is for that name, and the connection goes to the server's address all the
 * same.
 */
static bool set_url(struct kube_request *r, const struct kube_access *a, const char *path)
{
	_cleanup_free_ char *url = NULL, *to = NULL;
	const char *host = a->server + strcspn(a->server, ":") + 3, *port = strrchr(host, ':');

	if (port && strchr(port, ']'))
		port = NULL;
	if (!a->server_name) {
		if (asprintf(&url, "%s%s", a->server, path) < 0)
			url = NULL;
		return url && curl_easy_setopt(r->easy, CURLOPT_URL, url) == CURLE_OK;
	}
	if (asprintf(&url, "https://%s%s%s", a->server_name, port ? port : "", path) < 0)
		url = NULL;
	if (asprintf(&to, "::%s%s", host, port ? "" : ":443") < 0)
		to = NULL;
	r->connect_to = to ? curl_slist_append(NULL, to) : NULL;
	return url && r->connect_to && curl_easy_setopt(r->easy, CURLOPT_URL, url) == CURLE_OK &&
	       curl_easy_setopt(r->easy, CURLOPT_CONNECT_TO, r->connect_to) == CURLE_OK;
}

static bool set_callbacks(struct kube_request *r)
{
	CURL *e = r->easy;

	return curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_WRITEDATA, r) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_head) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_HEADERDATA, r) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket_made) == CURLE_OK;
}

static bool set_transfer(struct kube_request *r, const struct kube_call *call)
{
	CURL *e = r->easy;
	bool ok = set_callbacks(r) && curl_easy_setopt(e, CURLOPT_PRIVATE, r) == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->error) == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_SECONDS) == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_SECONDS) == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MSEC) == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)call->timeout_seconds) == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L) == CURLE_OK &&
		  curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, call->method) == CURLE_OK;

	if (ok && call->body) {
		r->body = strdup(call->body);
		ok = r->body && curl_easy_setopt(e, CURLOPT_POSTFIELDS, r->body) == CURLE_OK;
	}
	return ok && curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->headers) == CURLE_OK;
}

/* A token that cannot be read: the request is made without one, and the server's 401 says so. */
static int request_prepare(struct kube_request *r, const struct kube_call *call)
{
	const struct kube_access *a = r->http->access;

	if (add_token(r, a) == -ENOMEM || !add_header(r, "Accept", "application/json") ||
	    (call->body && !add_header(r, "Content-Type", call->type ? call->type : "application/json")) ||
	    !set_tls(r->easy, a) || !set_url(r, a, call->path) || !set_transfer(r, call))
		return -ENOMEM;
	return 0;
}

int kube_http_start(struct kube_http *h, const struct kube_call *call, const struct kube_handlers *handlers,
		    struct kube_request **ret)
{
	CLEANUP(request_freep) struct kube_request *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->http = h;
	r->handlers = *handlers;
	r->easy = curl_easy_init();
	if (!r->easy || request_prepare(r, call) < 0 || curl_multi_add_handle(h->multi, r->easy) != CURLM_OK)
		return -ENOMEM;
	r->next = h->requests;
	r->at = &h->requests;
	if (r->next)
		r->next->at = &r->next;
	h->requests = r;
	*ret = TAKE_PTR(r);
	return 0;
}

/* ---- libcurl on the event loop ----------------------------------------------------------------------------------- */

static void finish(struct kube_request *r, CURLcode code)
{
	struct kube_reply reply = { .text = r->text };
	curl_off_t wait = 0;

	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &reply.status);
	curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &wait);
	reply.retry_after = (long)wait;
	if (code != CURLE_OK) {
		reply.status = 0;
		snprintf(r->text, sizeof(r->text), "%s", r->error[0] ? r->error : curl_easy_strerror(code));
	}
	if (!r->cancelled)
		r->handlers.end(r->handlers.context, &reply);
	request_free(r);
}

/* Only the requests that libcurl called back for while it ran can have been cancelled so. */
static void drop_cancelled(struct kube_http *h)
{
	for (struct kube_request *r = h->requests, *next; r; r = next) {
		next = r->next;
		if (r->cancelled)
			request_free(r);
	}
}

static void act(struct kube_http *h, curl_socket_t fd, int what)
{
	CURLMsg *message;
	int running, left;

	h->within = true;
	curl_multi_socket_action(h->multi, fd, what, &running);
	h->within = false;
	drop_cancelled(h);
	while ((message = curl_multi_info_read(h->multi, &left))) {
		struct kube_request *r = NULL;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		finish(r, code);
	}
}

static int on_ready(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

	(void)source;
	act(userdata, fd, what);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	act(userdata, CURL_SOCKET_TIMEOUT, 0);
	return 0;
}

static int wants_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *assigned)
{
	struct kube_http *h = context;
	sd_event_source *source = assigned;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		sd_event_source_disable_unref(source);
		curl_multi_assign(h->multi, fd, NULL);
		return 0;
	}
	if (source)
		return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;
	if (sd_event_add_io(h->event, &source, fd, events, on_ready, h) < 0)
		return -1;
	curl_multi_assign(h->multi, fd, source);
	return 0;
}

static int wants_timer(CURLM *multi, long msec, void *context)
{
	struct kube_http *h = context;

	(void)multi;
	if (msec < 0)
		return sd_event_source_set_enabled(h->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
	if (sd_event_source_set_time_relative(h->timer, (uint64_t)msec * 1000) < 0)
		return -1;
	return sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void kube_http_freep(struct kube_http **h)
{
	if (!*h)
		return;
	while ((*h)->requests)
		request_free((*h)->requests);
	if ((*h)->multi)
		curl_multi_cleanup((*h)->multi);
	sd_event_source_disable_unref((*h)->timer);
	sd_event_unref((*h)->event);
	kube_access_freep(&(*h)->access);
	free(*h);
	*h = NULL;
}

int kube_http_new(sd_event *event, struct kube_access *access, struct kube_http **ret)
{
	CLEANUP(kube_http_freep) struct kube_http *h = calloc(1, sizeof(*h));
	int r;

	if (!h || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		kube_access_freep(&access);
		return -ENOMEM;
	}
	h->access = access;
	h->event = sd_event_ref(event);
	h->multi = curl_multi_init();
	if (!h->multi)
		return -ENOMEM;
	r = sd_event_add_time_relative(event, &h->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, h);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, wants_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, wants_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	*ret = TAKE_PTR(h);
	return 0;
}

const char *kube_http_server(const struct kube_http *h)
{
	return h->access->server;
}

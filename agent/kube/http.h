/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the API server, on the agent's event loop: libcurl's, with TLS verified, one HTTP/2 connection for all of
 * them where the server speaks it. A connection that answers nothing for half a minute although something is on the way
 * is dead, and its requests end.
 */
#ifndef SLUICE_AGENT_KUBE_HTTP_H
#define SLUICE_AGENT_KUBE_HTTP_H

#include <stddef.h>
#include <systemd/sd-event.h>

#include "agent/kube/access.h"

struct kube_http;
struct kube_request;

struct kube_reply {
	long status;	  /* of HTTP; 0: no answer, and `text` says why */
	long retry_after; /* seconds the server asks to wait; 0: none */
	const char *text; /* NUL-terminated: of a failure, the beginning of what the server said; else "" */
};

/* Called from the event loop, never from within kube_http_start(). `end` comes last and exactly once, unless cancelled. */
struct kube_handlers {
	void *context;
	void (*data)(void *context, const char *bytes, size_t len); /* of a 2xx answer's body; NULL: not wanted */
	void (*end)(void *context, const struct kube_reply *reply);
	void (*began)(void *context); /* a 2xx answer's head has come; NULL: not wanted. As `data`, it only notes */
};

struct kube_call {
	const char *method;	      /* "GET", "POST", "PUT", "PATCH" */
	const char *path;	      /* with query, from the first slash */
	const char *type;	      /* of `body`; NULL: application/json */
	const char *body;	      /* NULL: none; copied */
	unsigned int timeout_seconds; /* for the whole; 0: none, as for a watch */
};

/* Takes `access`, also when it fails. 0 or -ENOMEM. An unusable certificate shows in the first request. */
int kube_http_new(sd_event *event, struct kube_access *access, struct kube_http **ret);
void kube_http_freep(struct kube_http **h); /* cancels what is under way; NULL-safe, sets NULL */
const char *kube_http_server(const struct kube_http *h);

/* The request ends by itself or by kube_request_cancelp(); in both cases it is gone. 0 or -ENOMEM. */
int kube_http_start(struct kube_http *h, const struct kube_call *call, const struct kube_handlers *handlers,
		    struct kube_request **ret);
void kube_request_cancelp(struct kube_request **r); /* NULL-safe, sets NULL; `end` is not called */

#endif

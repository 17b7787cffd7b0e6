/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/follow.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"

struct kube_follow {
	struct kube_http *http;
	struct kube_reflector *reflector;
	struct kube_request *request; /* under way */
	sd_event_source *timer;
	void (*ended)(void *context);
	void *context;
};

static void wake(struct kube_follow *f, uint64_t nsec)
{
	sd_event_source_set_time_relative(f->timer, nsec / 1000);
	sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT);
}

static void pump(struct kube_follow *f);

/* In libcurl's own call: the next request is made from the loop. */
static void on_data(void *context, const char *bytes, size_t len)
{
	struct kube_follow *f = context;

	if (kube_reflector_data(f->reflector, bytes, len))
		return;
	kube_request_cancelp(&f->request);
	kube_reflector_end(f->reflector, clock_now(), 200, 0, "");
	wake(f, 0);
}

static void on_began(void *context)
{
	kube_reflector_began(((struct kube_follow *)context)->reflector, clock_now());
}

static void on_end(void *context, const struct kube_reply *reply)
{
	struct kube_follow *f = context;

	f->request = NULL;
	kube_reflector_end(f->reflector, clock_now(), reply->status, reply->retry_after, reply->text);
	if (f->ended)
		f->ended(f->context);
	pump(f);
}

static void pump(struct kube_follow *f)
{
	const struct kube_handlers handlers = { f, on_data, on_end, on_began };
	struct kube_call call = { .method = "GET" };
	uint64_t now = clock_now(), when = 0;

	if (f->request)
		return;
	if (!kube_reflector_poll(f->reflector, now, &call.path, &call.timeout_seconds, &when))
		wake(f, when - now);
	else if (kube_http_start(f->http, &call, &handlers, &f->request) < 0)
		wake(f, NSEC_PER_SEC);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	pump(userdata);
	return 0;
}

static uint32_t random_number(void)
{
	uint32_t n = 0;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
		n = (uint32_t)clock_now();
	return n;
}

void kube_follow_freep(struct kube_follow **f)
{
	if (!*f)
		return;
	kube_request_cancelp(&(*f)->request);
	sd_event_source_disable_unref((*f)->timer);
	kube_reflector_freep(&(*f)->reflector);
	free(*f);
	*f = NULL;
}

int kube_follow_new(sd_event *event, struct kube_http *http, const struct kube_collection *collection,
		    const struct kube_sink *sink, void (*ended)(void *context), struct kube_follow **ret)
{
	CLEANUP(kube_follow_freep) struct kube_follow *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->http = http;
	f->ended = ended;
	f->context = sink->context;
	r = kube_reflector_new(collection, sink, random_number, &f->reflector);
	if (r == 0)
		r = sd_event_add_time_relative(event, &f->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, f);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(f);
	return 0;
}

void kube_follow_get(const struct kube_follow *f, struct kube_reflector_state *ret)
{
	kube_reflector_get(f->reflector, ret);
}

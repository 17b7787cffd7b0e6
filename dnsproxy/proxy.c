/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "dnsproxy/conf.h"
#include "dnsproxy/conns.h"
#include "dnsproxy/core.h"
#include "dnsproxy/listen.h"
#include "dnsproxy/loop.h"
#include "dnsproxy/policies.h"
#include "dnsproxy/upstream.h"

#define DRAIN_MAX    (10 * NSEC_PER_SEC)
#define UNUSED_AFTER 10 /* seconds between looks for policies that nobody uses */

struct proxy {
	struct kmaps *kmaps;
	struct core *core;
	struct listen *listen;
	struct conns *conns;
	struct upstream *upstream;
	struct policies *policies;
	struct source signal_source;
	struct source timer_source;
	int timer;
	uint64_t armed; /* when the timer goes off; 0: never */
	int loop;
	int dir;
	int signals;
	bool stop;
	uint64_t now;
	uint64_t started;
	uint64_t settings_generation;
	uint32_t nresolvers; /* as last read */
	struct proxy_resolver resolvers[PROXY_MAX_RESOLVERS];
	uint64_t next_second;
	uint64_t draining_since; /* another proxy has the sockets' slots; 0: we have */
	unsigned int seconds;
};

/* ---- what the core asks for -------------------------------------------------------------------------------------- */

static void reply(void *context, const struct core_asker *to, const uint8_t *msg, size_t len)
{
	struct proxy *p = context;

	if (to->tcp)
		conns_reply(p->conns, to, msg, len, p->now);
	else
		listen_reply(p->listen, to, msg, len);
}

static bool ready_tcp(void *context, const struct proxy_resolver *resolver, uint32_t index, uint32_t endpoint)
{
	struct proxy *p = context;

	return upstream_ready_tcp(p->upstream, resolver, index, endpoint, p->now);
}

static int ask(void *context, const struct proxy_resolver *resolver, uint32_t index, bool tcp, uint32_t endpoint,
	       const uint8_t *msg, size_t len, uint32_t *ret_transport)
{
	struct proxy *p = context;

	return upstream_ask(p->upstream, resolver, index, tcp, endpoint, msg, len, p->now, ret_transport);
}

static void asked(void *context, uint32_t transport, bool tcp)
{
	struct proxy *p = context;

	upstream_asked(p->upstream, transport, tcp);
}

static uint16_t random_id(void *context)
{
	struct proxy *p = context;

	return upstream_random(p->upstream);
}

static const struct image *policy(void *context, uint64_t id)
{
	struct proxy *p = context;

	return policies_get(p->policies, id);
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static void reload_settings(struct proxy *p)
{
	uint64_t generation = __atomic_load_n(&p->kmaps->maps.settings->proxy_generation, __ATOMIC_ACQUIRE);
	_cleanup_free_ char *data = NULL;
	struct proxy_settings s;
	size_t len;
	int r;

	if (generation == p->settings_generation)
		return;
	p->settings_generation = generation;
	r = file_read(p->dir, PROXY_SETTINGS_FILE, sizeof(s), &data, &len);
	if (r == 0)
		r = conf_read(data, len, &s);
	if (r < 0) {
		log_error("settings: cannot be read (error %d); the old ones stay", -r);
		return;
	}
	core_set_settings(p->core, &s);
	if (s.nresolvers != p->nresolvers || memcmp(s.resolvers, p->resolvers, sizeof(s.resolvers)) != 0)
		upstream_reset(p->upstream, p->now);
	memcpy(p->resolvers, s.resolvers, sizeof(p->resolvers));
	p->nresolvers = s.nresolvers;
}

/* ---- the clock --------------------------------------------------------------------------------------------------- */

/* A new proxy writes its own start into the shared page. The pid alone may be the same in another container. */
static bool replaced(const struct proxy *p)
{
	return __atomic_load_n(&p->kmaps->maps.stats->started, __ATOMIC_RELAXED) != p->started;
}

static bool folder_gone(const struct proxy *p)
{
	struct stat st;

	return fstat(p->dir, &st) < 0 || st.st_nlink == 0;
}

static void each_second(struct proxy *p)
{
	const struct maps *m = &p->kmaps->maps;

	conns_sweep(p->conns, p->now);
	upstream_sweep(p->upstream, p->now);
	if (++p->seconds % UNUSED_AFTER == 0)
		policies_drop_unused(p->policies, m->endpoints, m->nendpoints);
	if (!kmaps_pinned(p->kmaps) || folder_gone(p)) {
		/* Without privileges their successors cannot be opened: whoever started us does it again. */
		log_info("the pinned maps or the run directory were taken away: ending");
		p->stop = true;
	} else if (!replaced(p)) {
		__atomic_store_n(&m->stats->heartbeat, p->now, __ATOMIC_RELEASE);
	} else if (p->draining_since == 0) {
		log_info("another proxy has taken over: finishing what is under way");
		p->draining_since = p->now;
	}
	if (p->draining_since && ((core_in_flight(p->core) == 0 && conns_open_count(p->conns) == 0) ||
				  p->now - p->draining_since > DRAIN_MAX))
		p->stop = true;
}

/*
 * A timer of its own, not a time-out of epoll_wait: that would be set and taken back at every query, and deadlines only
 * ever move on. When it goes off too early, it is set anew.
 */
static void arm(struct proxy *p, uint64_t deadline)
{
	uint64_t until = deadline < p->next_second ? deadline : p->next_second;
	struct itimerspec when = { .it_value = { (time_t)(until / NSEC_PER_SEC), (long)(until % NSEC_PER_SEC) } };

	if (p->armed && p->armed <= until)
		return;
	if (until == 0)
		when.it_value.tv_nsec = 1; /* 0 would take it back */
	if (timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0)
		p->armed = until ? until : 1;
}

static void timer_ready(struct source *source, uint32_t events, uint64_t now)
{
	struct proxy *p = source->owner;
	uint64_t times;

	(void)events;
	(void)now;
	if (read(p->timer, &times, sizeof(times)) == sizeof(times))
		p->armed = 0;
}

/* Only now that nothing can fail any more: an older proxy ends when it reads this. */
static void take_over(struct proxy *p)
{
	struct sluice_dns_stats *stats = p->kmaps->maps.stats;

	__atomic_store_n(&stats->pid, (uint64_t)getpid(), __ATOMIC_RELAXED);
	__atomic_store_n(&stats->heartbeat, p->now, __ATOMIC_RELAXED);
	__atomic_store_n(&stats->started, p->started, __ATOMIC_RELEASE);
}

/* Everything that was kept for one call; first what pods wait for. Who is refused upstream is answered at once too. */
static void end_turn(struct proxy *p)
{
	conns_resume(p->conns, p->now);
	listen_flush(p->listen);
	upstream_flush(p->upstream, p->now);
	conns_resume(p->conns, p->now);
	listen_flush(p->listen);
}

int proxy_run(struct proxy *p)
{
	take_over(p);
	while (!p->stop) {
		uint64_t deadline;
		int r;

		core_tick(p->core, p->now);
		end_turn(p);
		deadline = core_tick(p->core, p->now);
		arm(p, deadline);
		r = loop_run_once(p->loop, -1, &p->now);
		if (r < 0)
			return r;
		reload_settings(p);
		if (p->now >= p->next_second) {
			p->next_second = p->now + NSEC_PER_SEC;
			each_second(p);
		}
	}
	end_turn(p);
	return 0;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void signalled(struct source *source, uint32_t events, uint64_t now)
{
	struct proxy *p = source->owner;
	struct signalfd_siginfo info;

	(void)events;
	(void)now;
	if (read(p->signals, &info, sizeof(info)) == sizeof(info))
		p->stop = true;
}

static int timer_new(struct proxy *p)
{
	p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	return p->timer < 0 ? -errno : loop_watch(p->loop, p->timer, EPOLLIN, &p->timer_source);
}

static int make_parts(struct proxy *p, const int fds[SLUICE_SOCK_MAX], const struct proxy_settings *settings)
{
	const struct core_io io = { .context = p,
				    .reply = reply,
				    .ready_tcp = ready_tcp,
				    .ask = ask,
				    .asked = asked,
				    .random = random_id,
				    .policy = policy };
	int r = loop_new(&p->loop);

	if (r == 0)
		r = policies_new(p->dir, &p->policies);
	if (r == 0)
		r = upstream_new(p->loop, &p->upstream);
	if (r == 0)
		r = listen_new(p->loop, fds, &p->listen);
	if (r == 0)
		r = conns_new(p->loop, fds, &p->kmaps->maps, &p->conns);
	if (r == 0)
		r = core_new(&p->kmaps->maps, &io, settings, &p->core);
	if (r == 0)
		r = loop_watch(p->loop, p->signals, EPOLLIN, &p->signal_source);
	if (r == 0)
		r = timer_new(p);
	if (r < 0)
		return r;
	upstream_set_core(p->upstream, p->core);
	listen_set_core(p->listen, p->core);
	conns_set_core(p->conns, p->core);
	return 0;
}

int proxy_new(struct kmaps *k, const int fds[SLUICE_SOCK_MAX], int dir, int signals,
	      const struct proxy_settings *settings, struct proxy **ret)
{
	struct proxy *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->kmaps = k;
	p->dir = dir;
	p->signals = signals;
	p->loop = p->timer = -1;
	p->timer_source = (struct source){ timer_ready, p };
	p->signal_source = (struct source){ signalled, p };
	r = make_parts(p, fds, settings);
	if (r < 0) {
		proxy_freep(&p);
		return r;
	}
	p->now = p->started = clock_now();
	/* As read before the settings file was: a change since then is noticed. */
	p->settings_generation = UINT64_MAX;
	*ret = p;
	return 0;
}

void proxy_freep(struct proxy **p)
{
	if (*p) {
		conns_freep(&(*p)->conns);
		listen_freep(&(*p)->listen);
		upstream_freep(&(*p)->upstream);
		core_freep(&(*p)->core);
		policies_freep(&(*p)->policies);
		closep(&(*p)->timer);
		closep(&(*p)->loop);
	}
	free(*p);
	*p = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A channel, and no more than WINDOW questions in flight. First every name, A and AAAA together; then the reverse of
 * every address found. A callback only notes what came; the loop asks the next question and waits for the sockets.
 */
#include "tools/bpfctl/resolve.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"

#define WINDOW 64

struct asker {
	ares_channel channel;
	size_t in_flight;
	bool oom;
};

/* One question; freed by its callback. */
struct question {
	struct asker *asker;
	struct resolve_name *name;
	struct resolve_addr *addr; /* of a reverse question */
};

const char *resolve_status_name(enum resolve_status status)
{
	static const char *const names[] = {
		[RESOLVE_OK] = "ok",	       [RESOLVE_NO_NAME] = "no-such-name", [RESOLVE_NO_DATA] = "no-address",
		[RESOLVE_TIMEOUT] = "timeout", [RESOLVE_FAILED] = "failed",
	};

	return (size_t)status < ARRAY_SIZE(names) ? names[status] : "unknown";
}

static enum resolve_status from_ares(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return RESOLVE_OK;
	case ARES_ENOTFOUND:
	case ARES_ENONAME:
		return RESOLVE_NO_NAME;
	case ARES_ENODATA:
		return RESOLVE_NO_DATA;
	case ARES_ETIMEOUT:
		return RESOLVE_TIMEOUT;
	default: /* ARES_ECONNREFUSED stands for server failures too */
		return RESOLVE_FAILED;
	}
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static char *copy_name(const char *text)
{
	size_t len = strlen(text);

	return strndup(text, len > 0 && text[len - 1] == '.' ? len - 1 : len);
}

/* Both answers carry the chain. */
static void add_alias(struct asker *a, struct resolve_name *n, const char *text)
{
	char *copy = copy_name(text), **slot = NULL;

	for (size_t i = 0; copy && i < n->naliases; i++) {
		if (!strcmp(n->aliases[i], copy)) {
			free(copy);
			return;
		}
	}
	if (copy)
		slot = array_push(&n->aliases, &n->naliases, sizeof(*slot));
	if (slot) {
		*slot = copy;
		return;
	}
	free(copy);
	a->oom = true;
}

static void add_addr(struct asker *a, struct resolve_name *n, const struct sockaddr *sa, size_t len)
{
	struct sockaddr_storage ss = {};
	struct resolve_addr *slot;
	struct sluice_addr addr;

	memcpy(&ss, sa, len < sizeof(ss) ? len : sizeof(ss));
	if (addr_from_sockaddr(&ss, &addr, NULL) < 0)
		return;
	slot = array_push(&n->addrs, &n->naddrs, sizeof(*slot));
	if (slot)
		slot->addr = addr;
	else
		a->oom = true;
}

static void on_addresses(void *context, int status, int timeouts, struct ares_addrinfo *result)
{
	_cleanup_free_ struct question *q = context;

	(void)timeouts;
	q->asker->in_flight--;
	q->name->status = from_ares(status);
	for (struct ares_addrinfo_cname *c = result ? result->cnames : NULL; c; c = c->next) {
		if (c->name)
			add_alias(q->asker, q->name, c->name);
	}
	for (struct ares_addrinfo_node *n = result ? result->nodes : NULL; n; n = n->ai_next)
		add_addr(q->asker, q->name, n->ai_addr, n->ai_addrlen);
	if (result)
		ares_freeaddrinfo(result);
}

static void on_reverse(void *context, int status, int timeouts, struct hostent *host)
{
	_cleanup_free_ struct question *q = context;

	(void)timeouts;
	q->asker->in_flight--;
	if (status != ARES_SUCCESS || !host || !host->h_name)
		return;
	q->addr->reverse = copy_name(host->h_name);
	q->asker->oom = q->asker->oom || !q->addr->reverse;
}

/* ---- questions ---------------------------------------------------------------------------------------------------- */

/* Until no more than `most` questions are in flight. */
static int wait_for(struct asker *a, size_t most)
{
	while (a->in_flight > most) {
		ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
		struct pollfd fds[ARES_GETSOCK_MAXNUM];
		unsigned int bits = (unsigned int)ares_getsock(a->channel, sockets, ARES_GETSOCK_MAXNUM);
		struct timeval most_time = { .tv_usec = 500000 }, room, *left;
		nfds_t n = 0;

		for (unsigned int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
			/* ARES_GETSOCK_WRITABLE() shifts into the sign bit. */
			short events = (short)((bits >> i & 1 ? POLLIN : 0) |
					       (bits >> (i + ARES_GETSOCK_MAXNUM) & 1 ? POLLOUT : 0));

			if (events)
				fds[n++] = (struct pollfd){ .fd = sockets[i], .events = events };
		}
		left = ares_timeout(a->channel, &most_time, &room);
		if (poll(fds, n, (int)(left->tv_sec * 1000 + left->tv_usec / 1000) + 1) < 0 && errno != EINTR)
			return -errno;
		for (nfds_t i = 0; i < n; i++)
			ares_process_fd(a->channel, fds[i].revents & ~POLLOUT ? fds[i].fd : ARES_SOCKET_BAD,
					fds[i].revents & POLLOUT ? fds[i].fd : ARES_SOCKET_BAD);
		ares_process_fd(a->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	}
	return 0;
}

static struct question *new_question(struct asker *a, struct resolve_name *name, struct resolve_addr *addr)
{
	struct question *q = calloc(1, sizeof(*q));

	if (q)
		*q = (struct question){ .asker = a, .name = name, .addr = addr };
	else
		a->oom = true;
	return q;
}

static int ask_names(struct asker *a, struct resolve_name *names, size_t count)
{
	static const struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC };
	int r = 0;

	for (size_t i = 0; i < count && r == 0 && !a->oom; i++) {
		struct question *q = new_question(a, &names[i], NULL);

		if (!q)
			break;
		a->in_flight++;
		ares_getaddrinfo(a->channel, names[i].name, NULL, &hints, on_addresses, q);
		r = wait_for(a, WINDOW);
	}
	return r < 0 ? r : wait_for(a, 0);
}

static void ask_reverse(struct asker *a, struct question *q)
{
	struct sockaddr_storage ss;

	a->in_flight++;
	addr_to_sockaddr(&q->addr->addr, 0, &ss);
	if (ss.ss_family == AF_INET)
		ares_gethostbyaddr(a->channel, &((struct sockaddr_in *)&ss)->sin_addr, 4, AF_INET, on_reverse, q);
	else
		ares_gethostbyaddr(a->channel, &((struct sockaddr_in6 *)&ss)->sin6_addr, 16, AF_INET6, on_reverse, q);
}

static int ask_addrs(struct asker *a, struct resolve_name *names, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < names[i].naddrs && r == 0 && !a->oom; k++) {
			struct question *q = new_question(a, &names[i], &names[i].addrs[k]);

			if (!q)
				break;
			ask_reverse(a, q);
			r = wait_for(a, WINDOW);
		}
	}
	return r < 0 ? r : wait_for(a, 0);
}

/* Names are whole and come from DNS alone: no search list, no hosts file, no aliases of the environment. */
static int open_channel(struct asker *a, const struct resolve_options *o)
{
	char lookups[] = "b";
	struct ares_options options = { .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
					.timeout = (int)o->timeout_ms,
					.tries = (int)o->tries,
					.lookups = lookups };
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_DOMAINS;
	int status = ares_init_options(&a->channel, &options, mask);

	if (status == ARES_SUCCESS && o->server) {
		status = ares_set_servers_ports_csv(a->channel, o->server);
		if (status != ARES_SUCCESS)
			return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
	}
	return status == ARES_SUCCESS ? 0 : status == ARES_ENOMEM ? -ENOMEM : -EIO;
}

int resolve_names(struct resolve_name *names, size_t count, const struct resolve_options *options)
{
	struct asker a = {};
	int r;

	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return -ENOMEM;
	r = open_channel(&a, options);
	if (r == 0)
		r = ask_names(&a, names, count);
	if (r == 0)
		r = ask_addrs(&a, names, count);
	if (a.channel)
		ares_destroy(a.channel);
	ares_library_cleanup();
	return r < 0 ? r : a.oom ? -ENOMEM : 0;
}

void resolve_clear(struct resolve_name *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < names[i].naliases; k++)
			free(names[i].aliases[k]);
		for (size_t k = 0; k < names[i].naddrs; k++)
			free(names[i].addrs[k].reverse);
		free(names[i].aliases);
		free(names[i].addrs);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * What gets out of a pod before its interface is closed depends on when this thread runs, and on who has the RTNL lock: one
 * read, one write (qdisc and filters, tc_close), for which the kernel takes that lock three times, and its answer. Niceness
 * does not help, because it counts only within the agent's own control group or session, and a node that starts many pods is
 * busy. So the thread is real-time, where it may be. It is idle but for announcements, hence cannot starve anybody. For the
 * lock nothing helps: so first of all another thread is told to put up a barrier, which does without (barrier.c).
 *
 * The kernel says of an announcement whether the interface was made now (all bits of ifi_change). Others are left alone: one of
 * them may be the node's own way out, which only the tables of discover.c tell. Mishaps are left alone too: discover.c finds
 * the interface without the program, closes it and says what is wrong. So it does with what an overflow has lost here.
 */
#include "agent/closer.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/barrier.h"
#include "agent/links.h"
#include "agent/nft.h"
#include "agent/rt_thread.h"
#include "agent/tc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define BUFFER	    65536
#define NEWS_BUFFER (8 << 20)
#define AWAIT_NSEC  NSEC_PER_SEC /* only where news were lost */
#define REMEMBERED  4096	 /* forgetting one costs discover.c a look at it */

struct closer {
	int from_pod;
	int to_pod;
	int end; /* eventfd: to be readable ends the thread */
	struct mnl_socket *news;
	struct tc_channel tc;
	struct barrier *barrier; /* NULL: this kernel cannot */
	struct rt_thread thread;
	pthread_mutex_t lock; /* of `wanted`; whoever holds it runs as the thread does, while that waits */
	struct config_interfaces wanted;
	pthread_cond_t looked;	   /* at one more, with `lock` */
	uint32_t seen[REMEMBERED]; /* has done with them, likewise */
	bool unheard; /* somebody waited in vain: news were lost, and the next need not wait until more come */
	_Atomic uint32_t closed[REMEMBERED]; /* at ifindex modulo their number */
	_Atomic uint64_t slowest;
	char buf[BUFFER] __attribute__((aligned(NLMSG_ALIGNTO)));
};

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static bool wants(struct closer *c, const struct link *link)
{
	bool ret;

	if (!link->veth || !link->elsewhere)
		return false;
	pthread_mutex_lock(&c->lock);
	ret = c->wanted.any || config_has_prefix(&c->wanted, link->name);
	pthread_mutex_unlock(&c->lock);
	return ret;
}

void closer_let_through(struct closer *c, uint32_t ifindex)
{
	if (c->barrier)
		barrier_take(c->barrier, ifindex);
}

static void close_one(struct closer *c, uint32_t ifindex, uint64_t start)
{
	uint64_t took;
	int r;

	if (c->barrier)
		barrier_put(c->barrier, ifindex);
	r = tc_close(&c->tc, ifindex, c->from_pod, c->to_pod);
	/* A filter of ours that is there already closes as well; an interface that is not needs nothing. */
	if (r == 0 || r == -EEXIST || r == -ENODEV)
		closer_let_through(c, ifindex);
	if (r < 0)
		return;
	atomic_store(&c->closed[ifindex % REMEMBERED], ifindex);
	took = clock_now() - start;
	if (took > atomic_load(&c->slowest))
		atomic_store(&c->slowest, took);
}

/* Also when it has gone since: whoever is behind with the news need not wait for one of the past. */
static void set_seen(struct closer *c, uint32_t ifindex)
{
	pthread_mutex_lock(&c->lock);
	c->seen[ifindex % REMEMBERED] = ifindex;
	c->unheard = false;
	pthread_cond_broadcast(&c->looked);
	pthread_mutex_unlock(&c->lock);
}

static int take_news(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *h = mnl_nlmsg_get_payload(nlh);
	uint32_t ifindex = (uint32_t)h->ifi_index;
	uint64_t start = clock_now();
	struct closer *c = data;
	struct link link = {};

	if (h->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	if (nlh->nlmsg_type == RTM_DELLINK) {
		closer_let_through(c, ifindex);
		atomic_compare_exchange_strong(&c->closed[ifindex % REMEMBERED], &ifindex, 0);
		return MNL_CB_OK;
	}
	if (nlh->nlmsg_type != RTM_NEWLINK || h->ifi_change != ~0u)
		return MNL_CB_OK;
	links_parse(nlh, &link);
	if (wants(c, &link))
		close_one(c, ifindex, start);
	set_seen(c, ifindex);
	return MNL_CB_OK;
}

/* An end of an interface may be among what was lost. */
static void forget_all(struct closer *c)
{
	for (size_t i = 0; i < REMEMBERED; i++)
		atomic_store(&c->closed[i], 0);
}

/* What has come, one message a read. */
static void read_news(struct closer *c)
{
	ssize_t n = mnl_socket_recvfrom(c->news, c->buf, sizeof(c->buf));

	if (n < 0 && errno == ENOBUFS)
		forget_all(c);
	if (n > 0)
		mnl_cb_run(c->buf, (size_t)n, 0, 0, take_news, c);
}

static void run(void *context)
{
	struct closer *c = context;
	struct pollfd fds[] = {
		{ .fd = mnl_socket_get_fd(c->news), .events = POLLIN },
		{ .fd = c->end, .events = POLLIN },
	};

	while (fds[1].revents == 0) {
		if (poll(fds, ARRAY_SIZE(fds), -1) > 0 && fds[0].revents)
			read_news(c);
	}
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int open_news(struct closer *c)
{
	int group = RTNLGRP_LINK, size = NEWS_BUFFER;

	c->news = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!c->news || mnl_socket_bind(c->news, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	setsockopt(mnl_socket_get_fd(c->news), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return mnl_socket_setsockopt(c->news, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0 ? -errno : 0;
}

static int open_barrier(struct closer *c)
{
	int r = barrier_open(&c->barrier);

	if (r >= 0 || !nft_is_lacking(r))
		return r;
	log_warning("this kernel's nf_tables has no chains for one interface (CONFIG_NF_TABLES_NETDEV): on a busy node "
		    "a new "
		    "pod may get more out before its interface is closed");
	return 0;
}

static int start(struct closer *c)
{
	int r = rt_thread_start(&c->thread, 0, run, c);

	if (r == 0 && !c->thread.realtime)
		log_warning(
			"interfaces are closed without real-time priority (it takes CAP_SYS_NICE, and with cgroup v1 "
			"a cpu.rt_runtime_us): on a busy node a new pod may get more out before it is");
	return r;
}

static void init_lock(struct closer *c)
{
	pthread_condattr_t clock;
	pthread_mutexattr_t attr;

	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&c->looked, &clock);
	pthread_condattr_destroy(&clock);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&c->lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

int closer_open(int from_pod, int to_pod, const struct config_interfaces *wanted, struct closer **ret)
{
	CLEANUP(closer_freep) struct closer *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	init_lock(c);
	c->from_pod = from_pod;
	c->to_pod = to_pod;
	c->end = eventfd(0, EFD_CLOEXEC);
	if (c->end < 0)
		return -errno;
	c->wanted = *wanted;
	r = tc_channel_open(&c->tc);
	if (r == 0)
		r = open_news(c);
	if (r == 0)
		r = open_barrier(c);
	if (r == 0)
		r = start(c);
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r;
}

void closer_freep(struct closer **c)
{
	if (!*c)
		return;
	if ((*c)->thread.running)
		eventfd_write((*c)->end, 1);
	rt_thread_join(&(*c)->thread);
	barrier_freep(&(*c)->barrier);
	if ((*c)->news)
		mnl_socket_close((*c)->news);
	tc_channel_close(&(*c)->tc);
	closep(&(*c)->end);
	pthread_cond_destroy(&(*c)->looked);
	pthread_mutex_destroy(&(*c)->lock);
	free(*c);
	*c = NULL;
}

void closer_configure(struct closer *c, const struct config_interfaces *wanted)
{
	pthread_mutex_lock(&c->lock);
	c->wanted = *wanted;
	pthread_mutex_unlock(&c->lock);
}

void closer_await(struct closer *c, uint32_t ifindex)
{
	uint64_t end = clock_now() + AWAIT_NSEC;
	const struct timespec until = { (time_t)(end / NSEC_PER_SEC), (long)(end % NSEC_PER_SEC) };
	int r = 0;

	pthread_mutex_lock(&c->lock);
	while (r == 0 && !c->unheard && c->seen[ifindex % REMEMBERED] != ifindex)
		r = pthread_cond_timedwait(&c->looked, &c->lock, &until);
	c->unheard |= r != 0;
	pthread_mutex_unlock(&c->lock);
}

bool closer_has(const struct closer *c, uint32_t ifindex)
{
	return atomic_load(&c->closed[ifindex % REMEMBERED]) == ifindex;
}

uint64_t closer_without_barrier(const struct closer *c)
{
	return c->barrier ? barrier_failed(c->barrier) : 0;
}

uint64_t closer_slowest_barrier(const struct closer *c)
{
	return c->barrier ? barrier_slowest(c->barrier) : 0;
}

uint64_t closer_slowest(const struct closer *c)
{
	return atomic_load(&c->slowest);
}

bool closer_is_realtime(const struct closer *c)
{
	return c->thread.realtime;
}

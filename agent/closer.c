/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * What gets out of a pod before its interface is closed depends on when this thread runs, and on little else: one read, one
 * write (qdisc and filters, tc_close) and its answer. Niceness does not help, because it counts only within the agent's own
 * control group or session, and a node that starts many pods is busy. So the thread is real-time, where it may be. It is idle
 * but for announcements, hence cannot starve anybody.
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
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "agent/links.h"
#include "agent/privs.h"
#include "agent/tc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define BUFFER	       65536
#define NEWS_BUFFER    (8 << 20)
#define REMEMBERED     4096 /* forgetting one costs discover.c a look at it */
#define NICE_OTHERWISE (-20)

struct closer {
	int from_pod;
	int to_pod;
	int end; /* eventfd: to be readable ends the thread */
	struct mnl_socket *news;
	struct tc_channel tc;
	pthread_t thread;
	bool running;
	sem_t ready;
	int start_error;
	bool realtime;
	pthread_mutex_t lock; /* of `wanted`; whoever holds it runs as the thread does, while that waits */
	struct config_interfaces wanted;
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

static void close_one(struct closer *c, uint32_t ifindex, uint64_t start)
{
	uint64_t took;

	if (tc_close(&c->tc, ifindex, c->from_pod, c->to_pod) < 0)
		return;
	atomic_store(&c->closed[ifindex % REMEMBERED], ifindex);
	took = clock_now() - start;
	if (took > atomic_load(&c->slowest))
		atomic_store(&c->slowest, took);
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
		atomic_compare_exchange_strong(&c->closed[ifindex % REMEMBERED], &ifindex, 0);
		return MNL_CB_OK;
	}
	if (nlh->nlmsg_type != RTM_NEWLINK || h->ifi_change != ~0u)
		return MNL_CB_OK;
	links_parse(nlh, &link);
	if (wants(c, &link))
		close_one(c, ifindex, start);
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

static void *run(void *data)
{
	const struct sched_param lowest = { .sched_priority = sched_get_priority_min(SCHED_FIFO) };
	struct closer *c = data;
	struct pollfd fds[] = {
		{ .fd = mnl_socket_get_fd(c->news), .events = POLLIN },
		{ .fd = c->end, .events = POLLIN },
	};

	c->realtime = pthread_setschedparam(pthread_self(), SCHED_FIFO, &lowest) == 0;
	if (!c->realtime)
		setpriority(PRIO_PROCESS, 0, NICE_OTHERWISE);
	/* Capabilities are each thread's own. */
	c->start_error = privs_drop();
	sem_post(&c->ready);
	while (c->start_error == 0 && fds[1].revents == 0) {
		if (poll(fds, ARRAY_SIZE(fds), -1) > 0 && fds[0].revents)
			read_news(c);
	}
	return NULL;
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

/* Signals are the main thread's. */
static int start(struct closer *c)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&c->thread, NULL, run, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0)
		return r;
	c->running = true;
	while (sem_wait(&c->ready) < 0)
		continue;
	if (c->start_error == 0 && !c->realtime)
		log_warning(
			"interfaces are closed without real-time priority (it takes CAP_SYS_NICE, and with cgroup v1 "
			"a cpu.rt_runtime_us): on a busy node a new pod may get more out before it is");
	return c->start_error;
}

static void init_lock(struct closer *c)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&c->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	sem_init(&c->ready, 0, 0);
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
		r = start(c);
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r;
}

void closer_freep(struct closer **c)
{
	if (!*c)
		return;
	if ((*c)->running) {
		eventfd_write((*c)->end, 1);
		pthread_join((*c)->thread, NULL);
	}
	if ((*c)->news)
		mnl_socket_close((*c)->news);
	tc_channel_close(&(*c)->tc);
	closep(&(*c)->end);
	pthread_mutex_destroy(&(*c)->lock);
	sem_destroy(&(*c)->ready);
	free(*c);
	*c = NULL;
}

void closer_configure(struct closer *c, const struct config_interfaces *wanted)
{
	pthread_mutex_lock(&c->lock);
	c->wanted = *wanted;
	pthread_mutex_unlock(&c->lock);
}

bool closer_has(const struct closer *c, uint32_t ifindex)
{
	return atomic_load(&c->closed[ifindex % REMEMBERED]) == ifindex;
}

uint64_t closer_slowest(const struct closer *c)
{
	return atomic_load(&c->slowest);
}

bool closer_is_realtime(const struct closer *c)
{
	return c->realtime;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * As nft would show it:
 *
 *	table netdev sluice-barrier {
 *		flags owner
 *		chain pod-17 {
 *			type filter hook ingress device "eni97a39772326" priority 0; policy drop;
 *		}
 *	}
 *
 * A program gets on an interface under the RTNL lock, one for all network namespaces of a machine: whoever makes, moves or
 * deletes interfaces holds it, waits under it for the end of an RCU grace period, and is not real-time. A chain gets there under
 * nf_tables' own lock, one for each network namespace. That one may be held as well (kube-proxy writes its rules under it), so
 * this is a thread besides the closing one (closer.c): the pod is shut in by whichever is first.
 *
 * The chain sees what programs have let pass. So it goes as soon as they are there, and stays as long as they cannot be put.
 *
 * The table is its socket's: nobody else can change it ("flush ruleset" does not meet it), and the kernel takes it away with
 * the agent, so that none is left of an agent that died between the two steps. What would be left is a pod that nothing can
 * open; the next agent closes what it finds.
 */
#include "agent/barrier.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/nft.h"
#include "agent/rt_thread.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define TABLE	   "sluice-barrier"
#define REMEMBERED 4096
#define QUEUE	   (1 << 20) /* of requests, bytes */
#define NAME_SIZE  24
#define TRIES	   3
#define PRIORITY   1 /* above the closing thread's: it takes less long */

struct request {
	uint64_t asked;
	uint32_t ifindex;
	bool take;
};

struct barrier {
	struct nlsock *nft;
	struct rt_thread thread;
	int requests[2];		   /* a pipe: that it ends ends the thread */
	_Atomic uint32_t over[REMEMBERED]; /* need none any more, at ifindex modulo their number */
	uint32_t there[REMEMBERED];	   /* have one, likewise; the thread's */
	_Atomic uint64_t slowest;
	_Atomic uint64_t failed;
	struct nft_batch batch;
};

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static void add_table(struct nft_batch *batch)
{
	struct nlmsghdr *nlh = nft_put(nft_batch_at(batch), NFT_MSG_NEWTABLE, NLM_F_CREATE, NFPROTO_NETDEV);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, TABLE);
	nft_put_be32(nlh, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
	nft_batch_add(batch, nlh);
}

static struct nlmsghdr *put_chain_name(struct nft_batch *batch, uint16_t type, uint16_t flags, uint32_t ifindex)
{
	struct nlmsghdr *nlh = nft_put(nft_batch_at(batch), type, flags, NFPROTO_NETDEV);
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), "pod-%u", ifindex);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, TABLE);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, name);
	return nlh;
}

static void add_chain(struct nft_batch *batch, uint32_t ifindex, const char *interface)
{
	struct nlmsghdr *nlh = put_chain_name(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE, ifindex);
	struct nlattr *hook = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);

	nft_put_be32(nlh, NFTA_HOOK_HOOKNUM, NF_NETDEV_INGRESS);
	nft_put_be32(nlh, NFTA_HOOK_PRIORITY, 0);
	mnl_attr_put_strz(nlh, NFTA_HOOK_DEV, interface);
	mnl_attr_nest_end(nlh, hook);
	nft_put_be32(nlh, NFTA_CHAIN_POLICY, NF_DROP);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "filter");
	nft_batch_add(batch, nlh);
}

/* The table too, every time: at the agent's start that of one before it may still have been there. */
static int make(struct barrier *b, uint32_t ifindex, const char *interface)
{
	nft_batch_begin(&b->batch, b->nft);
	add_table(&b->batch);
	if (interface)
		add_chain(&b->batch, ifindex, interface);
	return nft_batch_send(&b->batch, b->nft);
}

/* An interface that went took its chain with it. */
static int unmake(struct barrier *b, uint32_t ifindex)
{
	int r;

	nft_batch_begin(&b->batch, b->nft);
	nft_batch_add(&b->batch, put_chain_name(&b->batch, NFT_MSG_DELCHAIN, 0, ifindex));
	r = nft_batch_send(&b->batch, b->nft);
	return r == -ENOENT ? 0 : r;
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static bool is_over(const struct barrier *b, uint32_t ifindex)
{
	return atomic_load(&b->over[ifindex % REMEMBERED]) == ifindex;
}

/*
 * Mishaps are counted, no more: the programs are on their way in any case. But what fails takes long (nf_tables waits for the
 * end of a grace period, and meanwhile no interface can be made): so what is not there is not deleted. A chain that cannot be
 * taken away, though it may still be there, keeps its pod shut until the agent ends: it is tried again, then told.
 */
static void serve_take(struct barrier *b, uint32_t ifindex)
{
	uint32_t *there = &b->there[ifindex % REMEMBERED];
	int r = -1;

	if (*there != ifindex)
		return;
	for (int i = 0; i < TRIES && r < 0; i++)
		r = unmake(b, ifindex);
	if (r < 0)
		log_error("interface %u: its chain in %s cannot be taken away, and drops what it sends: %s", ifindex,
			  TABLE, strerror(-r));
	*there = 0;
}

static void serve_put(struct barrier *b, const struct request *request)
{
	uint32_t *there = &b->there[request->ifindex % REMEMBERED];
	char name[IF_NAMESIZE];
	uint64_t took;

	/* Since 6.16 a chain may be for an interface that is not there, and is on whatever gets its name. */
	if (is_over(b, request->ifindex) || !if_indextoname(request->ifindex, name))
		return;
	if (*there || make(b, request->ifindex, name) < 0) {
		atomic_fetch_add(&b->failed, 1);
		return;
	}
	*there = request->ifindex;
	took = clock_now() - request->asked;
	if (took > atomic_load(&b->slowest))
		atomic_store(&b->slowest, took);
}

static void run(void *context)
{
	struct barrier *b = context;
	struct request request;

	/* A pipe keeps together what is written in one piece. */
	while (read(b->requests[0], &request, sizeof(request)) == sizeof(request)) {
		if (request.take)
			serve_take(b, request.ifindex);
		else
			serve_put(b, &request);
	}
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

int barrier_open(struct barrier **ret)
{
	CLEANUP(barrier_freep) struct barrier *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->requests[0] = b->requests[1] = -1;
	r = nft_open(&b->nft);
	if (r == 0)
		r = make(b, 0, NULL);
	if (r < 0 && r != -EPERM)
		return r;
	if (pipe2(b->requests, O_CLOEXEC) < 0 || fcntl(b->requests[1], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	fcntl(b->requests[1], F_SETPIPE_SZ, QUEUE);
	r = rt_thread_start(&b->thread, PRIORITY, run, b);
	if (r == 0)
		*ret = TAKE_PTR(b);
	return r;
}

void barrier_freep(struct barrier **b)
{
	if (!*b)
		return;
	closep(&(*b)->requests[1]);
	rt_thread_join(&(*b)->thread);
	closep(&(*b)->requests[0]);
	nlsock_freep(&(*b)->nft);
	free(*b);
	*b = NULL;
}

void barrier_put(struct barrier *b, uint32_t ifindex)
{
	const struct request request = { .asked = clock_now(), .ifindex = ifindex };

	atomic_compare_exchange_strong(&b->over[ifindex % REMEMBERED], &ifindex, 0);
	/* Where so much is asked for already, the programs are there before. */
	if (write(b->requests[1], &request, sizeof(request)) < 0)
		atomic_fetch_add(&b->failed, 1);
}

void barrier_take(struct barrier *b, uint32_t ifindex)
{
	const struct request request = { .ifindex = ifindex, .take = true };
	struct pollfd fd = { .fd = b->requests[1], .events = POLLOUT };

	atomic_store(&b->over[ifindex % REMEMBERED], ifindex);
	while (write(b->requests[1], &request, sizeof(request)) < 0 && (errno == EAGAIN || errno == EINTR))
		poll(&fd, 1, -1);
}

uint64_t barrier_slowest(const struct barrier *b)
{
	return atomic_load(&b->slowest);
}

uint64_t barrier_failed(const struct barrier *b)
{
	return atomic_load(&b->failed);
}

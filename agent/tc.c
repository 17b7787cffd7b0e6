/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Filters run by priority, and ours has the lowest number there is. Within one priority the one added last runs first, so
 * whoever comes later at priority 1 gets before us, and TC_ACT_OK there ends it (hazard 4). A filter cannot be moved, only
 * added: a second one of ours, under another handle, goes in front, and then the first is deleted. At no moment is there
 * none.
 *
 * libbpf has no call that lists a hook's filters; the dump is by libmnl.
 */
#include "agent/tc.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "bpf/abi.h"

#define BUFFER 16384

static void socket_closep(struct mnl_socket **s)
{
	if (*s)
		mnl_socket_close(*s);
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static const struct nlattr *find_attr(const struct nlmsghdr *nlh, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct tcmsg))
	{
		if (mnl_attr_get_type(attr) == type)
			return attr;
	}
	return NULL;
}

static uint32_t filter_program(const struct nlmsghdr *nlh)
{
	const struct nlattr *options = find_attr(nlh, TCA_OPTIONS), *attr;

	if (!options)
		return 0;
	mnl_attr_for_each_nested(attr, options)
	{
		if (mnl_attr_get_type(attr) == TCA_BPF_ID && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			return mnl_attr_get_u32(attr);
	}
	return 0;
}

static bool is_ours(const struct nlmsghdr *nlh)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *kind = find_attr(nlh, TCA_KIND);

	return TC_H_MAJ(tc->tcm_info) >> 16 == SLUICE_TC_PRIORITY &&
	       (tc->tcm_handle == SLUICE_TC_HANDLE || tc->tcm_handle == SLUICE_TC_HANDLE_2) && kind &&
	       mnl_attr_validate(kind, MNL_TYPE_NUL_STRING) >= 0 && strcmp(mnl_attr_get_str(kind), "bpf") == 0;
}

struct search {
	struct tc_place place;
	unsigned int before; /* filters seen so far */
};

static int take_filter(const struct nlmsghdr *nlh, void *data)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *chain = find_attr(nlh, TCA_CHAIN);
	struct search *s = data;

	/* Handle 0 is the head of a priority, not a filter; other chains are entered by an action of chain 0. */
	if (nlh->nlmsg_type != RTM_NEWTFILTER || tc->tcm_handle == 0 ||
	    (chain && mnl_attr_validate(chain, MNL_TYPE_U32) >= 0 && mnl_attr_get_u32(chain) != 0))
		return MNL_CB_OK;
	if (is_ours(nlh) && s->place.handle == 0) {
		s->place = (struct tc_place){
			.handle = tc->tcm_handle,
			.program = filter_program(nlh),
			.first = s->before == 0,
		};
	}
	s->before++;
	return MNL_CB_OK;
}

static uint32_t parent_of(enum tc_hook hook)
{
	return TC_H_MAKE(TC_H_CLSACT, hook == TC_HOOK_INGRESS ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

/* Priorities come in their order and, within one, filters in the order in which they run. */
static int dump_filters(struct mnl_socket *socket, uint32_t ifindex, enum tc_hook hook, struct search *s)
{
	char buf[BUFFER];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct tcmsg *tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));
	int r = MNL_CB_OK;

	nlh->nlmsg_type = RTM_GETTFILTER;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = 1;
	tc->tcm_ifindex = (int)ifindex;
	tc->tcm_parent = parent_of(hook);
	if (mnl_socket_sendto(socket, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (r > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(socket, buf, sizeof(buf));

		if (n < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(socket), take_filter, s);
	}
	return r < 0 ? -errno : 0;
}

int tc_find(uint32_t ifindex, enum tc_hook hook, struct tc_place *ret)
{
	CLEANUP(socket_closep) struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct search s = {};
	int r;

	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	r = dump_filters(socket, ifindex, hook, &s);
	/* No such interface, or no clsact on it. */
	if (r < 0 && r != -EINVAL && r != -ENODEV && r != -ENOENT && r != -EOPNOTSUPP)
		return r;
	*ret = s.place;
	return 0;
}

/* ---- putting ----------------------------------------------------------------------------------------------------- */

static enum bpf_tc_attach_point point_of(enum tc_hook hook)
{
	return hook == TC_HOOK_INGRESS ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

static int put(uint32_t ifindex, enum tc_hook hook, int program, uint32_t handle)
{
	LIBBPF_OPTS(bpf_tc_hook, where, .ifindex = (int)ifindex, .attach_point = point_of(hook));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = SLUICE_TC_PRIORITY, .prog_fd = program,
		    .flags = BPF_TC_F_REPLACE);

	return bpf_tc_attach(&where, &opts);
}

static void take_away(uint32_t ifindex, enum tc_hook hook, uint32_t handle)
{
	LIBBPF_OPTS(bpf_tc_hook, where, .ifindex = (int)ifindex, .attach_point = point_of(hook));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = SLUICE_TC_PRIORITY);

	bpf_tc_detach(&where, &opts);
}

static struct nlmsghdr *begin(void *buf, uint16_t type, uint32_t seq, const struct tcmsg *tc)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	nlh->nlmsg_seq = seq;
	memcpy(mnl_nlmsg_put_extra_header(nlh, sizeof(*tc)), tc, sizeof(*tc));
	return nlh;
}

enum close_step {
	CLOSE_QDISC,
	CLOSE_FROM,
	CLOSE_TO,
	CLOSE_STEPS,
};

static size_t write_qdisc(char *buf, uint32_t seq, uint32_t ifindex)
{
	const struct tcmsg tc = {
		.tcm_ifindex = (int)ifindex,
		.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
		.tcm_parent = TC_H_CLSACT,
	};
	struct nlmsghdr *nlh = begin(buf, RTM_NEWQDISC, seq, &tc);

	mnl_attr_put_strz(nlh, TCA_KIND, "clsact");
	return nlh->nlmsg_len;
}

static size_t write_filter(char *buf, uint32_t seq, uint32_t ifindex, enum tc_hook hook, int program)
{
	const struct tcmsg tc = {
		.tcm_ifindex = (int)ifindex,
		.tcm_handle = SLUICE_TC_HANDLE,
		.tcm_parent = parent_of(hook),
		.tcm_info = TC_H_MAKE(SLUICE_TC_PRIORITY << 16, htons(ETH_P_ALL)),
	};
	struct nlmsghdr *nlh = begin(buf, RTM_NEWTFILTER, seq, &tc);
	struct nlattr *options;

	mnl_attr_put_strz(nlh, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(nlh, TCA_OPTIONS);
	mnl_attr_put_u32(nlh, TCA_BPF_FD, (uint32_t)program);
	mnl_attr_put_strz(nlh, TCA_BPF_NAME, hook == TC_HOOK_INGRESS ? "from_pod" : "to_pod");
	mnl_attr_put_u32(nlh, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(nlh, options);
	return nlh->nlmsg_len;
}

/* The answers to all steps, the first of which has number `seq`. */
static int read_answers(struct mnl_socket *socket, uint32_t seq, int answers[CLOSE_STEPS])
{
	char buf[BUFFER];
	unsigned int left = CLOSE_STEPS;

	while (left > 0) {
		ssize_t n = mnl_socket_recvfrom(socket, buf, sizeof(buf));
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
		int len = (int)n;

		if (n < 0 && errno != EINTR)
			return -errno;
		for (; n > 0 && mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			const struct nlmsgerr *answer = mnl_nlmsg_get_payload(nlh);

			/* What another request got is no answer to this one. */
			if (nlh->nlmsg_type != NLMSG_ERROR || nlh->nlmsg_seq - seq >= CLOSE_STEPS)
				continue;
			answers[nlh->nlmsg_seq - seq] = answer->error;
			left--;
		}
	}
	return 0;
}

int tc_close(struct tc_channel *c, uint32_t ifindex, int from_pod, int to_pod)
{
	int answers[CLOSE_STEPS];
	char buf[1024];
	size_t len;
	int r;

	c->seq += CLOSE_STEPS;
	len = write_qdisc(buf, c->seq + CLOSE_QDISC, ifindex);
	len += write_filter(buf + len, c->seq + CLOSE_FROM, ifindex, TC_HOOK_INGRESS, from_pod);
	len += write_filter(buf + len, c->seq + CLOSE_TO, ifindex, TC_HOOK_EGRESS, to_pod);
	if (mnl_socket_sendto(c->socket, buf, len) < 0)
		return -errno;
	r = read_answers(c->socket, c->seq, answers);
	if (r < 0)
		return r;
	if (answers[CLOSE_QDISC] < 0 && answers[CLOSE_QDISC] != -EEXIST)
		return answers[CLOSE_QDISC];
	return answers[CLOSE_FROM] < 0 ? answers[CLOSE_FROM] : answers[CLOSE_TO];
}

int tc_channel_open(struct tc_channel *c)
{
	c->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	return c->socket && mnl_socket_bind(c->socket, 0, MNL_SOCKET_AUTOPID) == 0 ? 0 : -errno;
}

void tc_channel_close(struct tc_channel *c)
{
	socket_closep(&c->socket);
	c->socket = NULL;
}

/* 1: made now, so nothing is on it; 0: was there. */
static int make_qdisc(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	libbpf_print_fn_t print = libbpf_set_print(NULL); /* that it is there already is no mishap */
	int r = bpf_tc_hook_create(&hook);

	libbpf_set_print(print);
	return r == 0 ? 1 : r == -EEXIST ? 0 : r;
}

int tc_put(uint32_t ifindex, enum tc_hook hook, int program)
{
	struct tc_place there = {};
	int r = make_qdisc(ifindex);

	if (r == 0)
		r = tc_find(ifindex, hook, &there);
	if (r < 0)
		return r;
	if (there.handle == 0 || there.first)
		return put(ifindex, hook, program, there.handle ? there.handle : SLUICE_TC_HANDLE);
	r = put(ifindex, hook, program, there.handle == SLUICE_TC_HANDLE ? SLUICE_TC_HANDLE_2 : SLUICE_TC_HANDLE);
	if (r == 0)
		take_away(ifindex, hook, there.handle);
	return r;
}

void tc_remove(uint32_t ifindex, enum tc_hook hook)
{
	struct tc_place there = {};

	/* Both, if a move was cut off between them. */
	while (tc_find(ifindex, hook, &there) == 0 && there.handle) {
		uint32_t handle = there.handle;

		take_away(ifindex, hook, handle);
		if (tc_find(ifindex, hook, &there) < 0 || there.handle == handle)
			return;
	}
}

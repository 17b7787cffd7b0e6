/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sluice-cni/filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bpf/abi.h"

struct request {
	struct nlmsghdr header;
	struct tcmsg tc;
	char attrs[256];
};

static void begin(struct request *r, uint16_t type, uint16_t flags, uint32_t ifindex)
{
	memset(r, 0, sizeof(*r));
	r->header.nlmsg_len = NLMSG_LENGTH(sizeof(r->tc));
	r->header.nlmsg_type = type;
	r->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	r->tc.tcm_ifindex = (int)ifindex;
}

/* The attributes below fit by far. */
static struct rtattr *put(struct request *r, uint16_t type, const void *data, size_t len)
{
	struct rtattr *attr = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->header.nlmsg_len));

	attr->rta_type = type;
	attr->rta_len = (uint16_t)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(attr), data, len);
	r->header.nlmsg_len = NLMSG_ALIGN(r->header.nlmsg_len) + (uint32_t)RTA_ALIGN(attr->rta_len);
	return attr;
}

static int ask(struct request *r)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	char buf[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	ssize_t n;

	if (fd < 0 || send(fd, r, r->header.nlmsg_len, 0) < 0)
		return -errno;
	/* An answer to a look-up comes before its acknowledgement. */
	do {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0)
			return -errno;
		if (!NLMSG_OK(h, (size_t)n))
			return -EBADMSG;
	} while (h->nlmsg_type != NLMSG_ERROR);
	return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static int make_qdisc(uint32_t ifindex)
{
	struct request r;
	int err;

	begin(&r, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex);
	r.tc.tcm_parent = TC_H_CLSACT;
	r.tc.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	put(&r, TCA_KIND, "clsact", sizeof("clsact"));
	err = ask(&r);
	return err == -EEXIST ? 0 : err;
}

static void at_our_place(struct request *r, uint32_t handle)
{
	r->tc.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	r->tc.tcm_handle = handle;
	r->tc.tcm_info = TC_H_MAKE((uint32_t)SLUICE_TC_PRIORITY << 16, htons(ETH_P_ALL));
	put(r, TCA_KIND, "bpf", sizeof("bpf"));
}

static bool is_at(uint32_t ifindex, uint32_t handle)
{
	struct request r;

	begin(&r, RTM_GETTFILTER, 0, ifindex);
	at_our_place(&r, handle);
	return ask(&r) == 0;
}

bool filter_is_there(uint32_t ifindex)
{
	return is_at(ifindex, SLUICE_TC_HANDLE) || is_at(ifindex, SLUICE_TC_HANDLE_2);
}

int filter_put(uint32_t ifindex, int program)
{
	static const char name[] = "sluice_deny";
	uint32_t flags = TCA_BPF_FLAG_ACT_DIRECT, fd = (uint32_t)program;
	struct rtattr *options;
	struct request r;
	int err = make_qdisc(ifindex);

	if (err < 0)
		return err;
	if (filter_is_there(ifindex))
		return 0;
	begin(&r, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, ifindex);
	at_our_place(&r, SLUICE_TC_HANDLE);
	options = put(&r, TCA_OPTIONS, NULL, 0);
	put(&r, TCA_BPF_FD, &fd, sizeof(fd));
	put(&r, TCA_BPF_NAME, name, sizeof(name));
	put(&r, TCA_BPF_FLAGS, &flags, sizeof(flags));
	options->rta_len = (uint16_t)((char *)&r + r.header.nlmsg_len - (char *)options);
	err = ask(&r);
	return err == -EEXIST ? 0 : err; /* the agent was quicker */
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * As nft would show it:
 *
 *	table inet sluice {
 *		chain queries {
 *			type filter hook prerouting priority raw; policy accept;
 *			meta mark & 0x1000 != 0 th dport 53 notrack
 *		}
 *		chain answers {
 *			type filter hook output priority raw; policy accept;
 *			oif != 1 meta mark & 0x2000 != 0 th sport 53 notrack
 *		}
 *	}
 *
 * Mark and port together: another's use of the bit costs it nothing. By loopback (oif 1) the proxy speaks to cgroup endpoints,
 * whose questions nothing has marked: both ways are tracked there, or a firewall that goes by the state would see half.
 *
 * Each object is written once, as the message that makes it, and what the kernel shows is compared with that message: every
 * attribute of ours must be there with our value, what the kernel adds is its own business. So two agents (`bpfctl run` has one
 * of its own) agree on what they find and do not replace each other's.
 */
#include "agent/notrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/nft.h"
#include "base/cleanup.h"
#include "bpf/abi.h"

#define TABLE	    "sluice"
#define DNS_PORT    53
#define LOOPBACK    1
#define PORT_SOURCE 0 /* where TCP and UDP both have it */
#define PORT_DEST   2
#define PORT_SIZE   2

struct notrack {
	struct nlsock *nft;
	uint32_t generation; /* of all tables, when ours was last seen whole; 0: never */
};

/* What distinguishes the two chains; `port` is the offset in the transport header. */
struct chain {
	const char *name;
	uint32_t hook;
	uint32_t mark;
	uint32_t port;
	bool not_loopback;
};

static const struct chain chains[] = {
	{ "queries", NF_INET_PRE_ROUTING, SLUICE_FWMARK, PORT_DEST, false },
	{ "answers", NF_INET_LOCAL_OUT, SLUICE_SOCK_MARK, PORT_SOURCE, true },
};

/* ---- life -------------------------------------------------------------------------------------------------------- */

void notrack_freep(struct notrack **n)
{
	if (*n)
		nlsock_freep(&(*n)->nft);
	free(*n);
	*n = NULL;
}

int notrack_open(struct notrack **ret)
{
	CLEANUP(notrack_freep) struct notrack *n = calloc(1, sizeof(*n));
	int r = n ? nft_open(&n->nft) : -ENOMEM;

	if (r == 0)
		*ret = TAKE_PTR(n);
	return r;
}

bool notrack_is_lacking(int error)
{
	return nft_is_lacking(error);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static struct nlmsghdr *put_message(void *buf, uint16_t type, uint16_t flags)
{
	return nft_put(buf, type, flags, NFPROTO_INET);
}

static void put_value(struct nlmsghdr *nlh, uint16_t type, const void *value, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, type);

	mnl_attr_put(nlh, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(nlh, nest);
}

/* ---- expressions: what comes between nest_start and nest_end says the rest of it --------------------------------- */

struct expression {
	struct nlattr *element, *data;
};

static struct expression begin(struct nlmsghdr *nlh, const char *name)
{
	struct expression e = { .element = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM) };

	mnl_attr_put_strz(nlh, NFTA_EXPR_NAME, name);
	e.data = mnl_attr_nest_start(nlh, NFTA_EXPR_DATA);
	return e;
}

static void end(struct nlmsghdr *nlh, struct expression e)
{
	mnl_attr_nest_end(nlh, e.data);
	mnl_attr_nest_end(nlh, e.element);
}

static void put_meta(struct nlmsghdr *nlh, uint32_t key)
{
	struct expression e = begin(nlh, "meta");

	nft_put_be32(nlh, NFTA_META_DREG, NFT_REG_1);
	nft_put_be32(nlh, NFTA_META_KEY, key);
	end(nlh, e);
}

static void put_compare(struct nlmsghdr *nlh, uint32_t op, const void *value, size_t len)
{
	struct expression e = begin(nlh, "cmp");

	nft_put_be32(nlh, NFTA_CMP_SREG, NFT_REG_1);
	nft_put_be32(nlh, NFTA_CMP_OP, op);
	put_value(nlh, NFTA_CMP_DATA, value, len);
	end(nlh, e);
}

static void put_mask(struct nlmsghdr *nlh, uint32_t mask)
{
	const uint32_t zero = 0;
	struct expression e = begin(nlh, "bitwise");

	nft_put_be32(nlh, NFTA_BITWISE_SREG, NFT_REG_1);
	nft_put_be32(nlh, NFTA_BITWISE_DREG, NFT_REG_1);
	nft_put_be32(nlh, NFTA_BITWISE_LEN, sizeof(mask));
	put_value(nlh, NFTA_BITWISE_MASK, &mask, sizeof(mask));
	put_value(nlh, NFTA_BITWISE_XOR, &zero, sizeof(zero));
	end(nlh, e);
}

static void put_port(struct nlmsghdr *nlh, uint32_t offset)
{
	struct expression e = begin(nlh, "payload");

	nft_put_be32(nlh, NFTA_PAYLOAD_DREG, NFT_REG_1);
	nft_put_be32(nlh, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
	nft_put_be32(nlh, NFTA_PAYLOAD_OFFSET, offset);
	nft_put_be32(nlh, NFTA_PAYLOAD_LEN, PORT_SIZE);
	end(nlh, e);
}

static void put_notrack(struct nlmsghdr *nlh)
{
	struct nlattr *element = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);

	mnl_attr_put_strz(nlh, NFTA_EXPR_NAME, "notrack");
	mnl_attr_nest_end(nlh, element);
}

/* ---- the objects --------------------------------------------------------------------------------------------------- */

/* No more than its name: to ask for it, to delete it. */
static struct nlmsghdr *put_table_name(void *buf, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = put_message(buf, type, flags);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, TABLE);
	return nlh;
}

static struct nlmsghdr *put_table(void *buf)
{
	struct nlmsghdr *nlh = put_table_name(buf, NFT_MSG_NEWTABLE, NLM_F_CREATE);

	nft_put_be32(nlh, NFTA_TABLE_FLAGS, 0); /* not dormant */
	return nlh;
}

static struct nlmsghdr *put_chain(void *buf, const struct chain *c)
{
	struct nlmsghdr *nlh = put_message(buf, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	struct nlattr *hook;

	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, TABLE);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, c->name);
	hook = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	nft_put_be32(nlh, NFTA_HOOK_HOOKNUM, c->hook);
	nft_put_be32(nlh, NFTA_HOOK_PRIORITY, (uint32_t)NF_IP_PRI_RAW); /* before conntrack looks, at -200 */
	mnl_attr_nest_end(nlh, hook);
	nft_put_be32(nlh, NFTA_CHAIN_POLICY, NF_ACCEPT);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "filter");
	return nlh;
}

static struct nlmsghdr *put_rule(void *buf, const struct chain *c)
{
	const uint32_t loopback = LOOPBACK, zero = 0;
	const uint16_t port = htons(DNS_PORT);
	struct nlmsghdr *nlh = put_message(buf, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	struct nlattr *list;

	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, c->name);
	list = mnl_attr_nest_start(nlh, NFTA_RULE_EXPRESSIONS);
	if (c->not_loopback) {
		put_meta(nlh, NFT_META_OIF);
		put_compare(nlh, NFT_CMP_NEQ, &loopback, sizeof(loopback));
	}
	put_meta(nlh, NFT_META_MARK);
	put_mask(nlh, c->mark);
	put_compare(nlh, NFT_CMP_NEQ, &zero, sizeof(zero));
	put_port(nlh, c->port);
	put_compare(nlh, NFT_CMP_EQ, &port, sizeof(port));
	put_notrack(nlh);
	mnl_attr_nest_end(nlh, list);
	return nlh;
}

/* ---- comparing ------------------------------------------------------------------------------------------------------- */

struct attributes {
	const void *data;
	size_t len;
};

static struct attributes attributes_of(const struct nlmsghdr *nlh)
{
	return (struct attributes){ mnl_nlmsg_get_payload_offset(nlh, sizeof(struct nfgenmsg)),
				    mnl_nlmsg_get_payload_len(nlh) - sizeof(struct nfgenmsg) };
}

/* The `nth` of its type, from 0, or NULL. */
static const struct nlattr *nth_attr(struct attributes in, uint16_t type, unsigned int nth)
{
	const struct nlattr *attr;

	mnl_attr_for_each_payload(in.data, in.len)
	{
		if (mnl_attr_get_type(attr) == type && nth-- == 0)
			return attr;
	}
	return NULL;
}

static bool holds(struct attributes got, struct attributes wanted, unsigned int depth);

static bool attr_holds(const struct nlattr *got, const struct nlattr *wanted, unsigned int depth)
{
	size_t len = mnl_attr_get_payload_len(wanted);

	if (wanted->nla_type & NLA_F_NESTED)
		return holds((struct attributes){ mnl_attr_get_payload(got), mnl_attr_get_payload_len(got) },
			     (struct attributes){ mnl_attr_get_payload(wanted), len }, depth + 1);
	return mnl_attr_get_payload_len(got) == len &&
	       memcmp(mnl_attr_get_payload(got), mnl_attr_get_payload(wanted), len) == 0;
}

/* Is every attribute of `wanted` in `got`, and each type as often? Ours are five levels deep. */
static bool holds(struct attributes got, struct attributes wanted, unsigned int depth)
{
	const struct nlattr *attr;

	mnl_attr_for_each_payload(wanted.data, wanted.len)
	{
		uint16_t type = mnl_attr_get_type(attr);
		unsigned int nth = 0;
		const struct nlattr *other;

		while (nth_attr(wanted, type, nth) != attr)
			nth++;
		other = nth_attr(got, type, nth);
		if (depth > 5 || !other || !attr_holds(other, attr, depth))
			return false;
		if (!nth_attr(wanted, type, nth + 1) && nth_attr(got, type, nth + 1))
			return false;
	}
	return true;
}

struct comparison {
	struct attributes wanted;
	unsigned int same, other;
};

static int compare(const struct nlmsghdr *nlh, void *data)
{
	struct comparison *c = data;

	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg))
		return MNL_CB_OK;
	if (holds(attributes_of(nlh), c->wanted, 0))
		c->same++;
	else
		c->other++;
	return MNL_CB_OK;
}

/* Is what `question` shows exactly one object, and as `wanted` makes it? 1, 0 or -errno. */
static int shows(struct notrack *n, struct nlmsghdr *question, const struct nlmsghdr *wanted)
{
	struct comparison c = { .wanted = attributes_of(wanted) };
	int r = nlsock_talk(n->nft, question, compare, &c);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return c.same == 1 && c.other == 0;
}

static int chain_is_whole(struct notrack *n, const struct chain *c)
{
	char wanted[NFT_MESSAGE_MAX], buf[NFT_MESSAGE_MAX];
	struct nlmsghdr *question = put_message(buf, NFT_MSG_GETCHAIN, NLM_F_ACK);
	int r;

	mnl_attr_put_strz(question, NFTA_CHAIN_TABLE, TABLE);
	mnl_attr_put_strz(question, NFTA_CHAIN_NAME, c->name);
	r = shows(n, question, put_chain(wanted, c));
	if (r <= 0)
		return r;
	question = put_message(buf, NFT_MSG_GETRULE, NLM_F_DUMP);
	mnl_attr_put_strz(question, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(question, NFTA_RULE_CHAIN, c->name);
	return shows(n, question, put_rule(wanted, c));
}

static int table_is_whole(struct notrack *n)
{
	char wanted[NFT_MESSAGE_MAX], buf[NFT_MESSAGE_MAX];
	int r = shows(n, put_table_name(buf, NFT_MSG_GETTABLE, NLM_F_ACK), put_table(wanted));

	for (size_t i = 0; r > 0 && i < ARRAY_SIZE(chains); i++)
		r = chain_is_whole(n, &chains[i]);
	return r;
}

/* ---- changing ---------------------------------------------------------------------------------------------------------- */

static void batch_make(struct nft_batch *b)
{
	nft_batch_add(b, put_table(nft_batch_at(b)));
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		nft_batch_add(b, put_chain(nft_batch_at(b), &chains[i]));
		nft_batch_add(b, put_rule(nft_batch_at(b), &chains[i]));
	}
}

/* The table, whatever it is, goes; ours takes its place if `make`. All at once, or nothing. */
static int replace(struct notrack *n, bool make)
{
	struct nft_batch b;

	nft_batch_begin(&b, n->nft);
	/* What is not there cannot be deleted: made first. */
	if (make)
		nft_batch_add(&b, put_table_name(nft_batch_at(&b), NFT_MSG_NEWTABLE, NLM_F_CREATE));
	nft_batch_add(&b, put_table_name(nft_batch_at(&b), NFT_MSG_DELTABLE, 0));
	if (make)
		batch_make(&b);
	return nft_batch_send(&b, n->nft);
}

/* ---- public ------------------------------------------------------------------------------------------------------------ */

int notrack_ensure(struct notrack *n, bool *ret_made)
{
	uint32_t generation;
	int r = nft_generation(n->nft, &generation);

	if (r < 0)
		return r;
	*ret_made = false;
	if (generation == n->generation)
		return 0;
	r = table_is_whole(n);
	if (r < 0)
		return r == -EINTR ? 0 : r; /* changed meanwhile: next time */
	if (r == 0) {
		r = replace(n, true);
		if (r < 0)
			return r;
		*ret_made = true;
		generation = 0; /* looked at once more */
	}
	n->generation = generation;
	return 0;
}

int notrack_exists(struct notrack *n)
{
	char buf[NFT_MESSAGE_MAX];
	int r = nlsock_talk(n->nft, put_table_name(buf, NFT_MSG_GETTABLE, NLM_F_ACK), NULL, NULL);

	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

int notrack_remove(struct notrack *n)
{
	return replace(n, false);
}

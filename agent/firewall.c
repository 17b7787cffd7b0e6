/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/firewall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "agent/nft.h"
#include "base/cleanup.h"
#include "base/file.h"

struct firewall {
	struct nlsock *nft;
	uint32_t generation; /* of which `lines` tell; 0: of none */
	struct strbuf lines[FIREWALL_WAYS];
};

static void forget(struct firewall *f)
{
	for (size_t i = 0; i < FIREWALL_WAYS; i++)
		strbuf_clear(&f->lines[i]);
}

void firewall_freep(struct firewall **f)
{
	if (!*f)
		return;
	nlsock_freep(&(*f)->nft);
	forget(*f);
	free(*f);
	*f = NULL;
}

int firewall_open(struct firewall **ret)
{
	CLEANUP(firewall_freep) struct firewall *f = calloc(1, sizeof(*f));
	int r = f ? nft_open(&f->nft) : -ENOMEM;

	if (r == 0)
		*ret = TAKE_PTR(f);
	return r;
}

static const char *family_name(uint8_t family)
{
	switch (family) {
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_INET:
		return "inet";
	}
	return NULL; /* of no interest: no query passes there */
}

struct chain {
	const char *table, *name;
	uint32_t hook, policy;
};

static uint32_t be32_of(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_U32) < 0 ? UINT32_MAX : ntohl(mnl_attr_get_u32(attr));
}

static const char *text_of(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0 ? "?" : mnl_attr_get_str(attr);
}

static uint32_t hook_of(const struct nlattr *nest)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest)
	{
		if (mnl_attr_get_type(attr) == NFTA_HOOK_HOOKNUM)
			return be32_of(attr);
	}
	return UINT32_MAX;
}

static struct chain read_chain(const struct nlmsghdr *nlh)
{
	struct chain c = { "?", "?", UINT32_MAX, NF_ACCEPT };
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
	{
		switch (mnl_attr_get_type(attr)) {
		case NFTA_CHAIN_TABLE:
			c.table = text_of(attr);
			break;
		case NFTA_CHAIN_NAME:
			c.name = text_of(attr);
			break;
		case NFTA_CHAIN_HOOK:
			c.hook = hook_of(attr);
			break;
		case NFTA_CHAIN_POLICY:
			c.policy = be32_of(attr);
			break;
		}
	}
	return c;
}

static int take_chain(const struct nlmsghdr *nlh, void *data)
{
	static const uint32_t hooks[FIREWALL_WAYS] = { NF_INET_LOCAL_IN, NF_INET_LOCAL_OUT };
	const struct nfgenmsg *h = mnl_nlmsg_get_payload(nlh);
	const struct chain c = read_chain(nlh);
	const char *family = family_name(h->nfgen_family);
	struct strbuf *lines = data;

	for (size_t i = 0; family && i < FIREWALL_WAYS; i++) {
		if (c.hook == hooks[i] && c.policy == NF_DROP)
			strbuf_addf(&lines[i], "chain %s %s %s\n", family, c.table, c.name);
	}
	return MNL_CB_OK;
}

const char *firewall_dropping(struct firewall *f, enum firewall_way way)
{
	uint32_t generation;
	char buf[128];

	if (!f || nft_generation(f->nft, &generation) < 0)
		return NULL;
	if (generation == f->generation)
		return f->lines[way].data;
	forget(f);
	f->generation = 0;
	if (nlsock_talk(f->nft, nft_put(buf, NFT_MSG_GETCHAIN, NLM_F_DUMP, NFPROTO_UNSPEC), take_chain, f->lines) == 0)
		f->generation = generation;
	return f->lines[way].data;
}

bool firewall_is_legacy(void)
{
	static const char *const lists[] = { "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		_cleanup_free_ char *text = NULL;
		size_t len;

		if (file_read(AT_FDCWD, lists[i], 4096, &text, &len) == 0 && strstr(text, "filter\n"))
			return true;
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "agent/api.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/abi.h"
#include "policy/array.h"
#include "policy/names.h"
#include "policy/yaml.h"

#define DNS_PORT	53
#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

#define QTYPE_A	    1
#define QTYPE_CNAME 5
#define QTYPE_PTR   12
#define QTYPE_AAAA  28
#define QTYPE_SRV   33

void config_freep(struct config **c)
{
	if (!*c)
		return;
	free((*c)->policy_dir);
	free((*c)->endpoints_file);
	free((*c)->pin_path);
	free((*c)->socket);
	free((*c)->run_dir);
	free((*c)->state_dir);
	free((*c)->flows_file);
	free((*c)->metrics_listen);
	free((*c)->node_name);
	free((*c)->kubeconfig);
	free((*c)->startup_taint);
	free((*c)->cni.conf_dir);
	free((*c)->cni.bin_dir);
	free((*c)->service_cidrs);
	free(*c);
	*c = NULL;
}

static const struct config_limits default_limits = {
	.endpoints = SLUICE_MAX_ENDPOINTS,
	.dests = SLUICE_MAX_DESTS,
	.rules = SLUICE_MAX_RULES,
	.leases = SLUICE_MAX_LEASES,
	.names = SLUICE_MAX_NAMES,
	.cluster = SLUICE_MAX_CLUSTER,
	.flows = SLUICE_MAX_FLOWS,
	.frags = SLUICE_MAX_FRAGS,
	.events = SLUICE_EVENTS_BYTES,
	.flow_quota = 16384,
	.tombstone_quota = 4096,
	.dns_rate = 1000,
	.dns_burst = 2000,
	.event_rate = 200,
	.event_burst = 1000,
	.reject_rate = 100,
	.reject_burst = 200,
};

static void default_dns(struct proxy_settings *dns)
{
	static const uint16_t qtypes[] = { QTYPE_A, QTYPE_AAAA, QTYPE_CNAME, QTYPE_SRV, QTYPE_PTR };

	*dns = (struct proxy_settings){
		.magic = PROXY_SETTINGS_MAGIC,
		.size = sizeof(*dns),
		.deny_response = PROXY_DENY_EMPTY,
		.ask_only = PROXY_ASK_FILTER,
		.max_ttl = 3600,
		.grace = 5,
		.query_timeout_ms = 1500,
		.query_tries = 3,
		.nqtypes = ARRAY_SIZE(qtypes),
	};
	memcpy(dns->qtypes, qtypes, sizeof(qtypes));
}

bool config_has_prefix(const struct config_interfaces *wanted, const char *name)
{
	for (size_t i = 0; i < wanted->nprefixes; i++) {
		if (strncmp(name, wanted->prefixes[i], strlen(wanted->prefixes[i])) == 0)
			return true;
	}
	return false;
}

int config_new(struct config **ret)
{
	CLEANUP(config_freep) struct config *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->policy_dir = strdup("/etc/sluice/policies");
	c->endpoints_file = strdup("/etc/sluice/endpoints.yaml");
	c->pin_path = strdup(API_DEFAULT_PIN_PATH);
	c->socket = strdup(API_DEFAULT_SOCKET);
	c->run_dir = strdup(API_DEFAULT_RUN_DIR);
	c->state_dir = strdup("");
	c->flows_file = strdup("");
	c->metrics_listen = strdup("127.0.0.1:9964");
	c->node_name = strdup("");
	c->kubeconfig = strdup("");
	c->startup_taint = strdup("");
	c->cni.conf_dir = strdup(API_CNI_DEFAULT_CONF_DIR);
	c->cni.bin_dir = strdup(API_CNI_DEFAULT_BIN_DIR);
	c->cni.wait_seconds = 5;
	c->limits = default_limits;
	c->interfaces = (struct config_interfaces){ .any = true, .prefixes = { "eni", "vlan" }, .nprefixes = 2 };
	default_dns(&c->dns);
	if (!c->policy_dir || !c->endpoints_file || !c->pin_path || !c->socket || !c->run_dir || !c->state_dir ||
	    !c->flows_file || !c->metrics_listen || !c->node_name || !c->kubeconfig || !c->startup_taint ||
	    !c->cni.conf_dir || !c->cni.bin_dir)
		return -ENOMEM;
	*ret = TAKE_PTR(c);
	return 0;
}

/* ---- scalars ----------------------------------------------------------------------------------------------------- */

static void read_path(struct yctx *c, const struct ynode *node, const char *what, char **ret)
{
	const char *text;

	if (!yread_text(c, node, what, &text))
		return;
	if (text[0] != '/')
		yctx_error(c, node, "%s must be an absolute path, is '%s'", what, text);
	else
		yread_string(c, node, what, ret);
}

/* One word of `words`; its index is the value. */
static void read_word(struct yctx *c, const struct ynode *node, const char *what, const char *const *words,
		      size_t count, uint32_t *ret)
{
	const char *text;

	if (!yread_text(c, node, what, &text))
		return;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret = (uint32_t)i;
			return;
		}
	}
	yctx_error(c, node, "%s is '%s'; expected %s%s%s or %s", what, text, words[0], count > 2 ? ", " : "",
		   count > 2 ? words[1] : "", words[count - 1]);
}

static void read_number(struct yctx *c, const struct ynode *node, const char *what, uint64_t min, uint64_t max,
			uint32_t *ret)
{
	uint64_t n;

	if (yread_uint(c, node, what, min, max, &n))
		*ret = (uint32_t)n;
}

/* Whole seconds, from a duration. */
static void read_seconds(struct yctx *c, const struct ynode *node, const char *what, uint32_t *ret)
{
	uint64_t ns;

	if (!yread_duration(c, node, what, &ns))
		return;
	if (ns % NSEC_PER_SEC || ns / NSEC_PER_SEC > 7 * 86400)
		yctx_error(c, node, "%s must be whole seconds and at most 7 days", what);
	else
		*ret = (uint32_t)(ns / NSEC_PER_SEC);
}

/* ---- dns --------------------------------------------------------------------------------------------------------- */

/* "ADDRESS", "ADDRESS4:PORT" or "[ADDRESS6]:PORT". `otherwise`: the port where none is said. */
static int parse_address(const char *text, uint16_t otherwise, struct proxy_resolver *ret)
{
	struct proxy_resolver r = { .port = otherwise };
	char host[ADDR_TEXT_MAX];
	const char *end = NULL;
	unsigned long port;
	char *rest;

	if (text[0] == '[')
		end = strstr(++text, "]:");
	else if (strchr(text, ':') == strrchr(text, ':'))
		end = strchr(text, ':');
	if (snprintf(host, sizeof(host), "%.*s", end ? (int)(end - text) : (int)strlen(text), text) >=
	    (int)sizeof(host))
		return -EINVAL;
	if (end) {
		end += *end == ']' ? 2 : 1;
		port = strtoul(end, &rest, 10);
		if (*end < '0' || *end > '9' || *rest || port < 1 || port > 65535)
			return -EINVAL;
		r.port = (uint16_t)port;
	}
	if (addr_parse(host, &r.addr) < 0)
		return -EINVAL;
	*ret = r;
	return 0;
}

static void read_resolvers(struct yctx *c, const struct ynode *node, void *out)
{
	struct proxy_settings *dns = out;

	if (!yread_sequence(c, node, "dns.resolvers"))
		return;
	if (node->count > PROXY_MAX_RESOLVERS) {
		yctx_error(c, node, "dns.resolvers has %zu entries; at most %d are used", node->count,
			   PROXY_MAX_RESOLVERS);
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		const char *text;

		if (!yread_text(c, node->items[i], "a resolver", &text))
			continue;
		if (parse_address(text, DNS_PORT, &dns->resolvers[dns->nresolvers]) < 0)
			yctx_error(c, node->items[i],
				   "resolver '%s'; expected ADDRESS, ADDRESS:PORT or [ADDRESS6]:PORT", text);
		else
			dns->nresolvers++;
	}
}

static void read_name(struct yctx *c, const struct ynode *node, const char *what, char ret[256])
{
	const char *text;

	if (yread_text(c, node, what, &text) && text[0] && name_canonical(text, ret) < 0)
		yctx_error(c, node, "%s '%s' is no domain name", what, text);
}

static void read_search(struct yctx *c, const struct ynode *node, void *out)
{
	struct proxy_settings *dns = out;

	if (!yread_sequence(c, node, "dns.searchDomains"))
		return;
	if (node->count >= PROXY_MAX_SEARCH) {
		yctx_error(c, node, "dns.searchDomains has %zu entries; at most %d are used", node->count,
			   PROXY_MAX_SEARCH - 1);
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		read_name(c, node->items[i], "a search domain", dns->search[dns->nsearch]);
		dns->nsearch += dns->search[dns->nsearch][0] != '\0';
	}
}

static void read_cluster_domain(struct yctx *c, const struct ynode *node, void *out)
{
	read_name(c, node, "dns.clusterDomain", ((struct proxy_settings *)out)->cluster_domain);
}

static void read_deny_response(struct yctx *c, const struct ynode *node, void *out)
{
	static const char *const words[] = { "empty", "nxdomain", "refused" };

	read_word(c, node, "dns.denyResponse", words, ARRAY_SIZE(words),
		  &((struct proxy_settings *)out)->deny_response);
}

static void read_ask_only(struct yctx *c, const struct ynode *node, void *out)
{
	static const char *const words[] = { "filter", "forward", "deny" };

	read_word(c, node, "dns.askOnly", words, ARRAY_SIZE(words), &((struct proxy_settings *)out)->ask_only);
}

static void read_deny_private(struct yctx *c, const struct ynode *node, void *out)
{
	struct proxy_settings *dns = out;
	bool on;

	if (!yread_bool(c, node, "dns.denyPrivateAnswers", &on))
		return;
	dns->flags &= ~(uint32_t)PROXY_DENY_PRIVATE_ANSWERS;
	dns->flags |= on ? PROXY_DENY_PRIVATE_ANSWERS : 0;
}

static void read_min_ttl(struct yctx *c, const struct ynode *node, void *out)
{
	read_seconds(c, node, "dns.minTTL", &((struct proxy_settings *)out)->min_ttl);
}

static void read_max_ttl(struct yctx *c, const struct ynode *node, void *out)
{
	read_seconds(c, node, "dns.maxTTL", &((struct proxy_settings *)out)->max_ttl);
}

static void read_grace(struct yctx *c, const struct ynode *node, void *out)
{
	read_seconds(c, node, "dns.grace", &((struct proxy_settings *)out)->grace);
}

static void read_timeout(struct yctx *c, const struct ynode *node, void *out)
{
	uint64_t ns;

	if (!yread_duration(c, node, "dns.queryTimeout", &ns))
		return;
	if (ns < 50 * NSEC_PER_MSEC || ns > 10 * NSEC_PER_SEC)
		yctx_error(c, node, "dns.queryTimeout must be from 50ms to 10s");
	else
		((struct proxy_settings *)out)->query_timeout_ms = (uint32_t)(ns / NSEC_PER_MSEC);
}

static void read_tries(struct yctx *c, const struct ynode *node, void *out)
{
	read_number(c, node, "dns.queryTries", 1, 10, &((struct proxy_settings *)out)->query_tries);
}

static void read_new_names(struct yctx *c, const struct ynode *node, void *out)
{
	read_number(c, node, "dns.newNamesPerMinute", 0, 1000000, &((struct proxy_settings *)out)->new_names);
}

static const struct {
	const char *name;
	uint16_t number;
} qtypes[] = {
	{ "A", QTYPE_A }, { "NS", 2 },	   { "CNAME", QTYPE_CNAME }, { "SOA", 6 },	   { "PTR", QTYPE_PTR },
	{ "MX", 15 },	  { "TXT", 16 },   { "AAAA", QTYPE_AAAA },   { "SRV", QTYPE_SRV }, { "NAPTR", 35 },
	{ "CAA", 257 },	  { "HTTPS", 65 }, { "SVCB", 64 },
};

static void read_qtypes(struct yctx *c, const struct ynode *node, void *out)
{
	struct proxy_settings *dns = out;

	if (!yread_sequence(c, node, "dns.queryTypes"))
		return;
	dns->nqtypes = 0;
	for (size_t i = 0; i < node->count; i++) {
		const char *text;
		size_t k = 0;

		if (!yread_text(c, node->items[i], "a query type", &text))
			continue;
		while (k < ARRAY_SIZE(qtypes) && strcmp(text, qtypes[k].name) != 0)
			k++;
		if (k == ARRAY_SIZE(qtypes) || dns->nqtypes == ARRAY_SIZE(dns->qtypes))
			yctx_error(c, node->items[i], "query type '%s' is unknown or one too many", text);
		else
			dns->qtypes[dns->nqtypes++] = qtypes[k].number;
	}
}

static void read_dns(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = {
		{ "resolvers", read_resolvers },
		{ "searchDomains", read_search },
		{ "clusterDomain", read_cluster_domain },
		{ "denyResponse", read_deny_response },
		{ "askOnly", read_ask_only },
		{ "denyPrivateAnswers", read_deny_private },
		{ "minTTL", read_min_ttl },
		{ "maxTTL", read_max_ttl },
		{ "grace", read_grace },
		{ "queryTimeout", read_timeout },
		{ "queryTries", read_tries },
		{ "queryTypes", read_qtypes },
		{ "newNamesPerMinute", read_new_names },
	};
	struct config *config = out;

	yread_fields(c, node, "dns", fields, ARRAY_SIZE(fields), &config->dns);
	if (config->dns.min_ttl > config->dns.max_ttl)
		yctx_error(c, node, "dns.minTTL is larger than dns.maxTTL");
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

struct limit {
	const char *name;
	size_t offset;
	uint32_t min;
	uint32_t max;
	bool restart;
};

#define LIMIT(name, field, min, max, restart)                                                                          \
	{                                                                                                              \
		name, offsetof(struct config_limits, field), min, max, restart                                         \
	}

static const struct limit limits[] = {
	LIMIT("endpoints", endpoints, 2, 65536, true),
	LIMIT("destinations", dests, 16, 16u << 20, true),
	LIMIT("rules", rules, 16, 16u << 20, true),
	LIMIT("leases", leases, 16, 16u << 20, true),
	LIMIT("names", names, 16, 16u << 20, true),
	LIMIT("clusterAddresses", cluster, 16, 16u << 20, true),
	LIMIT("flows", flows, 16, 16u << 20, true),
	LIMIT("fragments", frags, 16, 1u << 20, true),
	LIMIT("eventBytes", events, 65536, 256u << 20, true),
	LIMIT("flowsPerEndpoint", flow_quota, 4, 16u << 20, false),
	LIMIT("denialsPerEndpoint", tombstone_quota, 4, 16u << 20, false),
	LIMIT("queriesPerSecond", dns_rate, 0, 10000000, false),
	LIMIT("queryBurst", dns_burst, 1, 10000000, false),
	LIMIT("eventsPerSecond", event_rate, 0, 10000000, false),
	LIMIT("eventBurst", event_burst, 1, 10000000, false),
	LIMIT("rejectsPerSecond", reject_rate, 0, 10000000, false),
	LIMIT("rejectBurst", reject_burst, 1, 10000000, false),
};

static uint32_t *limit_field(const struct limit *l, struct config_limits *values)
{
	return (uint32_t *)((char *)values + l->offset);
}

static void read_limits(struct yctx *c, const struct ynode *node, void *out)
{
	struct config *config = out;

	if (!yread_mapping(c, node, "limits"))
		return;
	for (size_t i = 0; i < node->count; i++) {
		const struct ynode *key = ynode_key(node, i);
		size_t k = 0;

		while (k < ARRAY_SIZE(limits) && strcmp(key->text, limits[k].name) != 0)
			k++;
		if (k == ARRAY_SIZE(limits))
			yctx_error(c, key, "unknown key '%s' in limits; see sluice.yaml(5)", key->text);
		else
			read_number(c, ynode_value(node, i), key->text, limits[k].min, limits[k].max,
				    limit_field(&limits[k], &config->limits));
	}
	/* BPF_MAP_TYPE_RINGBUF: a power of two and whole pages. */
	if (config->limits.events & (config->limits.events - 1))
		yctx_error(c, node, "limits.eventBytes must be a power of two");
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static void read_policy_dir(struct yctx *c, const struct ynode *node, void *out)
{
	read_path(c, node, "policyDir", &((struct config *)out)->policy_dir);
}

static void read_endpoints_file(struct yctx *c, const struct ynode *node, void *out)
{
	read_path(c, node, "endpointsFile", &((struct config *)out)->endpoints_file);
}

static void read_run_dir(struct yctx *c, const struct ynode *node, void *out)
{
	read_path(c, node, "runDir", &((struct config *)out)->run_dir);
}

/* The path, or "" for none. */
static void read_optional_path(struct yctx *c, const struct ynode *node, const char *what, char **ret)
{
	const char *text;

	if (!yread_text(c, node, what, &text))
		return;
	if (text[0])
		read_path(c, node, what, ret);
	else
		yread_string(c, node, what, ret);
}

static void read_state_dir(struct yctx *c, const struct ynode *node, void *out)
{
	read_optional_path(c, node, "stateDir", &((struct config *)out)->state_dir);
}

static void read_enforcement(struct yctx *c, const struct ynode *node, void *out)
{
	static const char *const words[] = { "enforce", "audit" };
	uint32_t audit = 0;

	read_word(c, node, "enforcement", words, ARRAY_SIZE(words), &audit);
	((struct config *)out)->audit = audit;
}

static void read_pin_path(struct yctx *c, const struct ynode *node, void *out)
{
	read_path(c, node, "bpf.pinPath", &((struct config *)out)->pin_path);
}

static void read_attach(struct yctx *c, const struct ynode *node, void *out)
{
	static const char *const words[] = { "auto", "tcx", "clsact" };
	uint32_t attach = ATTACH_AUTO;

	read_word(c, node, "bpf.attach", words, ARRAY_SIZE(words), &attach);
	((struct config *)out)->attach = (enum attach_mode)attach;
}

static void read_bpf(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "pinPath", read_pin_path }, { "attach", read_attach } };

	yread_fields(c, node, "bpf", fields, ARRAY_SIZE(fields), out);
}

static void read_socket(struct yctx *c, const struct ynode *node, void *out)
{
	const char *text;

	if (!yread_text(c, node, "api.socket", &text))
		return;
	if (strlen(text) > SOCKET_PATH_MAX)
		yctx_error(c, node, "api.socket has %zu characters; at most %zu are a socket's path", strlen(text),
			   SOCKET_PATH_MAX);
	else
		read_path(c, node, "api.socket", &((struct config *)out)->socket);
}

static void read_api(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "socket", read_socket } };

	yread_fields(c, node, "api", fields, ARRAY_SIZE(fields), out);
}

static void read_flows_file(struct yctx *c, const struct ynode *node, void *out)
{
	read_optional_path(c, node, "flows.file", &((struct config *)out)->flows_file);
}

static void read_flows_allowed(struct yctx *c, const struct ynode *node, void *out)
{
	yread_bool(c, node, "flows.allowed", &((struct config *)out)->flows_allowed);
}

static void read_flows(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "file", read_flows_file }, { "allowed", read_flows_allowed } };

	yread_fields(c, node, "flows", fields, ARRAY_SIZE(fields), out);
}

static void read_deny_mode(struct yctx *c, const struct ynode *node, void *out)
{
	static const char *const words[] = { "drop", "reject" };
	struct config *config = out;
	uint32_t mode = config->reject;

	read_word(c, node, "deny.mode", words, ARRAY_SIZE(words), &mode);
	config->reject = mode == 1;
}

static void read_deny(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "mode", read_deny_mode } };

	yread_fields(c, node, "deny", fields, ARRAY_SIZE(fields), out);
}

static void read_service_cidrs(struct yctx *c, const struct ynode *node, void *out)
{
	struct config *config = out;

	if (!yread_sequence(c, node, "cluster.serviceCIDRs"))
		return;
	for (size_t i = 0; i < node->count; i++) {
		struct sluice_prefix prefix, *slot;
		const char *text;

		if (!yread_text(c, node->items[i], "a Service CIDR", &text))
			continue;
		if (prefix_parse(text, &prefix) != 0) {
			yctx_error(c, node->items[i],
				   "Service CIDR '%s'; expected ADDRESS/LENGTH without host bits, such as 10.96.0.0/12",
				   text);
			continue;
		}
		slot = array_push(&config->service_cidrs, &config->nservice_cidrs, sizeof(*slot));
		if (slot)
			*slot = prefix;
		else
			c->oom = true;
	}
}

static void read_cluster(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "serviceCIDRs", read_service_cidrs } };

	yread_fields(c, node, "cluster", fields, ARRAY_SIZE(fields), out);
}

static void read_kubernetes_enabled(struct yctx *c, const struct ynode *node, void *out)
{
	yread_bool(c, node, "kubernetes.enabled", &((struct config *)out)->kubernetes);
}

static void read_node_name(struct yctx *c, const struct ynode *node, void *out)
{
	yread_string(c, node, "kubernetes.nodeName", &((struct config *)out)->node_name);
}

static void read_kubeconfig(struct yctx *c, const struct ynode *node, void *out)
{
	yread_string(c, node, "kubernetes.kubeconfig", &((struct config *)out)->kubeconfig);
}

static void read_kubernetes_status(struct yctx *c, const struct ynode *node, void *out)
{
	yread_bool(c, node, "kubernetes.status", &((struct config *)out)->kubernetes_status);
}

static void read_host_network_enforce(struct yctx *c, const struct ynode *node, void *out)
{
	yread_bool(c, node, "kubernetes.hostNetwork.enforce", &((struct config *)out)->enforce_host_network);
}

static void read_host_network(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "enforce", read_host_network_enforce } };

	yread_fields(c, node, "kubernetes.hostNetwork", fields, ARRAY_SIZE(fields), out);
}

/* Value and effect are whatever the node joined with. */
static void read_startup_taint(struct yctx *c, const struct ynode *node, void *out)
{
	const char *text;

	if (!yread_text(c, node, "kubernetes.startupTaint", &text))
		return;
	if (strpbrk(text, "=: \t") || strlen(text) > 317)
		yctx_error(c, node, "kubernetes.startupTaint '%s'; expected a taint's key alone", text);
	else
		yread_string(c, node, "kubernetes.startupTaint", &((struct config *)out)->startup_taint);
}

static void read_kubernetes(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = {
		{ "enabled", read_kubernetes_enabled }, { "status", read_kubernetes_status },
		{ "startupTaint", read_startup_taint }, { "nodeName", read_node_name },
		{ "kubeconfig", read_kubeconfig },	{ "hostNetwork", read_host_network }
	};

	yread_fields(c, node, "kubernetes", fields, ARRAY_SIZE(fields), out);
}

static void read_cni_install(struct yctx *c, const struct ynode *node, void *out)
{
	yread_bool(c, node, "cni.install", &((struct config *)out)->cni.install);
}

static void read_cni_conf_dir(struct yctx *c, const struct ynode *node, void *out)
{
	read_path(c, node, "cni.confDir", &((struct config *)out)->cni.conf_dir);
}

static void read_cni_bin_dir(struct yctx *c, const struct ynode *node, void *out)
{
	read_path(c, node, "cni.binDir", &((struct config *)out)->cni.bin_dir);
}

static void read_cni_wait(struct yctx *c, const struct ynode *node, void *out)
{
	read_number(c, node, "cni.waitSeconds", 0, 60, &((struct config *)out)->cni.wait_seconds);
}

static void read_cni(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "install", read_cni_install },
						{ "confDir", read_cni_conf_dir },
						{ "binDir", read_cni_bin_dir },
						{ "waitSeconds", read_cni_wait } };

	yread_fields(c, node, "cni", fields, ARRAY_SIZE(fields), out);
}

static bool is_listen(const char *text)
{
	struct proxy_resolver r = {};
	char all[ADDR_TEXT_MAX];

	if (!*text)
		return true;
	if (text[0] == ':' && snprintf(all, sizeof(all), "0.0.0.0%s", text) < (int)sizeof(all))
		text = all;
	return parse_address(text, 0, &r) == 0 && r.port;
}

static void read_metrics_listen(struct yctx *c, const struct ynode *node, void *out)
{
	const char *text;

	if (!yread_text(c, node, "metrics.listen", &text))
		return;
	if (!is_listen(text))
		yctx_error(c, node, "metrics.listen '%s'; expected ADDRESS:PORT, [ADDRESS6]:PORT, :PORT or nothing",
			   text);
	else
		yread_string(c, node, "metrics.listen", &((struct config *)out)->metrics_listen);
}

static void read_metrics(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "listen", read_metrics_listen } };

	yread_fields(c, node, "metrics", fields, ARRAY_SIZE(fields), out);
}

static void read_interfaces_auto(struct yctx *c, const struct ynode *node, void *out)
{
	yread_bool(c, node, "interfaces.auto", &((struct config *)out)->interfaces.any);
}

static void read_interfaces_prefixes(struct yctx *c, const struct ynode *node, void *out)
{
	struct config_interfaces *in = &((struct config *)out)->interfaces;

	if (!yread_sequence(c, node, "interfaces.prefixes"))
		return;
	in->nprefixes = 0;
	if (node->count > CONFIG_MAX_PREFIXES) {
		yctx_error(c, node, "interfaces.prefixes has %zu entries; at most %d are used", node->count,
			   CONFIG_MAX_PREFIXES);
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		const char *text;

		if (!yread_text(c, node->items[i], "an interface prefix", &text))
			continue;
		if (!text[0] || strlen(text) >= IF_NAMESIZE || strchr(text, '/'))
			yctx_error(c, node->items[i], "'%s' begins no interface's name", text);
		else
			strcpy(in->prefixes[in->nprefixes++], text);
	}
}

static void read_interfaces(struct yctx *c, const struct ynode *node, void *out)
{
	static const struct yfield fields[] = { { "auto", read_interfaces_auto },
						{ "prefixes", read_interfaces_prefixes } };

	yread_fields(c, node, "interfaces", fields, ARRAY_SIZE(fields), out);
}

static int read_document(struct yctx *c, const struct ydocs *docs, struct config *config)
{
	static const struct yfield fields[] = {
		{ "policyDir", read_policy_dir },
		{ "endpointsFile", read_endpoints_file },
		{ "runDir", read_run_dir },
		{ "stateDir", read_state_dir },
		{ "cluster", read_cluster },
		{ "kubernetes", read_kubernetes },
		{ "interfaces", read_interfaces },
		{ "cni", read_cni },
		{ "enforcement", read_enforcement },
		{ "deny", read_deny },
		{ "dns", read_dns },
		{ "limits", read_limits },
		{ "bpf", read_bpf },
		{ "api", read_api },
		{ "metrics", read_metrics },
		{ "flows", read_flows },
	};

	if (docs->count > 1)
		yctx_error(c, docs->roots[1], "a second document; the configuration is one");
	else if (docs->count == 1 && !ynode_is_null(docs->roots[0]))
		yread_fields(c, docs->roots[0], "the configuration", fields, ARRAY_SIZE(fields), config);
	return c->oom ? -ENOMEM : c->errors ? -EINVAL : 0;
}

int config_read(const char *file, const char *text, size_t len, struct diags *diags, struct config **ret)
{
	CLEANUP(config_freep) struct config *config = NULL;
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	struct yctx c = { .file = file, .diags = diags };
	int r = config_new(&config);

	if (r == 0)
		r = yaml_read(file, text, len, diags, &docs);
	if (r == 0)
		r = read_document(&c, docs, config);
	if (r == 0)
		*ret = TAKE_PTR(config);
	return r;
}

/* ---- what needs a new start -------------------------------------------------------------------------------------- */

static void add_key(char *buf, size_t size, const char *key, bool differs)
{
	size_t len = strlen(buf);

	if (differs)
		snprintf(buf + len, size - len, "%s%s", len ? ", " : "", key);
}

char *config_restart_keys(const struct config *now, const struct config *wanted, char *buf, size_t size)
{
	struct config_limits a = now->limits, b = wanted->limits;

	buf[0] = '\0';
	add_key(buf, size, "bpf.pinPath", strcmp(now->pin_path, wanted->pin_path) != 0);
	add_key(buf, size, "bpf.attach", now->attach != wanted->attach);
	add_key(buf, size, "api.socket", strcmp(now->socket, wanted->socket) != 0);
	add_key(buf, size, "runDir", strcmp(now->run_dir, wanted->run_dir) != 0);
	add_key(buf, size, "stateDir", strcmp(now->state_dir, wanted->state_dir) != 0);
	add_key(buf, size, "kubernetes",
		now->kubernetes != wanted->kubernetes || strcmp(now->node_name, wanted->node_name) != 0 ||
			strcmp(now->kubeconfig, wanted->kubeconfig) != 0 ||
			now->kubernetes_status != wanted->kubernetes_status ||
			now->enforce_host_network != wanted->enforce_host_network ||
			strcmp(now->startup_taint, wanted->startup_taint) != 0);
	add_key(buf, size, "cni",
		now->cni.install != wanted->cni.install || strcmp(now->cni.conf_dir, wanted->cni.conf_dir) != 0 ||
			strcmp(now->cni.bin_dir, wanted->cni.bin_dir) != 0 ||
			now->cni.wait_seconds != wanted->cni.wait_seconds);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		add_key(buf, size, limits[i].name,
			limits[i].restart && *limit_field(&limits[i], &a) != *limit_field(&limits[i], &b));
	return buf;
}

/* ---- resolv.conf ------------------------------------------------------------------------------------------------- */

static void add_resolver(struct proxy_settings *dns, const char *text)
{
	struct proxy_resolver *r = &dns->resolvers[dns->nresolvers];

	if (dns->nresolvers < PROXY_MAX_RESOLVERS && addr_parse(text, &r->addr) == 0) {
		r->port = DNS_PORT;
		dns->nresolvers++;
	}
}

static void add_search(struct proxy_settings *dns, const char *text)
{
	if (dns->nsearch < PROXY_MAX_SEARCH - 1 && name_canonical(text, dns->search[dns->nsearch]) == 0)
		dns->nsearch++;
}

void config_fill_resolv(struct proxy_settings *dns, const char *text)
{
	bool resolvers = dns->nresolvers == 0, search = dns->nsearch == 0;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		char copy[1024], *save, *word;

		snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(line, "\n#;"), line);
		word = strtok_r(copy, " \t", &save);
		if (word && strcmp(word, "nameserver") == 0 && resolvers) {
			word = strtok_r(NULL, " \t", &save);
			if (word)
				add_resolver(dns, word);
		} else if (word && search && (strcmp(word, "search") == 0 || strcmp(word, "domain") == 0)) {
			while ((word = strtok_r(NULL, " \t", &save)))
				add_search(dns, word);
		}
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A pod's interface is a veth whose peer is in another network namespace. Which of them are pods' the configuration says by
 * name (`prefixes`), or it takes all (`auto`) but those the node itself uses to get out: with a subnet or a default route of
 * the host's on them, as the uplink of a node that is itself a container has. And all that lead into the namespace of one that is a
 * pod's: the Amazon VPC CNI gives pods of an IPv6 cluster an interface for IPv4 (v4if0; v6if0 the other way round), whose end
 * here has a name by chance.
 *
 * When the kernel announces that one was made, closer.c's threads put a barrier up and the programs on it at once; without an
 * endpoint these drop everything. Here it is waited for, not done as well: it takes a lock that whoever makes interfaces needs. What
 * is left (was there before, became a pod's later, has something on it already) gets the program for what the pod sends here, first
 * of all. What is slow or can wait comes after: the other program; a slot of the endpoint table in quarantine, so that its drops are
 * counted under its name and the node's own probes are answered at the addresses that host routes lead to; then whoever knows the
 * pod puts an endpoint on it; and the exchange of filters for TCX links (attach.c), which would hold up the next announcement.
 *
 * An interface on which something of ours was found is closed likewise, wherever it came from: sluice-cni puts it there
 * before the agent hears of the pod.
 *
 * Only one agent at a time gets here: it holds the lock of the pin folder (kernel.h). When that folder is another one by now,
 * it is no longer the node's agent, and repairs nothing.
 */
#include "agent/discover.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "agent/answer_way.h"
#include "agent/closer.h"
#include "agent/slot.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "bpf/abi_names.h"
#include "policy/vpc_name.h"

#define QUIET_NSEC	 (500 * NSEC_PER_MSEC) /* without a new interface: nobody is held up by a slow step */
#define CHECK_PER_SECOND 64
#define CHECK_IN_BURST	 4

struct discover {
	struct kernel *k;
	struct endpoints *e;
	struct links *links;
	struct nlsock *routes; /* to make them by */
	struct closer *closer;
	struct config_interfaces wanted;
	uint64_t last_new;
	size_t next_check;
	size_t unsettled;
	/* For status. */
	uint64_t closed;     /* interfaces that were closed at their announcement */
	uint64_t slowest_ns; /* from reading an announcement to the programs being on */
	uint64_t by_hand;    /* of them those that the closing thread left */
	uint64_t failed;     /* could not be closed */
	uint64_t no_slot;    /* closed, but the table of endpoints has no room for them */
	uint64_t repaired;
};

/* ---- which ones -------------------------------------------------------------------------------------------------- */

/* The slot that the interface's entry leads to; 0: none. */
static uint32_t owner_of(const struct discover *d, uint32_t ifindex)
{
	struct sluice_if entry = {};

	return bpf_map_lookup_elem(d->k->ifindexes, &ifindex, &entry) == 0 ? entry.endpoint : 0;
}

/* By what is known of this one alone. */
static bool looks_like_pods(const struct discover *d, const struct link *link)
{
	if (!link->veth || !link->elsewhere)
		return false;
	return link->found_closed || config_has_prefix(&d->wanted, link->name) ||
	       (d->wanted.any && link->subnets == 0 && link->defaults == 0);
}

static bool are_siblings(const struct link *a, const struct link *b)
{
	return a != b && a->veth && b->veth && a->netnsid >= 0 && a->netnsid == b->netnsid;
}

/* Where one interface is a pod's, all that lead into that namespace are, whatever their names; but the node's way out is never. */
static bool is_pods(const struct discover *d, const struct link *link)
{
	if (looks_like_pods(d, link))
		return true;
	for (size_t i = 0; link->veth && link->defaults == 0 && i < links_count(d->links); i++) {
		const struct link *other = links_at(d->links, i);

		if (are_siblings(link, other) && looks_like_pods(d, other))
			return true;
	}
	return false;
}

static bool keeps_closed(void *context, uint32_t ifindex)
{
	const struct discover *d = context;
	const struct link *link = links_find(d->links, ifindex);

	return link && is_pods(d, link);
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

static void set_unsettled(struct discover *d, struct link *link)
{
	if (d->k->attach != ATTACH_TCX || !link->settled)
		return;
	link->settled = false;
	d->unsettled++;
}

static void set_guarded(struct discover *d, struct link *link)
{
	if (!link->guarded)
		link->settled = true;
	link->guarded = true;
	set_unsettled(d, link);
}

/* 0 also when it has gone meanwhile. */
static int close_it(struct discover *d, const struct link *link)
{
	uint64_t start = clock_now(), took;
	char name[IF_NAMESIZE];
	int r = kernel_close(d->k, link->ifindex);

	took = clock_now() - start;
	if (r < 0)
		return if_indextoname(link->ifindex, name) ? r : 0;
	d->slowest_ns = took > d->slowest_ns ? took : d->slowest_ns;
	return 1;
}

static void guard(struct discover *d, struct link *link)
{
	bool whole;
	int r;

	/* What it is at will be there at least as soon as what is done here, and both would wait for the same lock. */
	if (link->announced)
		closer_await(d->closer, link->ifindex);
	link->announced = false;
	whole = closer_has(d->closer, link->ifindex);
	r = whole ? 1 : close_it(d, link);
	if (r < 0) {
		d->failed++;
		log_error("%s: a pod's interface that cannot be closed: %s", link->name, strerror(-r));
	}
	if (r <= 0)
		return;
	if (!whole)
		closer_let_through(d->closer, link->ifindex);
	set_guarded(d, link);
	link->half = !whole;
	d->closed++;
	d->by_hand += !whole;
}

static void on_changed(void *context, struct link *link)
{
	struct discover *d = context;

	if (link->guarded || !link->veth || !link->elsewhere)
		return;
	if (!is_pods(d, link) && !endpoints_wants(d->e, link->name)) {
		link->found_closed = !owner_of(d, link->ifindex) && kernel_present(d->k, link->ifindex);
		if (!link->found_closed) {
			closer_let_through(d->closer, link->ifindex);
			return;
		}
	}
	d->last_new = clock_now();
	guard(d, link);
}

static void release_slot(struct discover *d, struct link *link)
{
	if (link->slot)
		slot_release(d->k, link->slot);
	link->slot = 0;
}

static void on_gone(void *context, struct link *link)
{
	struct discover *d = context;

	closer_let_through(d->closer, link->ifindex);
	release_slot(d, link);
	free(link->claim);
	link->claim = NULL;
	if (!link->guarded)
		return;
	kernel_forget(d->k, link->ifindex);
	d->unsettled -= !link->settled && d->unsettled;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static void quarantine(struct discover *d, struct link *link)
{
	const struct slot_owner owner = {
		.namespace_name = "",
		.name = "",
		.interface = link->name,
		.addrs = link->routes,
		.naddrs = link->nroutes,
		.why = SLUICE_QUARANTINE_UNKNOWN,
	};
	const struct endpoint_place place = { .ifindex = link->ifindex };
	struct slot slot = {};
	bool first = link->slot == 0;

	if (link->slot && !link->routes_moved)
		return;
	release_slot(d, link);
	link->routes_moved = false;
	if (slot_take(d->k, &owner, &place, &slot) < 0) {
		d->no_slot++;
		return;
	}
	link->slot = slot.id;
	if (first)
		log_info("%s: a pod's interface that no endpoint is known for: in quarantine", link->name);
}

static void open_again(struct discover *d, struct link *link)
{
	log_info("%s: no pod's interface, and no endpoint is on it: let go", link->name);
	release_slot(d, link);
	kernel_detach(d->k, link->ifindex);
	d->unsettled -= !link->settled && d->unsettled;
	link->guarded = false;
}

/* Only those that come from the pod's interface are led to its route, and the proxy's answers do not. */
static void lead_answers(struct discover *d, struct link *link)
{
	int admitted = answer_way_admit(d->routes, link->ifindex);

	link->apart_moved = false;
	if (admitted < 0)
		log_warning("%s: its questions may not reach the DNS proxy: %s", link->name, strerror(-admitted));
	for (size_t i = 0; i < link->nroutes; i++) {
		int r = link->apart >> i & 1 ? answer_way_put(d->routes, &link->routes[i], link->ifindex) : 0;

		if (r < 0)
			log_warning("%s: answers of the DNS proxy are not led to it: %s", link->name, strerror(-r));
	}
}

static void run_one(struct discover *d, struct link *link)
{
	uint32_t owner = owner_of(d, link->ifindex);
	bool claimed = owner && owner != link->slot;

	if (claimed) {
		release_slot(d, link);
		if (!link->guarded)
			set_guarded(d, link);
		return;
	}
	if (!is_pods(d, link)) {
		if (link->guarded && !endpoints_wants(d->e, link->name))
			open_again(d, link);
		return;
	}
	if (!link->guarded)
		guard(d, link);
	if (link->guarded)
		quarantine(d, link);
}

/* ---- the watch --------------------------------------------------------------------------------------------------- */

static void check_one(struct discover *d, struct link *link)
{
	int state = link->guarded ? kernel_attached(d->k, link->ifindex) : ATTACH_STATE_FIRST, r;
	char there[IF_NAMESIZE];
	bool plugins;

	link->suspect = false;
	if (state < 0 || state == ATTACH_STATE_FIRST)
		return;
	plugins = kernel_has_plugins(d->k, link->ifindex);
	r = kernel_repair(d->k, link->ifindex);
	if (r < 0) {
		/* An interface that ends loses its programs before it is told of as gone. */
		if (if_indextoname(link->ifindex, there))
			log_error("%s: %s, and ours cannot be put back: %s", link->name,
				  state == ATTACH_STATE_BEHIND ? "another program runs before ours"
							       : "the programs were taken off",
				  strerror(-r));
		return;
	}
	set_unsettled(d, link);
	/* It came between the filter that closed the pod at its announcement and our link: a new pod's, and no trouble. */
	if (plugins) {
		log_info("%s: ours are in the place of sluice-cni's program", link->name);
		return;
	}
	d->repaired++;
	log_warning("%s: %s; ours are put back", link->name,
		    state == ATTACH_STATE_BEHIND ? "another program runs before ours" : "the programs were taken off");
}

bool discover_run(struct discover *d)
{
	bool ours = kernel_is_ours(d->k), again = false;
	struct link *link;

	d->no_slot = 0;
	/* Whatever is announced meanwhile comes first. By index: what is read moves the table. */
	for (uint32_t at = 0; (link = links_after(d->links, at)); again |= discover_read(d)) {
		at = link->ifindex;
		run_one(d, link);
		if (link->guarded && link->apart_moved)
			lead_answers(d, link);
		if (link->half)
			link->half = kernel_attach(d->k, link->ifindex) < 0;
		if (link->suspect && ours)
			check_one(d, link);
	}
	return again;
}

bool discover_read(struct discover *d)
{
	return links_read(d->links);
}

void discover_check(struct discover *d)
{
	size_t count = links_count(d->links), most = CHECK_PER_SECOND;

	/* Each look takes the RTNL lock, which whoever makes interfaces waits for, and we wait for when the next one comes. */
	if (clock_now() - d->last_new < QUIET_NSEC)
		most = CHECK_IN_BURST;
	for (size_t n = 0; kernel_is_ours(d->k) && n < count && n < most; n++) {
		if (d->next_check >= count)
			d->next_check = 0;
		check_one(d, links_at(d->links, d->next_check++));
	}
}

void discover_idle(struct discover *d, uint64_t now)
{
	if (d->unsettled == 0 || now - d->last_new < QUIET_NSEC)
		return;
	for (size_t i = 0; i < links_count(d->links); i++) {
		struct link *link = links_at(d->links, i);
		int r;

		if (!link->guarded || link->settled)
			continue;
		r = kernel_settle(d->k, link->ifindex);
		if (r == 1)
			return; /* it took long: whoever waits comes first */
		if (r < 0)
			log_warning("%s: its filters cannot be exchanged for links and stay: %s", link->name,
				    strerror(-r));
		link->settled = true;
		d->unsettled--;
	}
	d->unsettled = 0;
}

/* ---- identification ---------------------------------------------------------------------------------------------- */

static bool has_address(const struct sluice_addr *addrs, size_t naddrs, const struct sluice_addr *addr)
{
	for (size_t i = 0; i < naddrs; i++) {
		if (addr_compare(&addrs[i], addr) == 0)
			return true;
	}
	return false;
}

/* How many of the interface's routes are to the pod's addresses; -1: one is to another's. */
static int matching_routes(const struct link *link, const struct sluice_addr *addrs, size_t naddrs)
{
	for (size_t i = 0; i < link->nroutes; i++) {
		if (!has_address(addrs, naddrs, &link->routes[i]))
			return -1;
	}
	return (int)link->nroutes;
}

const char *discover_interface(const struct discover *d, const char *namespace_name, const char *name,
			       const struct sluice_addr *addrs, size_t naddrs, char ret[IF_NAMESIZE])
{
	char hash[VPC_NAME_HASH + 1] = "";

	ret[0] = '\0';
	for (size_t i = 0; i < links_count(d->links); i++) {
		const struct link *link = links_at(d->links, i);
		int routes = link->claim ? -1 : matching_routes(link, addrs, naddrs);
		size_t len = strlen(link->name);

		/* Every pod asks about every interface: what tells most of them apart comes first. */
		if (routes < 0 || !is_pods(d, link))
			continue;
		if (routes > 0)
			return strcpy(ret, link->name);
		if (!hash[0])
			vpc_name_hash(namespace_name, name, hash);
		if (len > VPC_NAME_HASH && strcmp(link->name + len - VPC_NAME_HASH, hash) == 0)
			strcpy(ret, link->name);
	}
	return ret;
}

bool discover_sibling(const struct discover *d, const char *interface, size_t i, struct static_endpoint *ret)
{
	const struct link *first = links_find_name(d->links, interface), *link;

	for (size_t at = 0; first && at < links_count(d->links); at++) {
		link = links_at(d->links, at);
		if (!are_siblings(first, link) || link->claim || link->nroutes == 0 || i-- > 0)
			continue;
		strcpy(ret->interface, link->name);
		ret->naddrs = link->nroutes;
		memcpy(ret->addrs, link->routes, link->nroutes * sizeof(*link->routes));
		return true;
	}
	return false;
}

struct claim *discover_claim(const struct discover *d, const char *uid, const char *namespace_name, const char *name,
			     char ret[IF_NAMESIZE])
{
	struct claim *found = NULL;
	uint64_t came = 0;

	for (size_t i = 0; i < links_count(d->links); i++) {
		const struct link *link = links_at(d->links, i);
		struct claim *c = link->claim;

		/* A sandbox that is made anew may come before the old one's interface has gone. */
		if (!c || link->came < came || !claim_is_of(c, uid, namespace_name, name) || !is_pods(d, link) ||
		    (c->naddrs && matching_routes(link, c->addrs, c->naddrs) < 0))
			continue;
		found = c;
		came = link->came;
		strcpy(ret, link->name);
	}
	return found;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

int discover_open(struct kernel *k, struct endpoints *e, const struct config_interfaces *wanted, struct discover **ret)
{
	CLEANUP(discover_freep) struct discover *d = calloc(1, sizeof(*d));
	struct links_handlers handlers = { .changed = on_changed, .gone = on_gone };
	int r;

	if (!d)
		return -ENOMEM;
	d->k = k;
	d->e = e;
	d->wanted = *wanted;
	handlers.context = d;
	r = nlsock_open(NETLINK_ROUTE, &d->routes);
	if (r == 0)
		r = links_open(&handlers, &d->links);
	if (r < 0)
		return r;
	/* From here on announcements are heard by two; what was there before is closed below. */
	r = closer_open(k->from_pod, k->to_pod, wanted, &d->closer);
	if (r < 0)
		return r;
	for (size_t i = 0; i < links_count(d->links); i++)
		on_changed(d, links_at(d->links, i));
	endpoints_set_keep(e, keeps_closed, d);
	*ret = TAKE_PTR(d);
	return 0;
}

void discover_freep(struct discover **d)
{
	if (!*d)
		return;
	closer_freep(&(*d)->closer);
	for (size_t i = 0; (*d)->links && i < links_count((*d)->links); i++)
		free(links_at((*d)->links, i)->claim);
	links_freep(&(*d)->links);
	nlsock_freep(&(*d)->routes);
	free(*d);
	*d = NULL;
}

void discover_configure(struct discover *d, const struct config_interfaces *wanted)
{
	d->wanted = *wanted;
	closer_configure(d->closer, wanted);
}

int discover_fd(const struct discover *d)
{
	return links_fd(d->links);
}

/* The agent's program takes the place of sluice-cni's, which may also run before a filter that is ours already. */
static void take_over(struct discover *d, struct link *link)
{
	link->found_closed = true;
	guard(d, link);
	link->half = kernel_attach(d->k, link->ifindex) < 0;
}

/* True: it is another than before. */
static bool put_claim(struct link *link, const struct claim *claim)
{
	if (link->claim && claim_is_of(link->claim, claim->uid, claim->namespace_name, claim->name))
		return false;
	if (!link->claim)
		link->claim = malloc(sizeof(*link->claim));
	if (!link->claim)
		return false; /* sluice-cni asks again */
	*link->claim = *claim;
	return true;
}

/* Is what is on the interface the claimed pod's, and not one's that had its address before? */
static bool is_claimants(const struct discover *d, uint32_t owner, const struct claim *claim)
{
	const struct endpoint *ep = endpoints_find(d->e, owner, d->k->endpoints[owner].generation);

	return !claim ||
	       (ep && ep->wanted.uid && claim_is_of(claim, ep->wanted.uid, ep->wanted.namespace_name, ep->wanted.name));
}

json_t *discover_interface_json(struct discover *d, const struct discover_request *request, bool *ret_news)
{
	enum sluice_mode mode = SLUICE_MODE_QUARANTINE;
	struct link *link;
	uint32_t owner = 0;

	*ret_news = discover_read(d);
	link = links_find_name(d->links, request->interface);
	if (link && kernel_attached(d->k, link->ifindex) != ATTACH_STATE_FIRST) {
		take_over(d, link);
		*ret_news = true;
	}
	if (link && request->claim && put_claim(link, request->claim))
		*ret_news = true;
	if (link && !link->half)
		owner = owner_of(d, link->ifindex);
	if (owner && !is_claimants(d, owner, request->claim))
		owner = 0;
	if (owner)
		mode = SLUICE_STATE_MODE(__atomic_load_n(&d->k->endpoints[owner].state, __ATOMIC_ACQUIRE));
	return json_pack("{s:s, s:b, s:s}", "name", request->interface, "known", owner && owner != link->slot, "mode",
			 mode_name(mode));
}

json_t *discover_json(const struct discover *d)
{
	uint64_t slowest = closer_slowest(d->closer);
	json_int_t unknown = 0, guarded = 0;

	for (size_t i = 0; i < links_count(d->links); i++) {
		const struct link *link = links_at(d->links, i);

		guarded += link->guarded;
		unknown += link->guarded && owner_of(d, link->ifindex) == link->slot;
	}
	if (d->slowest_ns > slowest)
		slowest = d->slowest_ns;
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "guarded", guarded,
			 "unknown", unknown, "without_slot", (json_int_t)d->no_slot, "closed_at_announcement",
			 (json_int_t)d->closed, "closed_by_hand", (json_int_t)d->by_hand, "slowest_microseconds",
			 (json_int_t)(slowest / 1000), "slowest_barrier_microseconds",
			 (json_int_t)(closer_slowest_barrier(d->closer) / 1000), "without_barrier",
			 (json_int_t)closer_without_barrier(d->closer), "failed", (json_int_t)d->failed, "repaired",
			 (json_int_t)d->repaired, "unsettled", (json_int_t)d->unsettled, "resyncs",
			 (json_int_t)links_resyncs(d->links), "realtime", closer_is_realtime(d->closer));
}

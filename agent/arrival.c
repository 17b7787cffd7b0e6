/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/arrival.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "bpf/abi.h"

#define ENOUGH	  3 /* fewer may be broken: a pod can send what no socket takes */
#define HEARTBEAT (5 * NSEC_PER_SEC)

static bool proxy_runs(const struct kernel *k, uint64_t now)
{
	uint64_t beat = __atomic_load_n(&k->dns_stats->heartbeat, __ATOMIC_RELAXED);

	return beat != 0 && (now < beat || now - beat < HEARTBEAT);
}

static uint64_t count(const struct kernel *k, enum sluice_dns_stat which)
{
	return __atomic_load_n(&k->dns_stats->counts[which], __ATOMIC_RELAXED);
}

static void look_at(struct arrival_way *w, uint64_t handed, uint64_t arrived)
{
	uint64_t overdue = w->handed_before - w->handed;

	w->handed_before = handed;
	if (arrived != w->arrived) {
		*w = (struct arrival_way){ handed, arrived, handed, 0, true };
	} else if (overdue >= ENOUGH) {
		w->lost = overdue;
		w->proven = false;
	}
}

/* `news`: something arrived since, and so has an answer. */
static void look_out(struct arrival *a, uint64_t barred, bool news)
{
	uint64_t since = barred > a->out.barred ? barred - a->out.barred : 0; /* another proxy's count begins anew */

	a->out.barred = barred;
	if (since) {
		a->out.lost += since;
		a->out.proven = false;
	} else if (news) {
		a->out.lost = 0;
		a->out.proven = true;
	}
}

/* What came by loopback from a cgroup endpoint is among what arrived, though not among what was handed over. */
void arrival_look(struct arrival *a, const struct kernel *k, uint64_t now)
{
	const uint64_t handed[ARRIVAL_MAX] = { kernel_total(k, SLUICE_TOTAL_DNS_DATAGRAMS),
					       kernel_total(k, SLUICE_TOTAL_DNS_SYNS) };
	const uint64_t arrived[ARRIVAL_MAX] = { count(k, SLUICE_DNS_STAT_QUERIES_UDP),
						count(k, SLUICE_DNS_STAT_TCP_CONNECTIONS) +
							count(k, SLUICE_DNS_STAT_TCP_REFUSED) };

	if (a->begun && proxy_runs(k, now))
		look_out(a, count(k, SLUICE_DNS_STAT_ANSWERS_BARRED),
			 arrived[ARRIVAL_UDP] != a->ways[ARRIVAL_UDP].arrived);
	else
		a->out.barred = count(k, SLUICE_DNS_STAT_ANSWERS_BARRED);
	for (int i = 0; i < ARRIVAL_MAX; i++) {
		struct arrival_way *w = &a->ways[i];

		if (a->begun && proxy_runs(k, now))
			look_at(w, handed[i], arrived[i]);
		else
			*w = (struct arrival_way){ handed[i], arrived[i], handed[i], w->lost, w->proven };
	}
	a->begun = true;
}

static void add_suspects(const char *lines, uint32_t mark, struct strbuf *problems)
{
	while (lines && *lines) {
		size_t len = strcspn(lines, "\n");

		strbuf_addf(
			problems,
			"nf_tables: %.*s drops what none of its rules admits; without one for mark 0x%x/0x%x DNS of "
			"pods fails\n",
			(int)len, lines, mark, mark);
		lines += len + (lines[len] == '\n');
	}
}

void arrival_problems(const struct arrival *a, struct firewall *f, struct strbuf *problems)
{
	static const char *const names[ARRIVAL_MAX] = { "queries by UDP", "connections by TCP" };
	bool lost = false, proven = false;

	for (int i = 0; i < ARRIVAL_MAX; i++) {
		const struct arrival_way *w = &a->ways[i];

		if (w->lost)
			strbuf_addf(problems,
				    "DNS: the last %llu %s were handed to the proxy and did not arrive: this "
				    "node drops them\n",
				    (unsigned long long)w->lost, names[i]);
		lost |= w->lost != 0;
		proven |= w->proven;
	}
	if (lost || !proven)
		add_suspects(firewall_dropping(f, FIREWALL_IN), SLUICE_FWMARK, problems);
	if (a->out.lost >= ENOUGH)
		strbuf_addf(problems, "DNS: the last %llu answers to pods were dropped by this node's own filter\n",
			    (unsigned long long)a->out.lost);
	if (!a->out.proven)
		add_suspects(firewall_dropping(f, FIREWALL_OUT), SLUICE_SOCK_MARK, problems);
	if (lost && firewall_is_legacy())
		strbuf_addf(problems,
			    "iptables-legacy: there is a filter, which is not looked into; without a rule for mark "
			    "0x%x/0x%x DNS of pods may fail\n",
			    SLUICE_FWMARK, SLUICE_FWMARK);
}

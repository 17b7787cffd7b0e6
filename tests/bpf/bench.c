/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds per packet of the programs alone, by BPF_PROG_TEST_RUN: the best of several runs, and the empty loop's
 * share is in it (an `unknown interface` drop without events is the least there is). Not a ctest: figures are for
 * bpf/README.md and for comparing two builds in one sitting.
 */
#include <netinet/in.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "tests/bpf/harness.h"

#define REPEAT 200000
#define RUNS   7

static void bench(struct harness *h, const char *what, const struct frame *f, struct bpf_program *prog)
{
	struct __sk_buff ctx = { .ifindex = (uint32_t)h->host_ifindex, .ingress_ifindex = 7 };
	uint32_t best = ~0u;
	int verdict = 0;

	for (int i = 0; i < RUNS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->len,
			    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = REPEAT);

		if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts))
			return;
		verdict = (int)opts.retval;
		if (opts.duration < best)
			best = opts.duration;
	}
	printf("%-58s %-5s %5u ns\n", what, verdict == PASS ? "pass" : "drop", best);
}

static void fill_tables(struct harness *h)
{
	char text[64];

	allow(h, "0.0.0.0/0", 0, 443);
	for (unsigned int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "198.18.%u.%u/31", i / 100, i % 100 * 2);
		allow(h, text, IPPROTO_TCP, 443);
	}
	allow_name(h, PEER4, 1, IPPROTO_TCP, 8443);
}

int main(void)
{
	struct harness *h = NULL;
	void *state = NULL;
	struct frame live = pod_tcp(PEER4, 1000, 443, ACK), live6 = pod_tcp(PEER6, 1000, 443, ACK);
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), name = pod_tcp(PEER4, 1001, 8443, SYN);
	struct frame denied = pod_tcp(PEER4, 1002, 80, SYN), query = pod_udp(PEER4, 1000, 53);
	struct frame in = peer_tcp(PEER4, 443, 1000, ACK);

	if (harness_open(&state) || harness_reset(&state))
		return 1;
	h = state;
	fill_tables(h);
	allow(h, PEER6, 0, 443);
	h->settings->event_rate = 1;
	bench(h, "from_pod, live flow, IPv4", &live, h->skel->progs.from_pod);
	bench(h, "from_pod, live flow, IPv6", &live6, h->skel->progs.from_pod);
	bench(h, "to_pod, live flow, IPv4", &in, h->skel->progs.to_pod);
	bench(h, "from_pod, SYN judged by 1,000 prefixes, flow known", &syn, h->skel->progs.from_pod);
	bench(h, "from_pod, SYN judged by prefix and lease, flow known", &name, h->skel->progs.from_pod);
	bench(h, "from_pod, SYN denied, tombstone known, events over rate", &denied, h->skel->progs.from_pod);
	set_state(h, SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1);
	bench(h, "from_pod, query without a proxy, events over rate", &query, h->skel->progs.from_pod);
	set_state(h, SLUICE_MODE_OPEN, 0, 1);
	bench(h, "from_pod, open", &live, h->skel->progs.from_pod);
	harness_close(&state);
	return 0;
}

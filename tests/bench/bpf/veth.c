/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP stream and the rate of connections, from a pod's namespace through its veth to the node: without programs, with
 * empty ones, with Sluice's, and with an nftables set of the same prefixes and connection tracking. They take turns; each figure is
 * compared with the one of the same turn without programs, and the median of those ratios is printed, by wall time and by
 * the process's CPU time, in which the kernel's work for both ends is (nothing here waits for another process).
 *
 * The stream is one connection that never rests while its guards are exchanged, written and read by a thread each, of which
 * each has a processor of its own where there are two: what a new connection finds out about its path, and where the
 * scheduler puts its ends, would be more than what is looked for.
 *
 *   bench-bpf-veth [--quick] [--clsact]
 *
 * Programs are attached by TCX where the kernel has it, as the agent does; --clsact: by filters all the same.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bare.skel.h"
#include "base/cleanup.h"
#include "tests/bpf/harness.h"

#define PREFIXES  10000
#define MAX_TURNS 400
#define CHUNK	  131072 /* a write, as iperf3(1) has it */
#define SETTLE_NS 2000000
#define NFT_EVERY 5 /* turns: ten thousand elements take their time */

enum guard { NOTHING, EMPTY, SLUICE, NFTABLES, GUARDS };

static const char *const guard_names[GUARDS] = { "no programs", "empty ones", "Sluice", "nftables" };
static struct bare_bpf *bare;
static int turns = 100;
static long slice_ns = 20000000; /* of the stream */
static int connections = 400;
static bool have_nft;
static bool tcx;

struct rate {
	double wall, cpu; /* units per second */
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench-bpf-veth: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- guards ------------------------------------------------------------------------------------------------------ */

static void prefix_text(unsigned int i, char ret[ADDR_TEXT_MAX])
{
	snprintf(ret, ADDR_TEXT_MAX, "198.%u.%u.%u/32", 18 + i / 65536 % 2, i / 256 % 256, i % 256);
}

static void fill(struct harness *h)
{
	/* Settled, as the agent has it of a policy whose names are of the same tier. */
	struct sluice_rule rule = {
		.precedence = SLUICE_PRECEDENCE_ALLOW, .rule = 1, .verdict = SLUICE_ALLOW, .settled = 1
	};
	char text[ADDR_TEXT_MAX];

	set_quiet(h);
	add_cluster(h, NODE4, SLUICE_CLUSTER_NODE, true);
	add_rule(h, TEST_POLICY, 1, IPPROTO_TCP, 0, 0, rule);
	h->hold_dests = true;
	add_dest(h, TEST_POLICY, NODE4, 1, 1);
	for (unsigned int i = 0; i < PREFIXES; i++) {
		prefix_text(2 * i, text);
		add_dest(h, TEST_POLICY, text, 1, 1);
	}
	commit_dests(h, TEST_POLICY);
}

/* Debian 12's headers know nothing of TCX: include/uapi/linux/bpf.h of 6.6. */
#define TCX_INGRESS 46
#define TCX_EGRESS  47

/* As the agent has it where the kernel can (agent/attach.c); false: this one cannot. */
static bool attach_tcx(struct harness *h, struct bpf_program *ingress, struct bpf_program *egress, bool on)
{
	static int links[] = { -1, -1 };

	for (int i = 0; i < 2; i++) {
		closep(&links[i]);
		if (on)
			links[i] = bpf_link_create(bpf_program__fd(i ? egress : ingress), h->host_ifindex,
						   (enum bpf_attach_type)(i ? TCX_EGRESS : TCX_INGRESS), NULL);
	}
	return !on || (links[0] >= 0 && links[1] >= 0);
}

/*
 * The qdisc stays: the kernel has the interface lose packets while one comes or goes, and a stream that lost its window waits
 * for its timer.
 */
static void attach_clsact(struct harness *h, struct bpf_program *ingress, struct bpf_program *egress, bool on)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = h->host_ifindex);
	struct bpf_program *programs[] = { ingress, egress };

	for (int i = 0; i < 2; i++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = SLUICE_TC_HANDLE, .priority = SLUICE_TC_PRIORITY);

		hook.attach_point = i ? BPF_TC_EGRESS : BPF_TC_INGRESS;
		opts.prog_fd = on ? bpf_program__fd(programs[i]) : 0;
		must((on ? bpf_tc_attach(&hook, &opts) : bpf_tc_detach(&hook, &opts)) == 0, "filter");
	}
}

static void destroy_clsact(struct harness *h)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = h->host_ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	bpf_tc_hook_destroy(&hook);
}

static void attach(struct harness *h, struct bpf_program *ingress, struct bpf_program *egress, bool on)
{
	if (tcx)
		must(attach_tcx(h, ingress, egress, on), "TCX");
	else
		attach_clsact(h, ingress, egress, on);
}

/* As a firewall by names would have it: established passes, the set is asked for what is new, the rest drops. */
static void nftables(bool on)
{
	FILE *nft = popen("nft -f - 2>/dev/null", "w");
	char text[ADDR_TEXT_MAX];

	must(nft != NULL, "nft");
	if (!on) {
		fputs("flush ruleset\n", nft);
		pclose(nft);
		return;
	}
	fputs("table ip bench {\n set open { type ipv4_addr; flags interval; elements = { " NODE4, nft);
	for (unsigned int i = 0; i < PREFIXES; i++) {
		prefix_text(2 * i, text);
		fprintf(nft, ", %s", text);
	}
	fputs(" }\n }\n chain in { type filter hook prerouting priority 0; policy accept;\n"
	      "  iifname \"sluice-h\" ct state established accept\n"
	      "  iifname \"sluice-h\" ip daddr @open accept\n  iifname \"sluice-h\" drop\n }\n}\n",
	      nft);
	if (pclose(nft) != 0)
		have_nft = false;
}

static void guard_set(struct harness *h, enum guard g, bool on)
{
	if (g == EMPTY)
		attach(h, bare->progs.empty, bare->progs.empty, on);
	if (g == SLUICE)
		attach(h, h->skel->progs.from_pod, h->skel->progs.to_pod, on);
	if (g == NFTABLES)
		nftables(on);
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

static struct {
	int fd;
	struct sockaddr_in at;
} listener;

static void listen_on_node(void)
{
	struct sockaddr_in *at = &listener.at;
	socklen_t len = sizeof(*at);

	at->sin_family = AF_INET;
	listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(listener.fd >= 0 && inet_pton(AF_INET, NODE4, &at->sin_addr) == 1, "socket");
	must(bind(listener.fd, (struct sockaddr *)at, len) == 0 && listen(listener.fd, 16) == 0, "listen");
	must(getsockname(listener.fd, (struct sockaddr *)at, &len) == 0, "getsockname");
}

/* Both ends are ours and the veth takes no time of its own: when connect returns, the connection waits to be accepted. */
static void open_pair(struct harness *h, int *ret_pod, int *ret_node)
{
	static const struct linger at_once = { .l_onoff = 1 };

	*ret_pod = pod_socket(h, AF_INET, SOCK_STREAM, 0);
	must(connect(*ret_pod, (const struct sockaddr *)&listener.at, sizeof(listener.at)) == 0, "connect");
	*ret_node = accept(listener.fd, NULL, NULL);
	must(*ret_node >= 0, "accept");
	/* A reset leaves no TIME_WAIT behind, so that ports do not run out. */
	must(setsockopt(*ret_pod, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0, "linger");
}

/* The stream: it flows until `stop`. */
static struct {
	int pod, node;
	pthread_t writer, reader;
	atomic_ullong bytes; /* that have arrived */
	atomic_bool stop;
} stream;

/* Where there is one only, both share it. */
static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static void *stream_write(void *arg)
{
	static char chunk[CHUNK];

	(void)arg;
	pin(0);
	while (!stream.stop)
		must(send(stream.pod, chunk, sizeof(chunk), 0) > 0, "send");
	must(shutdown(stream.pod, SHUT_WR) == 0, "shutdown");
	return NULL;
}

static void *stream_read(void *arg)
{
	static char chunk[CHUNK];
	ssize_t n;

	(void)arg;
	pin(1);
	while ((n = recv(stream.node, chunk, sizeof(chunk), 0)) > 0)
		stream.bytes += (unsigned long long)n;
	return NULL;
}

static void stream_open(struct harness *h)
{
	open_pair(h, &stream.pod, &stream.node);
	must(pthread_create(&stream.writer, NULL, stream_write, NULL) == 0, "thread");
	must(pthread_create(&stream.reader, NULL, stream_read, NULL) == 0, "thread");
}

static void stream_close(void)
{
	stream.stop = true;
	pthread_join(stream.writer, NULL);
	pthread_join(stream.reader, NULL);
	close(stream.node);
	close(stream.pod);
}

static void rest(long ns)
{
	struct timespec t = { .tv_nsec = ns };

	while (nanosleep(&t, &t))
		;
}

static struct rate stream_slice(struct harness *h)
{
	double wall, cpu;
	unsigned long long bytes;

	(void)h;
	rest(SETTLE_NS);
	bytes = stream.bytes;
	wall = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	rest(slice_ns);
	bytes = stream.bytes - bytes;
	wall = now(CLOCK_MONOTONIC) - wall;
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	return (struct rate){ (double)bytes / wall, (double)bytes / cpu };
}

static struct rate connect_slice(struct harness *h)
{
	double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	int pod, node;

	for (int i = 0; i < connections; i++) {
		open_pair(h, &pod, &node);
		close(pod);
		close(node);
	}
	wall = now(CLOCK_MONOTONIC) - wall;
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	return (struct rate){ connections / wall, connections / cpu };
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), by_size);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* What a guard came to in the turns it took part in. */
struct results {
	struct rate of[MAX_TURNS][GUARDS];
};

static bool takes_part(enum guard g, int turn)
{
	return g != NFTABLES || (have_nft && turn % NFT_EVERY == 0);
}

static void report(const char *what, const struct results *r, double unit)
{
	for (int g = 0; g < GUARDS; g++) {
		double rate[MAX_TURNS], wall[MAX_TURNS], cpu[MAX_TURNS];
		int n = 0;

		for (int i = 0; i < turns; i++) {
			if (!takes_part((enum guard)g, i))
				continue;
			rate[n] = r->of[i][g].wall * unit;
			wall[n] = r->of[i][g].wall / r->of[i][NOTHING].wall;
			cpu[n++] = r->of[i][g].cpu / r->of[i][NOTHING].cpu;
		}
		if (n)
			printf("%-26s %-12s %10.1f %8.3f %8.3f\n", what, guard_names[g], median(rate, n),
			       median(wall, n), median(cpu, n));
	}
}

/* One measure of all guards, in turns; the first warms up and is not kept. */
static void take_turns(struct harness *h, struct results *ret, struct rate (*slice)(struct harness *h))
{
	for (int i = -1; i < turns; i++) {
		for (int k = 0; k < GUARDS; k++) {
			enum guard g = (enum guard)((k + i + GUARDS) % GUARDS);
			struct rate r;

			if (!takes_part(g, i))
				continue;
			guard_set(h, g, true);
			r = slice(h);
			guard_set(h, g, false);
			if (i >= 0)
				ret->of[i][g] = r;
		}
	}
}

static void compare(void **state)
{
	static struct results streams, conns;
	struct harness *h = *state;

	must(harness_reset(state) == 0, "reset");
	fill(h);
	h->settings->flow_quota = h->settings->tombstone_quota = 65536;
	listen_on_node();
	stream_open(h);
	take_turns(h, &streams, stream_slice);
	stream_close();
	take_turns(h, &conns, connect_slice);
	close(listener.fd);
	printf("%-26s %-12s %10s %8s %8s\n", "through the veth", "", "per second", "wall", "by CPU");
	report("one stream, MB", &streams, 1e-6);
	report("connections", &conns, 1);
}

int main(int argc, char **argv)
{
	bool clsact = false;
	void *state = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0) {
			turns = 2;
			slice_ns = SETTLE_NS;
			connections = 50;
		}
		clsact = clsact || strcmp(argv[i], "--clsact") == 0;
	}
	have_nft = access("/usr/sbin/nft", X_OK) == 0;
	bare = bare_bpf__open_and_load();
	if (!bare || harness_open_node_sized(&state, 65536) || harness_reset(&state))
		return 1;
	attach_clsact(state, NULL, NULL, false); /* the harness's */
	tcx = !clsact && attach_tcx(state, bare->progs.empty, bare->progs.empty, true);
	attach_tcx(state, NULL, NULL, false);
	if (tcx)
		destroy_clsact(state);
	puts(tcx ? "by TCX" : "by clsact");
	if (!have_nft)
		puts("no nftables here: nothing to compare with");
	compare(&state);
	bare_bpf__destroy(bare);
	harness_close(&state);
	return 0;
}

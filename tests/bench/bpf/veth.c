/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP stream and the rate of connections, from a pod's namespace through its veth to the node: without programs, with
 * empty ones, with Sluice's, and with an nftables set of the same prefixes and connection tracking. They take turns; each figure is
 * compared with the one of the same turn without programs, and the median of those ratios is printed, by wall time and by
 * the process's CPU time, in which the kernel's work for both ends is (nothing here waits for another process).
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
#define MAX_TURNS 25
#define CHUNK	  65536

enum guard { NOTHING, EMPTY, SLUICE, NFTABLES, GUARDS };

static const char *const guard_names[GUARDS] = { "no programs", "empty ones", "Sluice", "nftables" };
static struct bare_bpf *bare;
static int turns = 15;
static int rounds = 4000; /* chunks of a stream */
static int connections = 1500;
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

static void attach_clsact(struct harness *h, struct bpf_program *ingress, struct bpf_program *egress, bool on)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = h->host_ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	struct bpf_program *programs[] = { ingress, egress };
	int err;

	if (!on) {
		bpf_tc_hook_destroy(&hook);
		return;
	}
	err = bpf_tc_hook_create(&hook);
	must(err == 0 || err == -EEXIST, "clsact");
	for (int i = 0; i < 2; i++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(programs[i]), .handle = SLUICE_TC_HANDLE,
			    .priority = SLUICE_TC_PRIORITY);

		hook.attach_point = i ? BPF_TC_EGRESS : BPF_TC_INGRESS;
		must(bpf_tc_attach(&hook, &opts) == 0, "attach");
	}
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

static int listener(struct sockaddr_in *ret_at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret_at);

	*ret_at = (struct sockaddr_in){ .sin_family = AF_INET };
	must(fd >= 0 && inet_pton(AF_INET, NODE4, &ret_at->sin_addr) == 1, "socket");
	must(bind(fd, (struct sockaddr *)ret_at, sizeof(*ret_at)) == 0 && listen(fd, 16) == 0, "listen");
	must(getsockname(fd, (struct sockaddr *)ret_at, &len) == 0, "getsockname");
	return fd;
}

/* Both ends are ours and the veth takes no time of its own: when connect returns, the connection waits to be accepted. */
static void open_pair(struct harness *h, int listen_fd, const struct sockaddr_in *at, int *ret_pod, int *ret_node)
{
	static const struct linger at_once = { .l_onoff = 1 };

	*ret_pod = pod_socket(h, AF_INET, SOCK_STREAM, 0);
	must(connect(*ret_pod, (const struct sockaddr *)at, sizeof(*at)) == 0, "connect");
	*ret_node = accept(listen_fd, NULL, NULL);
	must(*ret_node >= 0, "accept");
	/* A reset leaves no TIME_WAIT behind, so that ports do not run out. */
	must(setsockopt(*ret_pod, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0, "linger");
}

static void stream(struct harness *h, int listen_fd, const struct sockaddr_in *at)
{
	static char chunk[CHUNK];
	int pod, node;

	open_pair(h, listen_fd, at, &pod, &node);
	for (int i = 0; i < rounds; i++) {
		must(send(pod, chunk, sizeof(chunk), 0) == CHUNK, "send");
		must(recv(node, chunk, sizeof(chunk), MSG_WAITALL) == CHUNK, "recv");
	}
	close(node);
	close(pod);
}

static void connect_often(struct harness *h, int listen_fd, const struct sockaddr_in *at)
{
	int pod, node;

	for (int i = 0; i < connections; i++) {
		open_pair(h, listen_fd, at, &pod, &node);
		close(pod);
		close(node);
	}
}

static struct rate timed(struct harness *h, void (*load)(struct harness *, int, const struct sockaddr_in *), int units)
{
	double wall, cpu;
	struct sockaddr_in at;
	int fd = listener(&at);

	wall = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	load(h, fd, &at);
	wall = now(CLOCK_MONOTONIC) - wall;
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	close(fd);
	return (struct rate){ units / wall, units / cpu };
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

static void report(const char *what, struct rate (*r)[GUARDS], double unit)
{
	for (int g = 0; g < GUARDS; g++) {
		double rate[MAX_TURNS], wall[MAX_TURNS], cpu[MAX_TURNS];

		if (g == NFTABLES && !have_nft)
			continue;
		for (int i = 0; i < turns; i++) {
			rate[i] = r[i][g].wall * unit;
			wall[i] = r[i][g].wall / r[i][NOTHING].wall;
			cpu[i] = r[i][g].cpu / r[i][NOTHING].cpu;
		}
		printf("%-26s %-12s %10.1f %8.3f %8.3f\n", what, guard_names[g], median(rate, turns),
		       median(wall, turns), median(cpu, turns));
	}
}

static void compare(void **state)
{
	static struct rate streams[MAX_TURNS][GUARDS], conns[MAX_TURNS][GUARDS];
	struct harness *h = *state;

	for (int i = -1; i < turns; i++) { /* the first turn warms up and is not kept */
		for (int k = 0; k < GUARDS; k++) {
			enum guard g = (enum guard)((k + i + GUARDS) % GUARDS);
			struct rate s, c;

			if (g == NFTABLES && !have_nft)
				continue;
			must(harness_reset(state) == 0, "reset");
			fill(h);
			h->settings->flow_quota = h->settings->tombstone_quota = 65536;
			guard_set(h, g, true);
			s = timed(h, stream, rounds);
			c = timed(h, connect_often, connections);
			guard_set(h, g, false);
			if (i >= 0) {
				streams[i][g] = s;
				conns[i][g] = c;
			}
		}
	}
	printf("%-26s %-12s %10s %8s %8s\n", "through the veth", "", "per second", "wall", "by CPU");
	report("one stream, MB", streams, CHUNK / 1e6);
	report("connections", conns, 1);
}

int main(int argc, char **argv)
{
	bool clsact = false;
	void *state = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0) {
			turns = 2;
			rounds = connections = 50;
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
	puts(tcx ? "by TCX" : "by clsact");
	if (!have_nft)
		puts("no nftables here: nothing to compare with");
	compare(&state);
	bare_bpf__destroy(bare);
	harness_close(&state);
	return 0;
}

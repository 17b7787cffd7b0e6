/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real program behind the real kernel programs: a pod's namespace, a node's namespace with a resolver on loopback
 * and the proxy, nothing else of Sluice. All namespaces are the test's own; nothing leaves them.
 */
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "tests/unit/dnsproxy/dns_test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "bpf/lease_line.h"
#include "dnsproxy/kmaps.h"
#include "dnsproxy/settings.h"
#include "dnsproxy/streams.h"
#include "proxy.skel.h"
#include "veth.skel.h"

#define POLICY	   9ull
#define EP	   3u
#define GENERATION 77u
#define MANY	   100 /* records of big.example.org */

/* What the resolver saw, in shared memory. */
struct seen {
	unsigned int udp, tcp;
	unsigned int ports; /* distinct source ports */
	uint16_t last_ports[64];
	char last_name[256];
	uint16_t last_len;
};

static char top[] = "/tmp/sluice-proxy-XXXXXX";
static char cgroup[128]; /* the proxy's; "": there is no cgroup2 to make one in */
static struct veth_bpf *skel;
static struct seen *seen;
static int node_ns, pod_ns;
static pid_t proxy_pid, resolver_pid, holder_pid;
static struct sluice_endpoint *endpoints;
static struct sluice_dns_stats *stats;

static void shell(const char *command)
{
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static void enter(int ns)
{
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

/* ---- the resolver ------------------------------------------------------------------------------------------------ */

static void note(const struct msg *q, unsigned int port)
{
	struct wire_query read;

	if (wire_read_query(q->data, q->len, &read) == WIRE_OK)
		snprintf(seen->last_name, sizeof(seen->last_name), "%.*s", read.name.len, read.name.text);
	seen->last_len = (uint16_t)q->len;
	for (unsigned int i = 0; i < seen->ports && i < 64; i++)
		if (seen->last_ports[i] == port)
			return;
	if (seen->ports < 64)
		seen->last_ports[seen->ports++] = (uint16_t)port;
}

static struct msg resolve(const struct msg *q, bool tcp)
{
	struct wire_query read;
	struct msg m = { .len = 0 };
	unsigned int number;
	char name[256];

	assert_int_equal(wire_read_query(q->data, q->len, &read), WIRE_OK);
	snprintf(name, sizeof(name), "%.*s", read.name.len, read.name.text);
	add_header(&m, read.id, WIRE_QR | WIRE_RD | WIRE_RA, 1, 0, 0, 0);
	add_question(&m, name, read.qtype);
	if (!strcmp(name, "big.example.org") && !tcp) {
		m.data[2] |= WIRE_TC >> 8;
		return m;
	}
	if (!strcmp(name, "big.example.org")) {
		for (int i = 0; i < MANY; i++) {
			char addr[32];

			snprintf(addr, sizeof(addr), "203.0.113.%d", i);
			add_addr(&m, name, 60, addr);
		}
		return m;
	}
	if (sscanf(name, "n%u.example.org", &number) == 1) { /* each its own address */
		char addr[32];

		snprintf(addr, sizeof(addr), "20.%u.%u.%u", number >> 16, number >> 8 & 255, number & 255);
		add_addr(&m, name, 600, addr);
		return m;
	}
	add_name_rr(&m, name, WIRE_CNAME, 60, "edge.example.net");
	if (read.qtype == WIRE_A)
		add_addr(&m, "edge.example.net", 30, "203.0.113.10");
	if (read.qtype == WIRE_AAAA)
		add_addr(&m, "edge.example.net", 30, "2001:db8::10");
	return m;
}

/* One query of a connection. False: it is over. */
static bool serve_stream(int fd)
{
	struct msg q = { .len = 0 }, a;
	uint8_t prefix[2];

	if (recv(fd, prefix, 2, MSG_WAITALL) != 2 || recv(fd, q.data, get16(prefix), MSG_WAITALL) <= 0)
		return false;
	q.len = get16(prefix);
	seen->tcp++;
	a = resolve(&q, true);
	prefix[0] = (uint8_t)(a.len >> 8);
	prefix[1] = (uint8_t)a.len;
	send(fd, prefix, 2, MSG_MORE | MSG_NOSIGNAL);
	send(fd, a.data, a.len, MSG_NOSIGNAL);
	return true;
}

static void serve_datagram(int udp)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	struct msg q, a;

	q.len = (size_t)recvfrom(udp, q.data, sizeof(q.data), 0, (struct sockaddr *)&from, &len);
	if (q.len < WIRE_HEADER)
		return;
	seen->udp++;
	note(&q, ntohs(from.sin_port));
	a = resolve(&q, false);
	sendto(udp, a.data, a.len, 0, (struct sockaddr *)&from, len);
}

static void resolver(void)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(5353), .sin_addr = { htonl(0x7f000001) } };
	int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	struct pollfd fds[2 + STREAMS_MAX] = { { udp, POLLIN, 0 }, { tcp, POLLIN, 0 } };

	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(udp, (struct sockaddr *)&own, sizeof(own)) < 0 ||
	    bind(tcp, (struct sockaddr *)&own, sizeof(own)) < 0 || listen(tcp, 16) < 0)
		_exit(1);
	for (int i = 2; i < 2 + STREAMS_MAX; i++)
		fds[i].fd = -1;
	while (poll(fds, 2 + STREAMS_MAX, -1) > 0) {
		int place = 2;

		if (fds[0].revents)
			serve_datagram(udp);
		for (int i = 2; i < 2 + STREAMS_MAX; i++)
			if (fds[i].fd >= 0 && fds[i].revents && !serve_stream(fds[i].fd)) {
				close(fds[i].fd);
				fds[i].fd = -1;
			}
		while (place < 1 + STREAMS_MAX && fds[place].fd >= 0)
			place++;
		if (fds[1].revents)
			fds[place] = (struct pollfd){ accept(tcp, NULL, NULL), POLLIN, 0 };
	}
	_exit(0);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static void path_of(char *buf, size_t size, const char *rest)
{
	snprintf(buf, size, "%s/%s", top, rest);
}

static void write_image(void)
{
	struct compiled c = test_compile(CNP_HEAD "  egress:\n  - toFQDNs: [{matchPattern: '*.example.org'}]\n"
						  "    toPorts: [{ports: [{port: \"443\"}]}]\n",
					 NULL);
	char path[128], rest[64];

	snprintf(rest, sizeof(rest), "run/proxy/" PROXY_IMAGE_FORMAT, POLICY);
	path_of(path, sizeof(path), rest);
	assert_int_equal(file_replace(AT_FDCWD, path, c.data, c.len, 0644), 0);
	compiled_clear(&c);
}

static void write_settings(void)
{
	struct proxy_settings s = { .magic = PROXY_SETTINGS_MAGIC,
				    .size = sizeof(s),
				    .max_ttl = 3600,
				    .grace = 5,
				    .query_timeout_ms = 1000,
				    .query_tries = 2,
				    .nresolvers = 1,
				    .resolvers = { { test_addr("127.0.0.1"), 5353, { 0 } } },
				    .nqtypes = 2,
				    .qtypes = { 1, 28 } };
	char path[128];

	path_of(path, sizeof(path), "run/proxy/" PROXY_SETTINGS_FILE);
	assert_int_equal(file_replace(AT_FDCWD, path, &s, sizeof(s), 0644), 0);
}

static void *map_of(struct bpf_map *map, size_t size)
{
	void *p = mmap(NULL, bpf_map__max_entries(map) * size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void load(unsigned int ifindex)
{
	struct sluice_if link = { EP, GENERATION };
	struct sluice_settings *settings;
	struct bpf_map *map;
	char path[128], command[256];

	skel = veth_bpf__open_and_load();
	assert_non_null(skel);
	settings = map_of(skel->maps.settings, sizeof(*settings));
	endpoints = map_of(skel->maps.endpoints, sizeof(*endpoints));
	stats = map_of(skel->maps.dns_stats, sizeof(*stats));
	settings->abi = SLUICE_ABI_VERSION;
	settings->flow_quota = settings->tombstone_quota = 1000;
	settings->name_key[0] = 1;
	settings->lease_lines = bpf_map__max_entries(skel->maps.lease_lines);
	endpoints[EP] =
		(struct sluice_endpoint){ .state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, POLICY),
					  .generation = GENERATION,
					  .ifindex = ifindex,
					  .naddrs = 2,
					  .addrs = { test_addr("10.0.1.5"), test_addr("fd00::5") } };
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(skel->maps.ifindexes), &ifindex, &link, BPF_ANY), 0);
	bpf_object__for_each_map(map, skel->obj)
	{
		char rest[96];

		if (strchr(bpf_map__name(map), '.'))
			continue;
		snprintf(rest, sizeof(rest), "bpf/sluice/%s", bpf_map__name(map));
		path_of(path, sizeof(path), rest);
		assert_int_equal(bpf_map__pin(map, path), 0);
	}
	path_of(path, sizeof(path), "bpf/from_pod");
	assert_int_equal(bpf_program__pin(skel->progs.from_pod, path), 0);
	snprintf(command, sizeof(command),
		 "tc qdisc add dev host0 clsact && tc filter add dev host0 ingress bpf da object-pinned %s", path);
	shell(command);
}

/* What the agent does for the proxy's filter. */
static void load_filter(void)
{
	struct sluice_proxy_peer peer = { .addr = test_addr("127.0.0.1"), .port = 5353 };
	const uint32_t one = 1;
	struct proxy_bpf *filter = proxy_bpf__open();
	struct bpf_program *prog;
	char path[128], rest[64];

	assert_non_null(filter);
	assert_int_equal(bpf_map__reuse_fd(filter->maps.ifindexes, bpf_map__fd(skel->maps.ifindexes)), 0);
	assert_int_equal(bpf_map__reuse_fd(filter->maps.totals, bpf_map__fd(skel->maps.totals)), 0);
	assert_int_equal(proxy_bpf__load(filter), 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(filter->maps.proxy_peers), &peer, &one, BPF_ANY), 0);
	path_of(path, sizeof(path), "bpf/sluice/" SLUICE_MAP_DNS_ASKERS);
	assert_int_equal(bpf_map__pin(filter->maps.dns_askers, path), 0);
	bpf_object__for_each_program(prog, filter->obj)
	{
		snprintf(rest, sizeof(rest), "bpf/sluice/programs/%s", bpf_program__name(prog));
		path_of(path, sizeof(path), rest);
		assert_int_equal(bpf_program__pin(prog, path), 0);
	}
	proxy_bpf__destroy(filter);
}

/* Wherever cgroup2 is mounted: with other hierarchies it is not at /sys/fs/cgroup. */
static void make_cgroup(void)
{
	FILE *f = fopen("/proc/self/mounts", "r");
	char line[1024], point[512], type[64];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %511s %63s", point, type) != 2 || strcmp(type, "cgroup2") != 0)
			continue;
		snprintf(cgroup, sizeof(cgroup), "%.90s/sluice-test-%d", point, (int)getpid());
		if (mkdir(cgroup, 0755) == 0)
			break;
		cgroup[0] = '\0';
	}
	if (f)
		fclose(f);
	if (!cgroup[0])
		print_message("no cgroup2 to make one in: the proxy's egress filter is not tested\n");
}

static void enter_cgroup(void)
{
	char path[160];
	FILE *f;

	if (!cgroup[0])
		return;
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	f = fopen(path, "w");
	if (!f || fprintf(f, "%d", (int)getpid()) < 0 || fclose(f) != 0)
		_exit(126);
}

static void wire_pod(void)
{
	char command[256];

	snprintf(command, sizeof(command),
		 "ip link set lo up && ip link add eth0 type veth peer name host0 && ip link set host0 netns %d",
		 (int)holder_pid);
	shell(command);
	shell("echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad; ip address add 10.0.1.5/32 dev eth0 &&"
	      " ip address add fd00::5/128 dev eth0 nodad && ip link set eth0 up");
	enter(node_ns);
	shell("ip link set lo up && ip link set host0 address 02:00:00:00:00:01 && ip link set host0 up &&"
	      " echo 1 >/proc/sys/net/ipv4/ip_forward && echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter &&"
	      " echo 0 >/proc/sys/net/ipv4/conf/host0/rp_filter && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding &&"
	      " ip route add 10.0.1.5/32 dev host0 && ip -6 route add fd00::5/128 dev host0 &&"
	      " for f in -4 -6; do ip $f rule add pref 5 fwmark 0x1000/0x1000 lookup 2053 &&"
	      " ip $f route add local default dev lo table 2053; done");
	enter(pod_ns);
	shell("ip neigh add 169.254.1.1 lladdr 02:00:00:00:00:01 dev eth0 && ip neigh add fe80::1 lladdr "
	      "02:00:00:00:00:01"
	      " dev eth0 && ip route add 169.254.1.1 dev eth0 && ip route add default via 169.254.1.1 dev eth0 &&"
	      " ip -6 route add default via fe80::1 dev eth0");
	enter(node_ns);
}

static pid_t start_proxy(void)
{
	uint64_t before = stats->started;
	char pins[64], run[64];
	pid_t pid;

	path_of(pins, sizeof(pins), "bpf/sluice");
	path_of(run, sizeof(run), "run");
	pid = fork();
	if (pid == 0) {
		/* A test that fails must not leave it behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		enter_cgroup();
		execl(PROXY_PROGRAM, "sluice-dnsproxy", "--pin-path", pins, "--run-dir", run, NULL);
		_exit(127);
	}
	for (int i = 0; i < 200 && stats->started == before; i++)
		usleep(25000);
	assert_int_not_equal(stats->started, before);
	usleep(100000);
	return pid;
}

static int set_up(void **state)
{
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(top));
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	node_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	holder_pid = fork();
	if (holder_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	pod_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	for (const char **dir = (const char *[]){ "bpf", "run", "run/proxy", NULL }; *dir; dir++) {
		path_of(path, sizeof(path), *dir);
		mkdir(path, 0755);
	}
	chmod(top, 0755);
	path_of(path, sizeof(path), "bpf");
	assert_int_equal(mount("bpf", path, "bpf", 0, NULL), 0);
	for (const char **dir = (const char *[]){ "bpf/sluice", "bpf/sluice/programs", "bpf/sluice/links", NULL }; *dir;
	     dir++) {
		path_of(path, sizeof(path), *dir);
		mkdir(path, 0700);
	}
	wire_pod();
	load(if_nametoindex("host0"));
	load_filter();
	make_cgroup();
	write_image();
	write_settings();
	resolver_pid = fork();
	if (resolver_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		resolver();
	}
	proxy_pid = start_proxy();
	return 0;
}

static int stop(pid_t pid)
{
	int status = -1;

	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	return status;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	if (proxy_pid > 0)
		stop(proxy_pid);
	if (resolver_pid > 0)
		kill(resolver_pid, SIGKILL);
	if (holder_pid > 0)
		kill(holder_pid, SIGKILL);
	veth_bpf__destroy(skel);
	if (cgroup[0])
		rmdir(cgroup);
	snprintf(command, sizeof(command), "umount %s/bpf; rm -rf --one-file-system %s", top, top);
	return system(command);
}

/* ---- the pod ----------------------------------------------------------------------------------------------------- */

static int pod_socket(const char *server, int type)
{
	struct sluice_addr addr = test_addr(server);
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&addr, 53, &ss);
	struct timeval limit = { .tv_sec = 3 };
	int fd;

	enter(pod_ns);
	fd = socket(ss.ss_family, type, 0);
	enter(node_ns);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	/* Connected: an answer from any other address than the one asked is not received. */
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}

static struct msg ask_udp(const char *server, const struct msg *q)
{
	int fd = pod_socket(server, SOCK_DGRAM);
	struct msg a = { .len = 0 };
	ssize_t n;

	assert_int_equal(send(fd, q->data, q->len, 0), (ssize_t)q->len);
	n = recv(fd, a.data, sizeof(a.data), 0);
	a.len = n > 0 ? (size_t)n : 0;
	close(fd);
	return a;
}

static struct msg recv_stream(int fd)
{
	struct msg a = { .len = 0 };
	uint8_t prefix[2];

	if (recv(fd, prefix, 2, MSG_WAITALL) == 2 &&
	    recv(fd, a.data, get16(prefix), MSG_WAITALL) == (ssize_t)get16(prefix))
		a.len = get16(prefix);
	return a;
}

static void send_stream(int fd, const struct msg *q)
{
	uint8_t prefix[2] = { (uint8_t)(q->len >> 8), (uint8_t)q->len };

	assert_int_equal(send(fd, prefix, 2, MSG_MORE), 2);
	assert_int_equal(send(fd, q->data, q->len, 0), (ssize_t)q->len);
}

static struct msg ask_tcp(const char *server, const struct msg *q)
{
	int fd = pod_socket(server, SOCK_STREAM);
	struct msg a;

	send_stream(fd, q);
	a = recv_stream(fd);
	close(fd);
	return a;
}

static bool has_lease(const char *addr)
{
	struct sluice_lease_key key = { .policy = POLICY, .addr = test_addr(addr) };
	struct sluice_lease lease;

	return bpf_map_lookup_elem(bpf_map__fd(skel->maps.leases), &key, &lease) == 0 &&
	       lease.slots[0].expires > clock_now() && (lease.slots[0].set & SLUICE_SET_NAME) &&
	       lease.slots[0].generation == GENERATION;
}

/* Is there a line (bpf/lease_line.h), and does it say what the lease says? */
static bool has_line(uint64_t policy, const char *addr)
{
	struct sluice_lease_key key = { .policy = policy, .addr = test_addr(addr) };
	uint32_t index = lease_line_index(bpf_map__max_entries(skel->maps.lease_lines), policy, &key.addr);
	struct sluice_lease_line line;
	struct sluice_lease lease;

	for (int i = 0; i < 2; i++, index = lease_line_other(index)) {
		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.lease_lines), &index, &line), 0);
		if (memcmp(&line.key, &key, sizeof(key)) == 0)
			return bpf_map_lookup_elem(bpf_map__fd(skel->maps.leases), &key, &lease) == 0 &&
			       memcmp(&line.slot, &lease.slots[0], sizeof(line.slot)) == 0 &&
			       line.check == lease_line_check(&line, 1);
	}
	return false;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static const char *const servers[] = { "8.8.8.8", "10.96.0.10", "2001:4860:4860::8888" };

static void allowed_names_are_answered(void **state)
{
	struct msg q = query("WwW.eXample.org", WIRE_A), q6 = query("www.example.org", WIRE_AAAA), a;
	char text[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		for (int tcp = 0; tcp < 2; tcp++) {
			a = tcp ? ask_tcp(servers[i], &q) : ask_udp(servers[i], &q);
			if (a.len < 12)
				fail_msg("%s %s: no answer", servers[i], tcp ? "tcp" : "udp");
			assert_string_equal(answers(a.data, a.len, text, sizeof(text)),
					    "www.example.org -> edge.example.net 60; edge.example.net 203.0.113.10 30");
			assert_memory_equal(a.data + 12, q.data + 12, q.len - 12);
			a = tcp ? ask_tcp(servers[i], &q6) : ask_udp(servers[i], &q6);
			assert_string_equal(answers(a.data, a.len, text, sizeof(text)),
					    "www.example.org -> edge.example.net 60; edge.example.net 2001:db8::10 30");
		}
	}
	assert_string_equal(seen->last_name, "www.example.org");
	assert_true(has_lease("203.0.113.10"));
	assert_true(has_lease("2001:db8::10"));
	assert_true(seen->ports > 2);
}

static void a_lease_of_one_set_has_a_line(void **state)
{
	struct msg q = query("n7.example.org", WIRE_A);

	(void)state;
	assert_true(ask_udp("8.8.8.8", &q).len > 12);
	assert_true(has_line(POLICY, "20.0.0.7"));
	q = query("line.example.org", WIRE_AAAA);
	assert_true(ask_udp("8.8.8.8", &q).len > 12);
	assert_true(has_lease("2001:db8::10"));
	assert_true(has_line(POLICY, "2001:db8::10")); /* which another name has opened before */
}

static void who_writes_a_lease_writes_its_line(void **state)
{
	struct sluice_lease lease = { .key = { POLICY + 1, test_addr("203.0.113.77") } };
	struct kmaps k = KMAPS_INIT;
	char pins[64];

	(void)state;
	path_of(pins, sizeof(pins), "bpf/sluice");
	assert_int_equal(kmaps_open(pins, &k), 0);
	lease.slots[0] = (struct sluice_lease_slot){ clock_now() + NSEC_PER_SEC * 60, 5, SLUICE_SET_NAME | 1, 1 };
	assert_int_equal(k.maps.put_lease(&k, &lease), 0);
	assert_true(has_line(POLICY + 1, "203.0.113.77"));
	lease.slots[1] = lease.slots[0];
	lease.slots[1].set++;
	assert_int_equal(k.maps.put_lease(&k, &lease), 0);
	assert_false(has_line(POLICY + 1, "203.0.113.77"));
	lease.slots[1] = (struct sluice_lease_slot){};
	assert_int_equal(k.maps.put_lease(&k, &lease), 0);
	assert_true(has_line(POLICY + 1, "203.0.113.77"));
	assert_int_equal(k.maps.delete_lease(&k, &lease.key), 0);
	/* Were the line still there, it would agree with this. */
	assert_int_equal(bpf_map_update_elem(k.leases, &lease.key, &lease, BPF_ANY), 0);
	assert_false(has_line(POLICY + 1, "203.0.113.77"));
	assert_int_equal(bpf_map_delete_elem(k.leases, &lease.key), 0);
	kmaps_close(&k);
}

static void denied_names_stay_here(void **state)
{
	struct msg q = query("secret.evil.example", WIRE_A), a;
	unsigned int before = seen->udp + seen->tcp;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		for (int tcp = 0; tcp < 2; tcp++) {
			a = tcp ? ask_tcp(servers[i], &q) : ask_udp(servers[i], &q);
			assert_true(a.len > 12);
			assert_int_equal(a.data[3] & 15, 0);
			assert_int_equal(get16(a.data + 6), 0);
			assert_int_equal(get16(a.data + 8), 1);
		}
	}
	assert_int_equal(seen->udp + seen->tcp, before);
}

static void long_answers_come_by_tcp(void **state)
{
	struct msg q = query("big.example.org", WIRE_A), a = ask_udp("8.8.8.8", &q);

	(void)state;
	assert_true(a.data[2] & (WIRE_TC >> 8));
	assert_false(has_lease("203.0.113.50"));
	a = ask_tcp("8.8.8.8", &q);
	assert_int_equal(get16(a.data + 6), 64); /* ANSWER_MAX_ADDRS */
	assert_true(has_lease("203.0.113.50"));
	assert_true(seen->tcp > 0);
}

/* D9: several queries in one segment, an allowed one and a denied one, each judged on its own; and byte by byte. */
static void streams_are_cut_anywhere(void **state)
{
	struct msg allowed = query("www.example.org", WIRE_A), denied = query("x.evil.example", WIRE_A),
		   all = { .len = 0 };
	int fd = pod_socket("9.9.9.9", SOCK_STREAM), on = 1;
	unsigned int answered = 0, empty = 0;

	(void)state;
	denied.data[1] = 0x35;
	for (int i = 0; i < 3; i++) {
		const struct msg *m = i == 1 ? &denied : &allowed;

		add16(&all, (unsigned int)m->len);
		memcpy(all.data + all.len, m->data, m->len);
		all.len += m->len;
	}
	assert_int_equal(send(fd, all.data, all.len, 0), (ssize_t)all.len);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	for (size_t i = 0; i < all.len; i++)
		assert_int_equal(send(fd, all.data + i, 1, 0), 1);
	for (int i = 0; i < 6; i++) {
		struct msg a = recv_stream(fd);

		assert_true(a.len > 12);
		*(get16(a.data + 6) ? &answered : &empty) += 1;
		assert_int_equal(a.data[1] == 0x35, get16(a.data + 6) == 0);
	}
	assert_int_equal(answered, 4);
	assert_int_equal(empty, 2);
	close(fd);
}

/* More than the framer holds and than may be under way at once, and no more to come: every one is answered. */
static void a_long_pipeline_is_served_to_its_end(void **state)
{
	enum { QUERIES = 200 };
	struct msg q = query("www.example.org", WIRE_A);
	int fd = pod_socket("9.9.9.9", SOCK_STREAM), answered = 0;

	(void)state;
	for (int i = 0; i < QUERIES; i++)
		send_stream(fd, &q);
	shutdown(fd, SHUT_WR);
	while (recv_stream(fd).len > 12)
		answered++;
	assert_int_equal(answered, QUERIES);
	close(fd);
}

static void connections_have_a_limit_and_a_timer(void **state)
{
	struct msg q = query("www.example.org", WIRE_A);
	uint64_t refused = stats->counts[SLUICE_DNS_STAT_TCP_REFUSED], begin;
	struct timeval limit = { .tv_sec = 9 };
	int fds[40];
	char byte = 0;

	(void)state;
	usleep(100000);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = pod_socket("9.9.9.9", SOCK_STREAM);
	usleep(300000);
	assert_int_equal(stats->counts[SLUICE_DNS_STAT_TCP_REFUSED] - refused, ARRAY_SIZE(fds) - 32);
	send_stream(fds[0], &q);
	assert_true(recv_stream(fds[0]).len > 12);
	/* A byte now and then does not keep a connection that never says a whole message. */
	begin = clock_now();
	for (int i = 0; i < 4; i++) {
		assert_int_equal(send(fds[1], &byte, 1, MSG_NOSIGNAL), 1);
		byte = 40;
		usleep(300000);
	}
	setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_true(recv(fds[1], &byte, 1, 0) <= 0);
	assert_true(clock_now() - begin < 8 * NSEC_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	usleep(100000);
	assert_true(ask_tcp("9.9.9.9", &q).len > 12);
}

static void another_generation_is_nobody(void **state)
{
	struct msg q = query("www.example.org", WIRE_A);
	uint64_t before = stats->counts[SLUICE_DNS_STAT_QUERIES_UDP];
	int fd = pod_socket("9.9.9.9", SOCK_STREAM);

	(void)state;
	send_stream(fd, &q);
	assert_true(recv_stream(fd).len > 0);
	/* The slot goes to another endpoint: the kernel drops, and an open connection is worth nothing. */
	endpoints[EP].generation++;
	send_stream(fd, &q);
	assert_int_equal(recv_stream(fd).len, 0);
	close(fd);
	endpoints[EP].generation--;
	assert_int_equal(stats->counts[SLUICE_DNS_STAT_QUERIES_UDP], before);
	assert_true(ask_udp("8.8.8.8", &q).len > 0);
}

/* A new proxy takes the kernel's slots while the old one runs; the old one sees it and ends by itself. */
static void a_new_proxy_takes_over(void **state)
{
	struct msg q = query("www.example.org", WIRE_A);
	pid_t old = proxy_pid;
	int status = -1;

	(void)state;
	proxy_pid = start_proxy();
	for (int i = 0; i < 20; i++)
		assert_true(ask_udp("8.8.8.8", &q).len > 12);
	assert_int_equal(waitpid(old, &status, 0), old);
	assert_int_equal(status, 0);
	assert_true(ask_udp("8.8.8.8", &q).len > 12);
	assert_true(ask_tcp("2001:db8::53", &q).len > 12);
}

static unsigned long long blocked(void)
{
	uint32_t index = SLUICE_TOTAL_PROXY_BLOCKED;
	uint64_t values[512] = { 0 };
	unsigned long long sum = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.totals), &index, values), 0);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		sum += values[i];
	return sum;
}

/* A socket connected to 127.0.0.1:port; for TCP -1 when it is not within a quarter of a second. */
static int connected(int type, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(0x7f000001) } };
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
	struct pollfd p = { fd, POLLOUT, 0 };
	int error = 0;
	socklen_t len = sizeof(error);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	if (type == SOCK_STREAM &&
	    (poll(&p, 1, 250) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* As whoever has taken the proxy over would try, from within its cgroup. Returns the number of the first surprise. */
static int try_to_get_out(void)
{
	struct sockaddr_in other = { .sin_family = AF_INET,
				     .sin_port = htons(5354),
				     .sin_addr = { htonl(0x7f000001) } };
	struct sockaddr_in6 other6 = { .sin6_family = AF_INET6, .sin6_port = htons(5354), .sin6_addr.s6_addr[15] = 1 };
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr = { htonl(0x7f000063) } };
	int good, bad, dns, six, on = 1;

	enter_cgroup(); /* a socket belongs to the cgroup it was made in */
	good = connected(SOCK_DGRAM, 5353);
	bad = connected(SOCK_DGRAM, 5354);
	dns = socket(AF_INET, SOCK_DGRAM, 0);
	six = socket(AF_INET6, SOCK_DGRAM, 0);
	if (good < 0 || bad < 0 || send(good, "x", 1, 0) != 1)
		return 1;
	if (send(bad, "x", 1, 0) >= 0)
		return 2;
	/* A connected socket is no cover: the address given per datagram is another. */
	if (sendto(good, "x", 1, 0, (struct sockaddr *)&other, sizeof(other)) >= 0 ||
	    sendto(six, "x", 1, 0, (struct sockaddr *)&other6, sizeof(other6)) >= 0)
		return 3;
	/* Nor is port 53: that one speaks to veths only. */
	setsockopt(dns, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(dns, (struct sockaddr *)&own, sizeof(own)) < 0)
		return 4;
	if (sendto(dns, "x", 1, 0, (struct sockaddr *)&other, sizeof(other)) >= 0)
		return 5;
	if (connected(SOCK_STREAM, 5353) < 0)
		return 6;
	if (connected(SOCK_STREAM, 5354) >= 0)
		return 7;
	return 0;
}

/* Hazard 23. That the proxy does its work under the filter is what all other tests show. */
static void its_cgroup_lets_nothing_else_out(void **state)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(5354), .sin_addr = { htonl(0x7f000001) } };
	unsigned long long before = blocked();
	int listener, receiver, status;
	char path[128];
	pid_t pid;

	(void)state;
	if (!cgroup[0])
		skip();
	listener = socket(AF_INET, SOCK_STREAM, 0);
	receiver = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&own, sizeof(own)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(bind(receiver, (struct sockaddr *)&own, sizeof(own)), 0);
	pid = fork();
	if (pid == 0)
		_exit(try_to_get_out());
	waitpid(pid, &status, 0);
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(recv(receiver, path, sizeof(path), 0), -1);
	assert_true(blocked() >= before + 5);
	close(listener);
	close(receiver);
}

static unsigned long resident_kb(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	unsigned long kb = 0;
	char path[64], *line;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 16, &text, &len), 0);
	line = strstr(text, "VmRSS:");
	assert_non_null(line);
	assert_int_equal(sscanf(line, "VmRSS: %lu", &kb), 1);
	return kb;
}

/* On a CPU so far, in ns. */
static unsigned long long cpu_time(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long ns = 0;
	char path[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 16, &text, &len), 0);
	assert_int_equal(sscanf(text, "%llu", &ns), 1);
	return ns;
}

#define LEASES 100000u
#define WINDOW 64u

/* Idle, and after 100,000 names with an address each. Sanitizers have a memory of their own: there it is not limited. */
static void memory_is_bounded(void **state)
{
	unsigned long idle = resident_kb(proxy_pid), full;
	unsigned int sent = 0, got = 0;
	int fd = pod_socket("8.8.8.8", SOCK_DGRAM);
	uint64_t failed = stats->counts[SLUICE_DNS_STAT_LEASES_FAILED];
	unsigned long long cpu = cpu_time(proxy_pid);

	(void)state;
	while (got < (PROXY_HAS_SECCOMP ? LEASES : 1000)) {
		struct msg q, a;
		char name[32];

		while (sent < got + WINDOW) {
			snprintf(name, sizeof(name), "n%u.example.org", sent++ % LEASES);
			q = query(name, WIRE_A);
			assert_int_equal(send(fd, q.data, q.len, 0), (ssize_t)q.len);
		}
		assert_true(recv(fd, a.data, sizeof(a.data), 0) > 0);
		got++;
	}
	close(fd);
	full = resident_kb(proxy_pid);
	print_message("resident: %lu kB before, %lu kB after %u leases; %.2f us of CPU per query\n", idle, full, got,
		      (double)(cpu_time(proxy_pid) - cpu) / got / 1000);
	assert_int_equal(stats->counts[SLUICE_DNS_STAT_LEASES_FAILED], failed);
	if (PROXY_HAS_SECCOMP) {
		assert_true(idle <= 6 * 1024);
		assert_true(full <= 16 * 1024);
	}
}

static void gives_up_its_privileges(void **state)
{
	char path[64], *text = NULL;
	size_t len;

	(void)state;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)proxy_pid);
	assert_int_equal(file_read(AT_FDCWD, path, 8192, &text, &len), 0);
	assert_non_null(strstr(text, "Uid:\t65534\t65534\t65534\t65534"));
	assert_non_null(strstr(text, "Gid:\t65534\t65534\t65534\t65534"));
	assert_non_null(strstr(text, "CapPrm:\t0000000000000000"));
	assert_non_null(strstr(text, "CapEff:\t0000000000000000"));
	assert_non_null(strstr(text, "CapAmb:\t0000000000000000"));
	assert_non_null(strstr(text, "NoNewPrivs:\t1"));
	if (PROXY_HAS_SECCOMP)
		assert_non_null(strstr(text, "Seccomp:\t2"));
	free(text);
}

static void ends_when_told_or_unpinned(void **state)
{
	char path[128];
	int status = -1;

	(void)state;
	assert_int_equal(stop(proxy_pid), 0);
	proxy_pid = start_proxy();
	path_of(path, sizeof(path), "bpf/sluice/settings");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(waitpid(proxy_pid, &status, 0), proxy_pid);
	assert_int_equal(status, 0);
	proxy_pid = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_bounded), /* first: idle is what nothing has touched yet */
		cmocka_unit_test(allowed_names_are_answered),
		cmocka_unit_test(a_lease_of_one_set_has_a_line),
		cmocka_unit_test(who_writes_a_lease_writes_its_line),
		cmocka_unit_test(denied_names_stay_here),
		cmocka_unit_test(long_answers_come_by_tcp),
		cmocka_unit_test(streams_are_cut_anywhere),
		cmocka_unit_test(a_long_pipeline_is_served_to_its_end),
		cmocka_unit_test(connections_have_a_limit_and_a_timer),
		cmocka_unit_test(another_generation_is_nobody),
		cmocka_unit_test(its_cgroup_lets_nothing_else_out),
		cmocka_unit_test(gives_up_its_privileges),
		cmocka_unit_test(a_new_proxy_takes_over),
		cmocka_unit_test(ends_when_told_or_unpinned),
	};

	if (geteuid() != 0)
		return 77;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every command that reads pins, on the real maps of the real object, in mount and network namespaces of the test's
 * own; at the end `cleanup`, after which nothing may be left.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/siphash.h"
#include "policy/compile.h"
#include "tests/unit/tools/capture.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/pins.h"
#include "veth.skel.h"

#define EP	    3u
#define GENERATION  7u
#define POLICY	    42ull
#define TCX_INGRESS 46
#define TCX_EGRESS  47

static char top[] = "/tmp/sluice-live-XXXXXX";
static char pin_path[64], run_dir[64], socket_path[64];
static struct veth_bpf *skel;

static void shell(const char *command)
{
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static json_t *ask(enum ctl_exit expected, ...)
{
	char *argv[32] = { (char *)"bpfctl",   (char *)"--pin-path", pin_path,	   (char *)"--run-dir", run_dir,
			   (char *)"--socket", socket_path,	     (char *)"-o", (char *)"json" };
	_cleanup_free_ char *out = NULL;
	enum ctl_exit code;
	va_list words;
	int n = 9;

	va_start(words, expected);
	while (n < 31 && (argv[n] = va_arg(words, char *)))
		n++;
	va_end(words);
	code = capture(&out, n, argv);
	if (code != expected)
		fail_msg("%s %s: exit %d\n%s", argv[9], argv[10], code, out);
	return json_loads(out, 0, NULL);
}

static void put(const char *map, const void *key, const void *value)
{
	int fd = bpf_object__find_map_fd_by_name(skel->obj, map);

	assert_int_equal(bpf_map_update_elem(fd, key, value, BPF_ANY), 0);
}

static struct sluice_addr addr(const char *text)
{
	struct sluice_addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static void fill_image(void)
{
	static const char text[] =
		"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
		"spec:\n  endpointSelector: {}\n  egress:\n"
		"  - toFQDNs: [{matchName: pypi.org}]\n"
		"    toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]\n"
		"  - toCIDR: [192.0.2.0/24]\n";
	struct subject subject = { .namespace_name = "ns", .name = "a" };
	struct inventory inventory = { .pods = &subject, .npods = 1 };
	struct diags diags = {};
	struct store *store = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	char path[128];
	size_t len;

	assert_int_equal(store_new(&store), 0);
	assert_int_equal(store_update(store, "p.yaml", text, strlen(text), &diags), 0);
	assert_int_equal(compile(store, &subject, &inventory, &diags, &bytes, &len), 0);
	snprintf(path, sizeof(path), "%s/proxy/%016llx.img", run_dir, POLICY);
	assert_int_equal(file_replace(AT_FDCWD, path, bytes, len, 0644), 0);
	store_freep(&store);
	diags_clear(&diags);
}

static void fill_flow_and_lease(uint64_t state, uint64_t now)
{
	struct sluice_name name = { .len = 8, .text = "pypi.org" };
	struct sluice_settings settings;
	struct sluice_lease lease = { .key = { .policy = POLICY, .addr = addr("203.0.113.5") } };
	struct sluice_flow flow = { .key = { .endpoint = EP,
					     .generation = GENERATION,
					     .local = addr("10.0.1.5"),
					     .remote = addr("203.0.113.5"),
					     .lport = htons(40000),
					     .rport = htons(443),
					     .proto = IPPROTO_TCP } };
	uint32_t zero = 0;

	bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(skel->obj, "settings"), &zero, &settings);
	name.id = siphash24("pypi.org", 8, (const uint64_t *)settings.name_key);
	put("names", &name.id, &name);
	lease.slots[0] =
		(struct sluice_lease_slot){ now + 60 * NSEC_PER_SEC, name.id, SLUICE_SET_NAME | 1, GENERATION };
	lease.slots[1] = (struct sluice_lease_slot){ now - NSEC_PER_SEC, name.id, SLUICE_SET_NAME | 2, GENERATION };
	put("leases", &lease.key, &lease);
	flow.judged = SLUICE_STATE_JUDGED(state);
	flow.opened = now - 5 * NSEC_PER_SEC;
	flow.last_seen = now;
	flow.name = name.id;
	flow.rule = 1;
	flow.origin = SLUICE_ORIGIN_POD;
	flow.tx_bytes = 1234;
	put("flows", &flow.key, &flow);
	flow.key.rport = htons(444);
	flow.origin = SLUICE_ORIGIN_TOMBSTONE;
	put("flows", &flow.key, &flow);
}

static void fill_dns_log(uint64_t state, uint64_t now)
{
	struct sluice_dns_log_head head = { .next = 2, .suppressed = 4 };
	struct sluice_dns_record record = { .seq = 1,
					    .time = now,
					    .state = state,
					    .endpoint = EP,
					    .generation = GENERATION,
					    .proto = IPPROTO_UDP,
					    .qtype = 1,
					    .verdict = SLUICE_DNS_DENIED,
					    .name_len = 8,
					    .name = "evil.org",
					    .local = addr("10.0.1.5"),
					    .server = addr("8.8.8.8") };
	uint32_t index = 0;

	put("dns_log", &index, &head);
	index = 1;
	put("dns_log", &index, &record);
}

static void fill(unsigned int ifindex)
{
	uint64_t now = clock_now(), state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, POLICY);
	struct sluice_settings settings = { .abi = SLUICE_ABI_VERSION, .name_key = { 1, 2 } };
	struct sluice_endpoint ep = {
		.state = state, .generation = GENERATION, .ifindex = ifindex, .naddrs = 1, .addrs = { addr("10.0.1.5") }
	};
	struct sluice_label label = { .generation = GENERATION,
				      .interface = "ctl0",
				      .namespace_name = "ns",
				      .name = "a",
				      .policy = "ns/p, other" };
	struct sluice_runtime runtime = { .flows = 1, .drops[SLUICE_REASON_POLICY_DEFAULT] = 3 };
	struct sluice_if entry = { EP, GENERATION };
	uint32_t zero = 0, id = EP;

	put("settings", &zero, &settings);
	put("endpoints", &id, &ep);
	put("labels", &id, &label);
	put("runtime", &id, &runtime);
	put("ifindexes", &ifindex, &entry);
	fill_flow_and_lease(state, now);
	fill_dns_log(state, now);
	fill_image();
}

static void pin_all(unsigned int ifindex)
{
	static const struct {
		const char *name;
		enum bpf_attach_type type;
	} links[] = { { "from", TCX_INGRESS }, { "to", TCX_EGRESS } };
	const struct sluice_proxy_peer peer = { .addr = addr("10.0.0.53"), .port = 53 };
	_cleanup_close_ int peers = -1;
	uint32_t one = 1;
	char path[128];
	struct bpf_map *map;

	bpf_object__for_each_map(map, skel->obj)
	{
		if (pin_find(bpf_map__name(map)) == PIN_MAX)
			continue;
		snprintf(path, sizeof(path), "%s/%s", pin_path, bpf_map__name(map));
		assert_int_equal(bpf_map__pin(map, path), 0);
	}
	/* Of the proxy's own programs, which are not loaded here. */
	peers = bpf_map_create(BPF_MAP_TYPE_HASH, SLUICE_MAP_PROXY_PEERS, sizeof(peer), sizeof(one),
			       SLUICE_MAX_PROXY_PEERS, NULL);
	assert_int_equal(bpf_map_update_elem(peers, &peer, &one, BPF_ANY), 0);
	snprintf(path, sizeof(path), "%s/" SLUICE_MAP_PROXY_PEERS, pin_path);
	assert_int_equal(bpf_obj_pin(peers, path), 0);
	snprintf(path, sizeof(path), "%s/links", pin_path);
	assert_int_equal(mkdir(path, 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		struct bpf_program *prog = i ? skel->progs.to_pod : skel->progs.from_pod;
		_cleanup_close_ int fd = bpf_link_create(bpf_program__fd(prog), (int)ifindex, links[i].type, NULL);

		if (fd < 0)
			continue; /* before 6.6: the clsact filter stands alone */
		snprintf(path, sizeof(path), "%s/links/%u-%s", pin_path, ifindex, links[i].name);
		assert_int_equal(bpf_obj_pin(fd, path), 0);
	}
}

static int set_up(void **state)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 0x534c, .priority = 1);
	unsigned int ifindex;
	char path[64];

	(void)state;
	assert_non_null(mkdtemp(top));
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/bpf", top);
	mkdir(path, 0700);
	assert_int_equal(mount("bpf", path, "bpf", 0, NULL), 0);
	snprintf(pin_path, sizeof(pin_path), "%s/bpf/sluice", top);
	snprintf(run_dir, sizeof(run_dir), "%s/run", top);
	snprintf(socket_path, sizeof(socket_path), "%s/run/sluice.sock", top);
	snprintf(path, sizeof(path), "%s/run/proxy", top);
	mkdir(pin_path, 0700);
	mkdir(run_dir, 0755);
	mkdir(path, 0755);
	/* Without IPv6, or the peer's neighbour discovery would add events of its own. */
	shell("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
	shell("ip link set lo up && ip link add ctl0 type veth peer name ctl1 && ip link set ctl0 up && ip link set "
	      "ctl1 up");
	shell("for f in -4 -6; do ip $f rule add pref 5 fwmark 0x1000/0x1000 lookup 2053 &&"
	      " ip $f route add local default dev lo table 2053; done");
	shell("ip rule add pref 100 fwmark 0x1000/0xf000 lookup 77"); /* another's: must stay */
	ifindex = if_nametoindex("ctl0");
	skel = veth_bpf__open_and_load();
	assert_non_null(skel);
	fill(ifindex);
	pin_all(ifindex);
	hook.ifindex = (int)ifindex;
	opts.prog_fd = bpf_program__fd(skel->progs.to_pod);
	assert_int_equal(bpf_tc_hook_create(&hook), 0);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	veth_bpf__destroy(skel);
	snprintf(command, sizeof(command), "umount %s/bpf; rm -rf --one-file-system %s", top, top);
	return system(command) == 0 ? 0 : -1;
}

static void test_endpoints(void **state)
{
	_cleanup_json_ json_t *list = ask(CTL_OK, "endpoint", "list", NULL);
	_cleanup_json_ json_t *one = ask(CTL_OK, "endpoint", "get", "ns/a", NULL);
	const json_t *o = json_array_get(list, 0);

	(void)state;
	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(get_number(o, "id"), EP);
	assert_string_equal(get_text(o, "mode"), "enforce");
	assert_true(get_flag(o, "dns_proxy"));
	assert_true(get_flag(o, "attached"));
	assert_string_equal(get_text(o, "policy_id"), "000000000000002a");
	assert_int_equal(json_array_size(json_object_get(o, "policies")), 2);
	assert_true(json_equal((json_t *)o, one));
	assert_int_equal(get_number(json_object_get(one, "drops"), "POLICY_DENIED"), 3);
	assert_null(ask(CTL_UNREACHABLE, "endpoint", "get", "ns/none", NULL));
}

static void test_names_and_flows(void **state)
{
	_cleanup_json_ json_t *names = ask(CTL_OK, "name", "list", NULL),
			      *all = ask(CTL_OK, "name", "list", "--all", NULL);
	_cleanup_json_ json_t *flows = ask(CTL_OK, "flow", "list", NULL),
			      *tombs = ask(CTL_OK, "flow", "list", "-a", NULL);
	_cleanup_json_ json_t *own = ask(CTL_OK, "flow", "list", "--pod", "ns/a", NULL);
	const json_t *o = json_array_get(names, 0), *flow = json_array_get(flows, 0);

	(void)state;
	assert_null(ask(CTL_UNREACHABLE, "flow", "list", "--pod", "ns/none", NULL));
	assert_int_equal(json_array_size(names), 1);
	assert_int_equal(json_array_size(all), 2);
	assert_string_equal(get_text(o, "name"), "pypi.org");
	assert_string_equal(get_text(o, "address"), "203.0.113.5");
	assert_string_equal(get_text(o, "asked_by"), "ns/a");
	assert_true(get_real(o, "expires_in_seconds") > 30);
	assert_int_equal(json_array_size(flows), 1);
	assert_int_equal(json_array_size(tombs), 2);
	assert_true(json_equal(own, flows));
	assert_string_equal(get_text(flow, "name"), "pypi.org");
	assert_int_equal(get_number(flow, "remote_port"), 443);
	assert_true(get_flag(flow, "current"));
	assert_string_equal(get_text(json_object_get(flow, "rule_source"), "policy"), "ns/p");
}

static void test_status(void **state)
{
	_cleanup_json_ json_t *o = ask(CTL_OK, "status", NULL);
	_cleanup_free_ char *warnings = json_dumps(json_object_get(o, "warnings"), 0);
	const json_t *table;
	size_t i;

	(void)state;
	assert_false(get_flag(json_object_get(o, "agent"), "running"));
	assert_non_null(strstr(warnings, "enforcement continues from the pins"));
	assert_non_null(strstr(warnings, "dns proxy: not running"));
	assert_int_equal(get_number(json_object_get(o, "endpoints"), "enforce"), 1);
	assert_int_equal(get_number(json_object_get(o, "losses"), "dns_log_suppressed"), 4);
	json_array_foreach(json_object_get(o, "tables"), i, table)
	{
		assert_null(json_object_get(table, "error"));
		if (!strcmp(get_text(table, "name"), "flows"))
			assert_int_equal(get_number(table, "used"), 2);
	}
	assert_int_equal(i, PIN_MAX);
}

static void test_every_map_dumps(void **state)
{
	(void)state;
	for (enum pin pin = 0; pin < PIN_MAX; pin++) {
		_cleanup_json_ json_t *list = ask(CTL_OK, "map", "dump", pin_shape(pin)->name, NULL);

		assert_true(json_is_array(list));
	}
	assert_null(ask(CTL_USAGE, "map", "dump", "nothing", NULL));
}

static void test_policies(void **state)
{
	_cleanup_json_ json_t *all = ask(CTL_OK, "policy", "get", "ns/a", NULL);
	_cleanup_json_ json_t *name =
		ask(CTL_OK, "policy", "explain", "--from=ns/a", "--to=pypi.org", "--port=443", "-e", NULL);
	_cleanup_json_ json_t *denied =
		ask(CTL_NO, "policy", "explain", "--from=ns/a", "--to=203.0.113.9", "--port=80", "-e", NULL);
	const json_t *img = json_array_get(json_object_get(all, "compiled"), 0);

	(void)state;
	assert_string_equal(get_text(img, "policy_id"), "000000000000002a");
	assert_string_equal(json_string_value(json_array_get(json_object_get(img, "endpoints"), 0)), "ns/a");
	assert_true(json_array_size(json_object_get(img, "rules")) >= 2);
	assert_string_equal(get_text(name, "verdict"), "allowed");
	assert_string_equal(get_text(json_array_get(json_object_get(name, "leases"), 0), "address"), "203.0.113.5");
	assert_string_equal(get_text(denied, "verdict"), "denied");
	assert_null(ask(CTL_UNREACHABLE, "policy", "get", "ns/none", NULL));
}

/* A frame through from_pod, so that the ring holds an event of the kernel's own making; then twice the same look. */
static void test_observe(void **state)
{
	uint8_t frame[64] = { 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0x88, 0xcc };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = sizeof(frame));
	struct __sk_buff skb = { .ingress_ifindex = if_nametoindex("ctl0"), .ifindex = if_nametoindex("ctl0") };
	_cleanup_json_ json_t *events = NULL, *again = NULL, *line = NULL;

	(void)state;
	run.ctx_in = &skb;
	run.ctx_size_in = sizeof(skb);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.from_pod), &run), 0);
	events = ask(CTL_OK, "map", "dump", "events", NULL);
	again = ask(CTL_OK, "map", "dump", "events", NULL);
	assert_int_equal(json_array_size(events), 1);
	assert_true(json_equal(events, again));
	assert_string_equal(get_text(json_array_get(events, 0), "reason"), "UNSUPPORTED_L3_PROTOCOL");
	line = ask(CTL_OK, "observe", "--last", "1", "--pod", "ns/a", NULL); /* the newest is the frame */
	assert_string_equal(get_text(json_object_get(line, "flow"), "verdict"), "DROPPED");
	assert_string_equal(get_text(json_object_get(line, "flow"), "drop_reason_desc"), "UNSUPPORTED_L3_PROTOCOL");
}

/* The same commands for people: what must be on the page. */
static void test_human_forms(void **state)
{
	static const struct {
		const char *words[8];
		const char *expected;
	} pages[] = {
		{ { "status" }, "WARNING: agent: not running" },
		{ { "endpoint", "list" }, "ns/p,other" },
		{ { "endpoint", "get", "ns/a" }, "POLICY_DENIED" },
		{ { "policy", "get" }, "toFQDNs pypi.org" },
		{ { "policy", "explain", "--from=ns/a", "--to=pypi.org", "--port=443" }, "ALLOWED" },
		{ { "policy", "explain", "--from=ns/a", "--to=192.0.2.1", "--port=443" },
		  "beaten  not known, since no agent answers" },
		{ { "name", "list" }, "203.0.113.5" },
		{ { "flow", "list" }, "203.0.113.5:443" },
		{ { "map", "list" }, "dns_stats" },
		{ { "map", "dump", "flows" }, "remote=203.0.113.5" },
		{ { "observe" }, "evil.org" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		char *argv[16] = { (char *)"bpfctl", (char *)"--pin-path", pin_path,   (char *)"--run-dir",
				   run_dir,	     (char *)"--socket",   socket_path };
		_cleanup_free_ char *out = NULL;
		int n = 7;

		for (size_t k = 0; k < 8 && pages[i].words[k]; k++)
			argv[n++] = (char *)pages[i].words[k];
		assert_int_equal(capture(&out, n, argv), CTL_OK);
		if (!strstr(out, pages[i].expected))
			fail_msg("%s %s: no '%s' in\n%s", argv[7], argv[8], pages[i].expected, out);
	}
}

static void test_cleanup_leaves_nothing(void **state)
{
	_cleanup_json_ json_t *dry = ask(CTL_OK, "cleanup", "--dry-run", NULL), *done = NULL, *twice = NULL;

	(void)state;
	assert_int_equal(access(pin_path, F_OK), 0);
	done = ask(CTL_OK, "cleanup", NULL);
	assert_int_equal(json_array_size(json_object_get(done, "failed")), 0);
	assert_int_equal(json_array_size(json_object_get(dry, "removed")),
			 json_array_size(json_object_get(done, "removed")));
	assert_int_not_equal(access(pin_path, F_OK), 0);
	assert_int_not_equal(access(run_dir, F_OK), 0);
	shell("test -z \"$(ip rule | grep 2053)$(ip -6 rule | grep 2053)\"");
	shell("test -z \"$(ip route show table all | grep 2053)$(ip -6 route show table all | grep 2053)\"");
	shell("ip rule | grep -q 'lookup 77'");
	shell("test -z \"$(tc qdisc show dev ctl0 | grep clsact)\"");
	twice = ask(CTL_OK, "cleanup", NULL);
	assert_int_equal(json_array_size(json_object_get(twice, "removed")), 0);
}

static void test_cleanup_keeps_off_others(void **state)
{
	char other[128], file[160];

	(void)state;
	snprintf(other, sizeof(other), "%s/bpf/other", top);
	snprintf(file, sizeof(file), "%s/pinned", other);
	assert_int_equal(mkdir(other, 0700), 0);
	assert_int_equal(bpf_obj_pin(bpf_map__fd(skel->maps.names), file), 0);
	assert_null(ask(CTL_UNREACHABLE, "--pin-path", other, "cleanup", NULL));
	assert_int_equal(access(file, F_OK), 0);
	assert_null(ask(CTL_UNREACHABLE, "--pin-path", "/tmp", "cleanup", NULL));
	assert_int_equal(access("/tmp", F_OK), 0);
}

/* Map, program and link as an older version might have left them: settings of another size, a trie for a hash. */
static void pin_older_layout(unsigned int ifindex)
{
	LIBBPF_OPTS(bpf_map_create_opts, shared, .map_flags = BPF_F_MMAPABLE);
	LIBBPF_OPTS(bpf_map_create_opts, lazy, .map_flags = BPF_F_NO_PREALLOC);
	const struct {
		const char *name;
		int fd;
	} pins[] = {
		{ "settings", bpf_map_create(BPF_MAP_TYPE_ARRAY, "settings", 4, 88, 1, &shared) },
		{ "dests", bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "dests", 28, 8, 64, &lazy) },
		{ "gone_since", bpf_map_create(BPF_MAP_TYPE_HASH, "gone_since", 8, 8, 64, NULL) },
		{ "from_pod", dup(bpf_program__fd(skel->progs.from_pod)) },
		{ "links/7-from", bpf_link_create(bpf_program__fd(skel->progs.from_pod), (int)ifindex,
						  (enum bpf_attach_type)TCX_INGRESS, NULL) },
	};
	const uint32_t zero = 0, settings[22] = { 2 };
	char path[128];

	snprintf(path, sizeof(path), "%s/links", pin_path);
	assert_int_equal(mkdir(pin_path, 0700) || mkdir(path, 0700), 0);
	for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", pin_path, pins[i].name);
		assert_int_equal(pins[i].fd >= 0 && bpf_obj_pin(pins[i].fd, path) == 0, 1);
		if (i == 0)
			assert_int_equal(bpf_map_update_elem(pins[0].fd, &zero, settings, BPF_ANY), 0);
		close(pins[i].fd);
	}
}

/* An agent refuses to start over them and sends people here, so whatever they look like they have to go. */
static void test_cleanup_takes_older_layouts(void **state)
{
	_cleanup_json_ json_t *done = NULL;

	(void)state;
	pin_older_layout(if_nametoindex("ctl0"));
	assert_null(ask(CTL_UNREACHABLE, "map", "dump", "dests", NULL));
	done = ask(CTL_OK, "cleanup", NULL);
	assert_int_equal(json_array_size(json_object_get(done, "failed")), 0);
	assert_int_not_equal(access(pin_path, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_names_and_flows),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_every_map_dumps),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_observe),
		cmocka_unit_test(test_human_forms),
		cmocka_unit_test(test_cleanup_leaves_nothing),
		cmocka_unit_test(test_cleanup_keeps_off_others),
		cmocka_unit_test(test_cleanup_takes_older_layouts),
	};

	if (geteuid() != 0)
		return 77;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs load with what the agent keeps (hazard 30): CAP_BPF, CAP_NET_ADMIN, and CAP_PERFMON where nothing less
 * will do. Without it the verifier also walks the paths a CPU might only speculate on, and forbids what may leak a
 * pointer; 6.1 and 6.12 do both too crudely (a path no CPU reaches is refused for what it would do with a null pointer).
 */
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cgroup.skel.h"
#include "proxy.skel.h"
#include "tests/bpf/harness.h"

static int keep_only(uint64_t caps)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted = (uint32_t)(caps >> (32 * i));
	return (int)syscall(SYS_capset, &header, data);
}

static bool needs_perfmon(void)
{
	struct utsname u;
	int major, minor;

	assert_int_equal(uname(&u), 0);
	assert_int_equal(sscanf(u.release, "%d.%d", &major, &minor), 2);
	return major < 6 || (major == 6 && minor < 18);
}

/*
 * What each program costs to load, so that growth is seen: its instructions, those the verifier went through (its limit is
 * a million), and how long it took, both with PERFMON as the agent has it on this kernel.
 */
static void print_size(struct bpf_program *prog, const char *log)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);
	const char *time = strstr(log, "verification time ");
	unsigned int us = 0;

	assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len), 0);
	if (time)
		sscanf(time, "verification time %u usec", &us);
	print_message("%-15s %6u instructions, %7u verified in %u.%03u ms\n", bpf_program__name(prog),
		      info.xlated_prog_len / 8, info.verified_insns, us / 1000, us % 1000);
	assert_in_range(info.verified_insns, 1, 500000);
}

/* Statistics alone (BPF_LOG_STATS), of every program. */
#define LOG_STATS 4
#define MAX_PROGS 16

struct logs {
	char text[MAX_PROGS][1024];
	size_t n;
};

static void ask_for_sizes(struct bpf_object *obj, struct logs *logs)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj)
	{
		assert_true(logs->n < MAX_PROGS);
		assert_int_equal(bpf_program__set_log_level(prog, LOG_STATS), 0);
		assert_int_equal(bpf_program__set_log_buf(prog, logs->text[logs->n], sizeof(logs->text[0])), 0);
		logs->n++;
	}
}

static void print_sizes(struct bpf_object *obj, const struct logs *logs)
{
	struct bpf_program *prog;
	size_t i = 0;

	bpf_object__for_each_program(prog, obj) print_size(prog, logs->text[i++]);
}

static void loads_with_the_agents_capabilities(void **state)
{
	struct veth_bpf *skel = veth_bpf__open();
	struct proxy_bpf *proxy = proxy_bpf__open();
	struct cgroup_bpf *cgroup = cgroup_bpf__open();
	static struct logs veth_logs, proxy_logs, cgroup_logs;

	(void)state;
	assert_non_null(skel);
	assert_non_null(proxy);
	assert_non_null(cgroup);
	bpf_map__set_max_entries(skel->maps.endpoints, 16);
	bpf_map__set_max_entries(skel->maps.runtime, 16);
	bpf_map__set_max_entries(skel->maps.dns_log, 16);
	bpf_map__set_max_entries(cgroup->maps.endpoints, 16);
	bpf_map__set_max_entries(cgroup->maps.runtime, 16);
	bpf_map__set_max_entries(cgroup->maps.dns_log, 16);
	ask_for_sizes(skel->obj, &veth_logs);
	ask_for_sizes(proxy->obj, &proxy_logs);
	ask_for_sizes(cgroup->obj, &cgroup_logs);
	/* Everywhere: a million steps do not lead through connect4's speculative paths. */
	assert_int_equal(keep_only(1ull << CAP_BPF | 1ull << CAP_NET_ADMIN | 1ull << CAP_PERFMON), 0);
	assert_int_equal(cgroup_bpf__load(cgroup), 0);
	print_sizes(cgroup->obj, &cgroup_logs);
	cgroup_bpf__destroy(cgroup);
	assert_int_equal(keep_only(1ull << CAP_BPF | 1ull << CAP_NET_ADMIN | (uint64_t)needs_perfmon() << CAP_PERFMON),
			 0);
	assert_int_equal(veth_bpf__load(skel), 0);
	assert_int_equal(proxy_bpf__load(proxy), 0);
	print_sizes(skel->obj, &veth_logs);
	print_sizes(proxy->obj, &proxy_logs);
	proxy_bpf__destroy(proxy);
	veth_bpf__destroy(skel);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(loads_with_the_agents_capabilities) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

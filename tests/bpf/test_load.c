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

static void loads_with_the_agents_capabilities(void **state)
{
	struct veth_bpf *skel = veth_bpf__open();
	struct proxy_bpf *proxy = proxy_bpf__open();
	struct cgroup_bpf *cgroup = cgroup_bpf__open();

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
	/* Everywhere: a million steps do not lead through connect4's speculative paths. */
	assert_int_equal(keep_only(1ull << CAP_BPF | 1ull << CAP_NET_ADMIN | 1ull << CAP_PERFMON), 0);
	assert_int_equal(cgroup_bpf__load(cgroup), 0);
	cgroup_bpf__destroy(cgroup);
	assert_int_equal(keep_only(1ull << CAP_BPF | 1ull << CAP_NET_ADMIN | (uint64_t)needs_perfmon() << CAP_PERFMON),
			 0);
	assert_int_equal(veth_bpf__load(skel), 0);
	assert_int_equal(proxy_bpf__load(proxy), 0);
	proxy_bpf__destroy(proxy);
	veth_bpf__destroy(skel);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(loads_with_the_agents_capabilities) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

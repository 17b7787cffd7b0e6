/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/kube/escape.h"
#include "base/cleanup.h"

#define HELD "{'name': 'c', 'securityContext': {'capabilities': {'drop': ['ALL']}}}"

/* `spec` with ' for ". */
static void expect(const char *spec, const char *want)
{
	char text[2048], found[128] = "";
	json_t *pod;

	snprintf(text, sizeof(text), "{'spec': {%s}}", spec);
	for (char *c = strchr(text, '\''); c; c = strchr(c, '\''))
		*c = '"';
	pod = json_loads(text, 0, NULL);
	assert_non_null(pod);
	assert_int_equal(kube_escape(pod, found, sizeof(found)), *want != '\0');
	assert_string_equal(found, want);
	json_decref(pod);
}

#define CONTAINER(security)                                                                                            \
	"'containers': [" HELD ", {'name': 'd', 'securityContext': {" security "}}], 'hostNetwork': true"

static void test_containers(void **state)
{
	(void)state;
	expect("'containers': [" HELD "]", "");
	expect("'containers': [" HELD ", {'name': 'd'}]", "container d does not drop CAP_NET_RAW");
	expect(CONTAINER("'capabilities': {'drop': ['NET_RAW']}"), "");
	expect(CONTAINER("'capabilities': {'drop': ['CAP_NET_RAW', 'MKNOD']}"), "");
	expect(CONTAINER("'capabilities': {'drop': ['all']}"), "");
	expect(CONTAINER("'capabilities': {'drop': ['NET_ADMIN', 'NET_RAWX']}"),
	       "container d does not drop CAP_NET_RAW");
	expect(CONTAINER("'capabilities': {'drop': ['ALL'], 'add': ['NET_BIND_SERVICE']}"), "");
	expect(CONTAINER("'capabilities': {'drop': ['ALL'], 'add': ['NET_RAW']}"), "container d adds CAP_NET_RAW");
	expect(CONTAINER("'capabilities': {'drop': ['NET_RAW'], 'add': ['CAP_SYS_ADMIN']}"),
	       "container d adds CAP_SYS_ADMIN");
	expect(CONTAINER("'capabilities': {'drop': ['NET_RAW'], 'add': ['sys_ptrace']}"),
	       "container d adds CAP_SYS_PTRACE");
	expect(CONTAINER("'capabilities': {'drop': ['ALL'], 'add': ['ALL']}"), "container d adds CAP_NET_RAW");
	expect(CONTAINER("'privileged': true, 'capabilities': {'drop': ['ALL']}"), "container d is privileged");
	expect("'containers': [" HELD "], 'initContainers': [{'name': 'i'}]", "container i does not drop CAP_NET_RAW");
	expect("'containers': [" HELD "], 'ephemeralContainers': [{'name': 'debug'}]",
	       "container debug does not drop CAP_NET_RAW");
	expect("'containers': [" HELD "], 'hostPID': true", "hostPID shows it the node's processes");
	expect("'containers': [" HELD "], 'hostPID': false, 'hostIPC': true", "");
}

static void test_volumes(void **state)
{
	static const struct {
		const char *path;
		bool out;
	} paths[] = {
		{ "/", true },
		{ "/sys", true },
		{ "/sys/", true },
		{ "/sys/fs/cgroup", true },
		{ "/sys/fs/cgroup/unified/kubepods", true },
		{ "/sys/class/net", false },
		{ "/sys/fs/cgroups", false },
		{ "/sy", false },
		{ "/run", true },
		{ "/var/run", true },
		{ "/var/run/docker.sock", true },
		{ "/var/runner", false },
		{ "/run/containerd/containerd.sock", true },
		{ "/run//containerd", true },
		{ "/run/udev", false },
		{ "/proc/1/ns", true },
		{ "/dev/fuse", true },
		{ "/var/log", false },
		{ "/etc", true },
		{ "/etc/ssl/certs", false },
	};
	char spec[512], want[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		snprintf(spec, sizeof(spec),
			 "'containers': [" HELD "], 'volumes': [{'name': 'e', 'emptyDir': {}}, {'name': 'v', "
			 "'hostPath': {'path': '%s'}}]",
			 paths[i].path);
		snprintf(want, sizeof(want), paths[i].out ? "hostPath %s leads out of its cgroup" : "%.0s",
			 paths[i].path);
		expect(spec, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_containers),
		cmocka_unit_test(test_volumes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/kube/aws.h"
#include "base/cleanup.h"

static bool enforces(const char *namespace_name, const char *container, const char *args)
{
	json_t *pod = json_pack("{s:{s:s}, s:{s:[{s:s}, {s:s, s:o}]}}", "metadata", "namespace", namespace_name, "spec",
				"containers", "name", "aws-node", "name", container, "args", json_loads(args, 0, NULL));
	bool is;

	assert_non_null(pod);
	is = kube_aws_enforces(pod);
	json_decref(pod);
	return is;
}

static void test_who_enforces(void **state)
{
	static const char on[] = "[\"--enable-ipv6=false\", \"--enable-network-policy=true\"]";
	static const char off[] = "[\"--enable-ipv6=false\", \"--enable-network-policy=false\"]";

	(void)state;
	assert_true(enforces("kube-system", "aws-eks-nodeagent", on));
	assert_false(enforces("kube-system", "aws-eks-nodeagent", off));
	assert_false(enforces("kube-system", "aws-eks-nodeagent", "[]"));
	assert_false(enforces("kube-system", "another", on));
	/* Anybody may call a container so. */
	assert_false(enforces("default", "aws-eks-nodeagent", on));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_who_enforces) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

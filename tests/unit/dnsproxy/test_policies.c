/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/dnsproxy/dns_test.h"

#include "base/file.h"
#include "dnsproxy/policies.h"
#include "dnsproxy/settings.h"

static char top[] = "/tmp/sluice-policies-XXXXXX";
static int dir = -1;
static struct policies *policies;
static struct compiled policy;

static void write_image(uint64_t id, size_t len)
{
	char name[64];

	snprintf(name, sizeof(name), PROXY_IMAGE_FORMAT, (unsigned long long)id);
	assert_int_equal(file_replace(dir, name, policy.data, len, 0644), 0);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(top));
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	policy = test_compile(CNP_HEAD "  egress:\n  - toFQDNs: [{matchName: a.example}]\n", NULL);
	return policies_new(dir, &policies);
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	policies_freep(&policies);
	compiled_clear(&policy);
	close(dir);
	snprintf(command, sizeof(command), "rm -r %s", top);
	return system(command);
}

static void only_images_are_policies(void **state)
{
	(void)state;
	assert_null(policies_get(policies, 1));
	write_image(1, policy.len - 1);
	assert_null(policies_get(policies, 1));
	write_image(1, 0);
	assert_null(policies_get(policies, 1));
	write_image(1, policy.len);
	assert_non_null(policies_get(policies, 1));
	assert_memory_equal(image_hash(policies_get(policies, 1)), image_hash(policy.img), IMAGE_HASH_LEN);
}

static void a_mapped_image_outlives_its_file(void **state)
{
	char path[128];

	(void)state;
	write_image(2, policy.len);
	assert_non_null(policies_get(policies, 2));
	snprintf(path, sizeof(path), "%s/" PROXY_IMAGE_FORMAT, top, 2ull);
	assert_int_equal(unlink(path), 0);
	assert_non_null(policies_get(policies, 2));
	/* Nobody uses it: it goes, and there is no way back to it. */
	policies_drop_unused(policies, NULL, 0);
	assert_null(policies_get(policies, 2));
}

static void used_ones_stay(void **state)
{
	struct sluice_endpoint endpoints[2] = {
		{ .generation = 5, .state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, 3) },
		{ .generation = 0, .state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, 4) },
	};

	(void)state;
	write_image(3, policy.len);
	write_image(4, policy.len);
	assert_non_null(policies_get(policies, 3));
	assert_non_null(policies_get(policies, 4));
	assert_int_equal(unlinkat(dir, "0000000000000003.img", 0) | unlinkat(dir, "0000000000000004.img", 0), 0);
	policies_drop_unused(policies, endpoints, 2);
	assert_non_null(policies_get(policies, 3));
	assert_null(policies_get(policies, 4));
}

static void the_number_is_bounded(void **state)
{
	(void)state;
	for (uint64_t id = 100; id < 500; id++) {
		write_image(id, policy.len);
		assert_non_null(policies_get(policies, id));
	}
	assert_int_equal(unlinkat(dir, "0000000000000064.img", 0) | unlinkat(dir, "00000000000001f3.img", 0), 0);
	assert_non_null(policies_get(policies, 499)); /* still mapped */
	assert_null(policies_get(policies, 100));     /* had to go */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_images_are_policies),
		cmocka_unit_test(a_mapped_image_outlives_its_file),
		cmocka_unit_test(used_ones_stay),
		cmocka_unit_test(the_number_is_bounded),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

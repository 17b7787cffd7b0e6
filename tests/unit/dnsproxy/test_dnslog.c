/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dnsproxy/dns_test.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "dnsproxy/dnslog.h"

#define EACH	20000
#define RECORDS (2 * EACH)

static struct sluice_dns_record ring[1 + RECORDS];
static struct sluice_dns_stats stats;
static const struct maps maps = { .stats = &stats, .log = (struct sluice_dns_log_head *)&ring[0], .nrecords = RECORDS };

/* A record whose parts say all the same. */
static void *write_many(void *arg)
{
	struct dnslog_bucket bucket = {};
	uint32_t who = *(uint32_t *)arg;

	for (uint32_t i = 0; i < EACH; i++) {
		struct sluice_dns_record rec = { .endpoint = who, .generation = who, .latency_us = i };

		memset(rec.name, (char)('a' + i % 26), sizeof(rec.name) - 1);
		dnslog_write(&maps, &bucket, &rec, (uint64_t)i * NSEC_PER_SEC);
	}
	return NULL;
}

/* While one proxy replaces another both write: nothing is lost, nothing mixed. */
static void two_write_at_once(void **state)
{
	uint32_t ids[2] = { 1, 2 }, next[2] = {};
	pthread_t threads[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, &ids[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(maps.log->next, RECORDS + 1);
	assert_int_equal(maps.log->suppressed, 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		const struct sluice_dns_record *r = &ring[1 + i];

		assert_int_equal(r->seq, i + 1);
		assert_in_range(r->endpoint, 1, 2);
		assert_int_equal(r->generation, r->endpoint);
		assert_int_equal(r->latency_us, next[r->endpoint - 1]++);
		assert_int_equal(r->name[0], 'a' + r->latency_us % 26);
		assert_int_equal(r->name[sizeof(r->name) - 2], r->name[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_write_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

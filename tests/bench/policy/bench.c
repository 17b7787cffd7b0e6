/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What policies cost: reading and compiling them, by how many there are, and matching a name, by how many patterns.
 * Each size in a process of its own, so that its peak memory is its own. Figures are of one machine on one day; the
 * ratios beside them are what to look at.
 *
 *   bench-policy [--quick]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "policy/compile.h"
#include "policy/image.h"

#define PATTERNS 10 /* per policy */

/* As exported by one measurement to the parent. */
struct cost {
	double read;	/* seconds */
	double compile; /* seconds, of one endpoint that all policies select */
	double spread;	/* seconds, of as many endpoints as policies with one each */
	double peak;	/* MiB */
	double image;	/* KiB */
	double match;	/* ns, a name that matches */
	double miss;	/* ns, one that does not */
	double globs;	/* ns, one beside as many wildcards inside labels */
	double text;	/* KiB */
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "bench-policy: %s\n", what);
	exit(1);
}

enum shape {
	SHAPE_MIXED,
	SHAPE_OWN,   /* each policy selects by a label value of its own */
	SHAPE_GLOBS, /* wildcards inside labels, all below one name */
};

/*
 * Ten names each; a tenth of the policies shares a port with another tenth. Numbers have a fixed width: how many patterns
 * there are is the only difference, for a wildcard inside a label costs by the lengths of the texts beside it.
 */
static void put_policy(struct strbuf *t, unsigned int n, enum shape shape)
{
	static const char *const mixed[] = { "host-%05u-%u.example.com", "*.zone-%05u-%u.example.org",
					     "s3.*.r%05u-%u.amazonaws.com", "a*b.n%05u-%u.example.net" };
	static const char *const globs[] = { "g%05u-%u*.example.com", "*-g%05u-%u.example.com",
					     "g*x%05u-%u.example.com", "a%05u*%u.example.com" };
	const char *const *forms = shape == SHAPE_GLOBS ? globs : mixed;

	strbuf_addf(t,
		    "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p%u, namespace: ns}\n"
		    "spec:\n  endpointSelector: {matchLabels: {k: v%u}}\n  egress:\n  - toFQDNs:\n",
		    n, shape == SHAPE_OWN ? n : 0);
	for (unsigned int i = 0; i < PATTERNS; i++) {
		strbuf_adds(t, "    - {matchPattern: \"");
		strbuf_addf(t, forms[i % 4], n, i);
		strbuf_adds(t, "\"}\n");
	}
	strbuf_addf(t, "    toPorts: [{ports: [{port: \"%u\", protocol: TCP}]}]\n  - toCIDR: [\"10.%u.%u.0/24\"]\n",
		    443 + n % 10, n / 256 % 256, n % 256);
}

static struct store *read_policies(unsigned int policies, enum shape shape, struct cost *cost)
{
	struct diags diags = {};
	struct store *s = NULL;
	double start;

	if (store_new(&s) < 0)
		fail("no memory");
	for (unsigned int n = 0; n < policies; n++) {
		CLEANUP(strbuf_clear) struct strbuf text = {};
		char file[32];

		put_policy(&text, n, shape);
		if (text.failed)
			fail("no memory");
		snprintf(file, sizeof(file), "p%u.yaml", n);
		cost->text += (double)text.len / 1024;
		start = now();
		if (store_update(s, file, text.data, text.len, &diags) != 0)
			fail("a policy is refused");
		cost->read += now() - start;
	}
	diags_clear(&diags);
	return s;
}

#define NAMES 16 /* in turn: where one of them lies in a table is luck */

static double match_once(const struct image *img, char names[NAMES][64], unsigned int rounds)
{
	size_t lens[NAMES];
	struct image_match m;
	double start;

	for (unsigned int i = 0; i < NAMES; i++)
		lens[i] = strlen(names[i]);
	start = now();
	for (unsigned int i = 0; i < rounds; i++) {
		image_match_name(img, names[i % NAMES], lens[i % NAMES], &m);
		__asm__ volatile("" : : "r"(&m) : "memory");
	}
	return (now() - start) / rounds * 1e9;
}

/* The least of some runs, in processor time: what it costs when nothing else is in the way. */
static double match_time(const struct image *img, const char *format, unsigned int rounds)
{
	char names[NAMES][64];
	double least = 1e9;

	for (unsigned int i = 0; i < NAMES; i++)
		snprintf(names[i], sizeof(names[i]), format, i % PATTERNS, 'a' + (int)i);
	for (unsigned int i = 0; i < 10; i++) {
		double once = match_once(img, names, rounds / 10);

		least = once < least ? once : least;
	}
	return least;
}

static struct image *compile_all(const struct store *s, uint8_t **data, size_t *len)
{
	static const struct label label = { "k", "v0" };
	const struct subject subject = { .namespace_name = "ns", .name = "pod", .labels = &label, .nlabels = 1 };
	struct diags diags = {};
	struct image *img;

	if (compile(s, &subject, NULL, &diags, data, len) != 0)
		fail("does not compile");
	if (image_open(*data, *len, &img) < 0)
		fail("the image cannot be opened");
	return img;
}

static void measure_one(unsigned int policies, struct cost *cost)
{
	struct store *s = read_policies(policies, SHAPE_MIXED, cost);
	_cleanup_free_ uint8_t *data = NULL;
	double start = now();
	size_t len;
	struct image *img = compile_all(s, &data, &len);

	cost->compile = now() - start;
	cost->image = (double)len / 1024;
	cost->match = match_time(img, "w%2$c.zone-00000-%1$u.example.org", 300000);
	cost->miss = match_time(img, "www.zone-0-%u.example.com.attacker%c.example", 300000);
	image_freep(&img);
	store_freep(&s);
}

static void measure_globs(unsigned int policies, struct cost *cost)
{
	struct cost unused = {};
	struct store *s = read_policies(policies, SHAPE_GLOBS, &unused);
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	struct image *img = compile_all(s, &data, &len);

	cost->globs = match_time(img, "g00000-%u-and-%c-more.example.com", 100000);
	image_freep(&img);
	store_freep(&s);
}

/* A policy for each of as many endpoints: what a node's change of one policy costs, times all of them. */
static void measure_spread(unsigned int policies, struct cost *cost)
{
	struct cost unused = {};
	struct store *s = read_policies(policies, SHAPE_OWN, &unused);
	struct diags diags = {};
	double start = now();
	unsigned int n = policies < 200 ? policies : 200;

	for (unsigned int i = 0; i < n; i++) {
		char value[16];
		struct label label = { "k", value };
		struct subject subject = { .namespace_name = "ns", .name = "pod", .labels = &label, .nlabels = 1 };
		_cleanup_free_ uint8_t *data = NULL;
		size_t len;

		snprintf(value, sizeof(value), "v%u", i);
		if (compile(s, &subject, NULL, &diags, &data, &len) != 0)
			fail("does not compile");
	}
	cost->spread = (now() - start) / n;
	store_freep(&s);
}

static struct cost measure(unsigned int policies)
{
	struct cost cost = {};
	int pipes[2], status;
	struct rusage used;
	pid_t pid;

	if (pipe(pipes) < 0)
		fail("no pipe");
	pid = fork();
	if (pid < 0)
		fail("no process");
	if (pid == 0) {
		measure_one(policies, &cost);
		getrusage(RUSAGE_SELF, &used);
		cost.peak = (double)used.ru_maxrss / 1024;
		measure_spread(policies, &cost);
		measure_globs(policies, &cost);
		_exit(write(pipes[1], &cost, sizeof(cost)) != sizeof(cost));
	}
	if (read(pipes[0], &cost, sizeof(cost)) != sizeof(cost) || waitpid(pid, &status, 0) < 0 || status != 0)
		fail("a measurement failed");
	close(pipes[0]);
	close(pipes[1]);
	return cost;
}

int main(int argc, char **argv)
{
	unsigned int last = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 100 : 10000;
	struct cost before = {}, first = {};

	printf("policies patterns  read s  compile s  (x before)  1 endpoint of many ms  peak MiB  text KiB  image KiB "
	       " "
	       "match ns  miss ns  glob ns\n");
	for (unsigned int n = 1; n <= last; n *= 10) {
		struct cost c = measure(n);

		printf("%8u %8u %7.3f %10.4f %11.1f %22.3f %9.1f %9.0f %10.0f %9.0f %8.0f %8.0f\n", n, n * PATTERNS,
		       c.read, c.compile, before.compile > 0 ? c.compile / before.compile : 0, c.spread * 1e3, c.peak,
		       c.text, c.image, c.match, c.miss, c.globs);
		fflush(stdout);
		if (n == 1)
			first = c;
		before = c;
	}
	printf("matching a name among %u patterns takes %.1f times what it takes among %d; with wildcards inside "
	       "labels, %.1f "
	       "times\n",
	       last * PATTERNS, before.match / first.match, PATTERNS, before.globs / first.globs);
	/* Linear in patterns it would be thousands. */
	return before.match > first.match * 2 || before.globs > first.globs * 2;
}

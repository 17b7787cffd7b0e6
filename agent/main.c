/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/uninstall.h"
#include "base/log.h"

/*
 * Blocks from this size on are mapped each by themselves, and given back when they are freed. By default glibc raises its own limit
 * to the largest block that was freed, megabytes here: pages of lists and the arrays of a pass then come from the heap, where small
 * blocks that stay settle behind them, and it never shrinks again.
 */
#define MAP_FROM_BYTES (64 << 10)

enum {
	EXIT_WRONG = 1, /* --check: the configuration is */
	EXIT_USAGE = 2,
	EXIT_START = 3, /* it cannot reach what it needs */
};

static void usage(FILE *f)
{
	fputs("usage: sluiced [--config FILE] [--verbose] [--check]\n"
	      "\n"
	      "The agent: puts the policies of this node in force and keeps them so.\n"
	      "\n"
	      "  -c, --config FILE  default " API_DEFAULT_CONFIG "; see sluice.yaml(5)\n"
	      "  -v, --verbose      log more\n"
	      "      --check        only read the configuration, and say what is wrong in it\n"
	      "      --version\n"
	      "  -h, --help\n",
	      f);
}

static int check(const char *config)
{
	int r = agent_check(config);

	return r == 0 ? EXIT_SUCCESS : r == -EINVAL ? EXIT_WRONG : EXIT_START;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' }, { "verbose", no_argument, NULL, 'v' },
		{ "check", no_argument, NULL, 'C' },	    { "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },	    { 0 },
	};
	const char *config = API_DEFAULT_CONFIG;
	enum log_level level = LOG_LEVEL_INFO;
	bool only_check = false;
	int option, r;

	while ((option = getopt_long(argc, argv, "c:vh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			config = optarg;
			break;
		case 'v':
			level = LOG_LEVEL_DEBUG;
			break;
		case 'C':
			only_check = true;
			break;
		case 'V':
			puts("sluiced " SLUICE_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "sluiced: unexpected argument '%s'\n", argv[optind]);
		usage(stderr);
		return EXIT_USAGE;
	}
	mallopt(M_MMAP_THRESHOLD, MAP_FROM_BYTES);
	log_init("sluiced", level);
	if (only_check)
		return check(config);
	if (geteuid() != 0) {
		log_error("must be root");
		return EXIT_START;
	}
	r = agent_run(config);
	if (r == AGENT_UNINSTALLED)
		r = uninstall(config);
	return r < 0 ? EXIT_START : EXIT_SUCCESS;
}

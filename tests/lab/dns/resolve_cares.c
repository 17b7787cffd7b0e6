/* SPDX-License-Identifier: Apache-2.0 */
/* resolve.c's output by c-ares. With "tcp" as first argument, over TCP. */
#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void print_result(void *arg, int status, int timeouts, struct ares_addrinfo *result)
{
	char text[64][INET6_ADDRSTRLEN];
	size_t n = 0;

	(void)arg;
	(void)timeouts;
	if (status != ARES_SUCCESS) {
		printf("%s", status == ARES_ENODATA	? "ENODATA"
			     : status == ARES_ENOTFOUND ? "ENOTFOUND"
			     : status == ARES_ETIMEOUT	? "ETIMEOUT"
							: "other");
		return;
	}
	for (struct ares_addrinfo_node *node = result->nodes; node && n < 64; node = node->ai_next, n++) {
		const void *addr = node->ai_family == AF_INET
					   ? (const void *)&((struct sockaddr_in *)(void *)node->ai_addr)->sin_addr
					   : (const void *)&((struct sockaddr_in6 *)(void *)node->ai_addr)->sin6_addr;

		inet_ntop(node->ai_family, addr, text[n], sizeof(text[n]));
	}
	qsort(text, n, sizeof(text[0]), compare);
	for (size_t i = 0; i < n; i++)
		printf("%s%s", i ? "," : "", text[i]);
	ares_freeaddrinfo(result);
}

static double milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void finish(ares_channel channel)
{
	for (;;) {
		struct timeval most = { .tv_sec = 1 }, wait;
		fd_set in, out;
		int n;

		FD_ZERO(&in);
		FD_ZERO(&out);
		n = ares_fds(channel, &in, &out);
		if (n == 0)
			return;
		select(n, &in, &out, NULL, ares_timeout(channel, &most, &wait));
		ares_process(channel, &in, &out);
	}
}

static void look_up(ares_channel channel, const char *family, const char *name)
{
	struct ares_addrinfo_hints hints = { .ai_socktype = SOCK_STREAM };
	double start = milliseconds();

	hints.ai_family = *family == '4' ? AF_INET : *family == '6' ? AF_INET6 : AF_UNSPEC;
	printf("%s %s ", family, name);
	ares_getaddrinfo(channel, name, NULL, &hints, print_result, NULL);
	finish(channel);
	printf(" %.0f\n", milliseconds() - start);
}

int main(int argc, char **argv)
{
	int tcp = argc > 1 && strcmp(argv[1], "tcp") == 0;
	struct ares_options options = { .flags = tcp ? ARES_FLAG_USEVC : 0 };
	ares_channel channel;

	if (ares_library_init(ARES_LIB_INIT_ALL) || ares_init_options(&channel, &options, ARES_OPT_FLAGS))
		return 1;
	for (int i = 1 + tcp; i < argc; i++) {
		char *name = strchr(argv[i], ':');

		if (!name)
			return 2;
		*name++ = '\0';
		look_up(channel, argv[i], name);
	}
	ares_destroy(channel);
	ares_library_cleanup();
	return 0;
}

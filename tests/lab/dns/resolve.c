/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolve FAMILY:NAME...: looks each up with getaddrinfo, FAMILY 4, 6 or any, and prints FAMILY NAME RESULT MILLISECONDS;
 * the result is the sorted addresses, or the error. For glibc and, linked statically, musl.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef EAI_NODATA
#define EAI_NODATA -5
#endif

static const char *error_name(int r)
{
	switch (r) {
	case EAI_NONAME:
		return "EAI_NONAME";
	case EAI_NODATA:
		return "EAI_NODATA";
	case EAI_AGAIN:
		return "EAI_AGAIN";
	case EAI_FAIL:
		return "EAI_FAIL";
	}
	return "other";
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void print_addresses(const struct addrinfo *list)
{
	char text[64][INET6_ADDRSTRLEN];
	size_t n = 0;

	for (; list && n < 64; list = list->ai_next, n++) {
		const void *addr = list->ai_family == AF_INET
					   ? (const void *)&((struct sockaddr_in *)list->ai_addr)->sin_addr
					   : (const void *)&((struct sockaddr_in6 *)list->ai_addr)->sin6_addr;

		inet_ntop(list->ai_family, addr, text[n], sizeof(text[n]));
	}
	qsort(text, n, sizeof(text[0]), compare);
	for (size_t i = 0; i < n; i++)
		printf("%s%s", i ? "," : "", text[i]);
}

static double milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void look_up(const char *family, const char *name)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	double start = milliseconds();
	int r;

	hints.ai_family = *family == '4' ? AF_INET : *family == '6' ? AF_INET6 : AF_UNSPEC;
	r = getaddrinfo(name, NULL, &hints, &list);
	printf("%s %s ", family, name);
	if (r)
		printf("%s", error_name(r));
	else
		print_addresses(list);
	printf(" %.0f\n", milliseconds() - start);
	if (!r)
		freeaddrinfo(list);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *name = strchr(argv[i], ':');

		if (!name)
			return 2;
		*name++ = '\0';
		look_up(argv[i], name);
	}
	return 0;
}

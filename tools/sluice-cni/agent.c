/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sluice-cni/agent.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define PAUSE_MS_LEAST 2
#define PAUSE_MS_MOST  50
#define ANSWER_MAX     4096

/* ---- what is told ------------------------------------------------------------------------------------------------ */

/* CNI_ARGS is KEY=VALUE;KEY=VALUE. NULL: it has none of that name. */
static json_t *argument(const char *args, const char *key)
{
	size_t len = strlen(key);

	for (const char *at = args; at && *at; at += strcspn(at, ";"), at += *at == ';') {
		if (strncmp(at, key, len) == 0 && at[len] == '=')
			return json_stringn(at + len + 1, strcspn(at + len + 1, ";"));
	}
	return NULL;
}

static json_t *read_pod(const char *args)
{
	json_t *uid = argument(args, "K8S_POD_UID"), *name = argument(args, "K8S_POD_NAME");
	json_t *namespace_name = argument(args, "K8S_POD_NAMESPACE"), *pod = NULL;

	if (uid && name && namespace_name)
		pod = json_pack("{s:O, s:O, s:O}", "uid", uid, "namespace", namespace_name, "name", name);
	json_decref(uid);
	json_decref(name);
	json_decref(namespace_name);
	return pod;
}

/* Is the result's address on the pod's own end? Where it does not say whose it is, there is one interface. */
static bool is_pods_address(const json_t *result, const json_t *ip, const char *ifname)
{
	const json_t *index = json_object_get(ip, "interface"), *interface;
	const char *sandbox, *name;

	if (!json_is_integer(index))
		return true;
	interface = json_array_get(json_object_get(result, "interfaces"), (size_t)json_integer_value(index));
	sandbox = json_string_value(json_object_get(interface, "sandbox"));
	name = json_string_value(json_object_get(interface, "name"));
	return sandbox && sandbox[0] && name && strcmp(name, ifname) == 0;
}

static json_t *read_addresses(const json_t *result, const char *ifname)
{
	json_t *list = json_array();
	const json_t *ip;
	size_t i;

	json_array_foreach(json_object_get(result, "ips"), i, ip)
	{
		const char *text = json_string_value(json_object_get(ip, "address"));

		if (text && is_pods_address(result, ip, ifname))
			json_array_append_new(list, json_stringn(text, strcspn(text, "/")));
	}
	return list;
}

json_t *agent_request(const char *interface, const char *args, const json_t *result, const char *ifname)
{
	json_t *pod = read_pod(args);

	if (!pod)
		return json_pack("{s:s, s:s}", "method", API_METHOD_INTERFACE, "name", interface);
	return json_pack("{s:s, s:s, s:o, s:o}", "method", API_METHOD_INTERFACE, "name", interface, "pod", pod,
			 "addresses", read_addresses(result, ifname));
}

/* ---- the conversation -------------------------------------------------------------------------------------------- */

static int connect_to(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	/* An agent that is stopped accepts nothing, and waiting for room in its queue has no end. */
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* One line, within the time. Its length, or -errno. */
static int read_line(int fd, uint64_t deadline, char buf[ANSWER_MAX])
{
	size_t len = 0;

	while (len < ANSWER_MAX) {
		uint64_t now = clock_now();
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (now >= deadline || poll(&p, 1, (int)((deadline - now) / NSEC_PER_MSEC) + 1) <= 0)
			return -ETIMEDOUT;
		n = recv(fd, buf + len, ANSWER_MAX - len, 0);
		if (n <= 0)
			return -EPIPE;
		len += (size_t)n;
		if (memchr(buf, '\n', len))
			return (int)len;
	}
	return -EMSGSIZE;
}

/* 0 when it is told. */
static int tell(int fd, const json_t *request)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	if (len == 0)
		return -ENOMEM;
	text[len++] = '\n'; /* in place of the NUL */
	return send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -EPIPE;
}

static bool in_force(const char *path, const json_t *request, uint64_t deadline)
{
	_cleanup_close_ int fd = connect_to(path);
	char answer[ANSWER_MAX];
	const char *mode;
	json_t *root;
	int len;
	bool yes;

	if (fd < 0 || tell(fd, request) < 0)
		return false;
	len = read_line(fd, deadline, answer);
	root = len > 0 ? json_loadb(answer, (size_t)len, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	mode = json_string_value(json_object_get(json_object_get(root, "result"), "mode"));
	yes = mode && strcmp(mode, "quarantine") != 0;
	json_decref(root);
	return yes;
}

bool agent_wait(const char *socket_path, const json_t *request, double seconds)
{
	uint64_t deadline = clock_now() + (uint64_t)(seconds * (double)NSEC_PER_SEC);
	int pause = PAUSE_MS_LEAST;

	for (;;) {
		if (in_force(socket_path, request, deadline))
			return true;
		if (clock_now() + (uint64_t)pause * NSEC_PER_MSEC > deadline)
			return false;
		poll(NULL, 0, pause);
		pause = pause * 2 < PAUSE_MS_MOST ? pause * 2 : PAUSE_MS_MOST;
	}
}

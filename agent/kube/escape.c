/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A cgroup's programs judge IP packets of sockets that were made in it. What gets past them: sending beneath IP (AF_PACKET),
 * making a socket elsewhere (in another cgroup, by another process), and taking the programs off. A host-network pod is in the
 * node's network namespace, so that each of its capabilities is one over the node's network.
 *
 * CAP_NET_RAW is in every runtime's default set: a container has it unless it drops it.
 */
#include "agent/kube/escape.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

static const char *const capabilities[] = {
	"NET_RAW", "NET_ADMIN", "SYS_ADMIN", "BPF", "SYS_PTRACE", "DAC_READ_SEARCH", "SYS_RAWIO", "SYS_MODULE",
};

/* Folders and sockets of the node by which a process leaves its cgroup, starts another elsewhere, or drops our pins. */
static const char *const ways_out[] = {
	"/sys/fs/cgroup",
	"/sys/fs/bpf",
	"/proc",
	"/dev",
	"/etc/kubernetes/manifests",
	"/run/containerd",
	"/run/crio",
	"/run/docker.sock",
	"/run/dbus",
	"/run/systemd",
	"/run/sluice",
};

/* ---- capabilities ------------------------------------------------------------------------------------------------ */

static const char *without_prefix(const char *name)
{
	return strncasecmp(name, "CAP_", 4) == 0 ? name + 4 : name;
}

static bool lists(json_t *list, const char *name)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);

		if (text && (!strcasecmp(without_prefix(text), name) || !strcasecmp(text, "ALL")))
			return true;
	}
	return false;
}

/* What is added counts, dropped or not. */
static bool capability_escapes(json_t *security, const char *container, char *buf, size_t size)
{
	json_t *wanted = json_object_get(security, "capabilities");
	json_t *add = json_object_get(wanted, "add");

	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++) {
		if (!lists(add, capabilities[i]))
			continue;
		snprintf(buf, size, "container %s adds CAP_%s", container, capabilities[i]);
		return true;
	}
	if (lists(json_object_get(wanted, "drop"), "NET_RAW"))
		return false;
	snprintf(buf, size, "container %s does not drop CAP_NET_RAW", container);
	return true;
}

static bool container_escapes(json_t *container, char *buf, size_t size)
{
	json_t *security = json_object_get(container, "securityContext");
	const char *name = json_string_value(json_object_get(container, "name"));

	if (!name)
		name = "?";
	if (json_is_true(json_object_get(security, "privileged"))) {
		snprintf(buf, size, "container %s is privileged", name);
		return true;
	}
	return capability_escapes(security, name, buf, size);
}

static bool any_container_escapes(json_t *spec, char *buf, size_t size)
{
	static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_t *container;
		size_t k;

		json_array_foreach(json_object_get(spec, lists[i]), k, container)
		{
			if (container_escapes(container, buf, size))
				return true;
		}
	}
	return false;
}

/* ---- the node's folders ------------------------------------------------------------------------------------------ */

/* Is `path` the folder, in it, or one that shows it? Both without a slash at the end; "" is the root. */
static bool touches(const char *path, size_t len, const char *folder)
{
	size_t n = strlen(folder), common = len < n ? len : n;

	return strncmp(path, folder, common) == 0 &&
	       (len == n || (len > n ? path[n] == '/' : folder[len] == '/' || len == 0));
}

/* Read-only or not: a socket can be connected to, and what is mounted below stays writable. */
static bool leads_out(const char *path)
{
	size_t len;

	if (strncmp(path, "/var/run", 8) == 0 && (path[8] == '/' || !path[8]))
		path += 4;
	len = strlen(path);
	while (len && path[len - 1] == '/')
		len--;
	/* The API refuses ".." in it; two slashes would hide the rest from a comparison of texts. */
	if (strstr(path, "//"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(ways_out); i++) {
		if (touches(path, len, ways_out[i]))
			return true;
	}
	return false;
}

static bool volume_escapes(json_t *spec, char *buf, size_t size)
{
	json_t *volume;
	size_t i;

	json_array_foreach(json_object_get(spec, "volumes"), i, volume)
	{
		json_t *host = json_object_get(volume, "hostPath");
		const char *path = json_string_value(json_object_get(host, "path"));

		if (!path || !leads_out(path))
			continue;
		snprintf(buf, size, "hostPath %s leads out of its cgroup", path);
		return true;
	}
	return false;
}

bool kube_escape(json_t *pod, char *buf, size_t size)
{
	json_t *spec = json_object_get(pod, "spec");

	if (json_is_true(json_object_get(spec, "hostPID"))) {
		snprintf(buf, size, "hostPID shows it the node's processes");
		return true;
	}
	return any_container_escapes(spec, buf, size) || volume_escapes(spec, buf, size);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice-cni: a chained CNI plugin that closes a pod's interface before the pod starts.
 *
 * Theory of operation
 * -------------------
 * It comes last in the chain and gets what the others made as `prevResult`. ADD puts a program that drops everything on the
 * host's end of the pod's veth, and fails if it cannot; only then it talks to the agent, which exchanges the program for its
 * own, and waits a bounded time for the pod's policy. If that does not come, the pod starts closed. So no packet of a pod gets
 * out before its policy is in force, whether the agent runs or not (hazard 27).
 *
 * DEL does nothing: taking the program off would open an interface that is about to go, and with it goes the program.
 *
 * CNI specification 0.3.0 to 1.1.0: parameters in the environment, the network's configuration on standard input, the result
 * or an error object on standard output.
 */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "tools/sluice-cni/agent.h"
#include "tools/sluice-cni/deny.h"
#include "tools/sluice-cni/result.h"

#define CNI_VERSION  "1.1.0"
#define WAIT_DEFAULT 5.0
#define WAIT_MAX     60.0

/* The specification's error codes, and one of our own. */
enum cni_error {
	CNI_INCOMPATIBLE_VERSION = 1,
	CNI_INVALID_ENVIRONMENT = 4,
	CNI_UNREADABLE_INPUT = 6,
	CNI_INVALID_CONFIG = 7,
	CNI_NOT_CLOSED = 100,
};

static const char *const versions[] = API_CNI_VERSIONS;

struct call {
	json_t *config;
	const char *version; /* of the configuration, as the answer's */
	const json_t *previous;
	const char *pin_path;
	const char *socket;
	double wait;
};

/* 1: the exit code. */
__attribute__((format(printf, 3, 4))) static int fail(const struct call *c, enum cni_error code, const char *format,
						      ...)
{
	char text[512];
	json_t *o;
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	o = json_pack("{s:s, s:i, s:s}", "cniVersion", c->version ? c->version : CNI_VERSION, "code", (int)code, "msg",
		      text);
	json_dumpf(o, stdout, JSON_COMPACT);
	json_decref(o);
	return EXIT_FAILURE;
}

static bool is_supported(const char *version)
{
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		if (strcmp(version, versions[i]) == 0)
			return true;
	}
	return false;
}

static int answer_version(const struct call *c)
{
	json_t *list = json_array(), *o;

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		json_array_append_new(list, json_string(versions[i]));
	o = json_pack("{s:s, s:o}", "cniVersion", c->version ? c->version : CNI_VERSION, "supportedVersions", list);
	json_dumpf(o, stdout, JSON_COMPACT);
	json_decref(o);
	return EXIT_SUCCESS;
}

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static int read_text(const struct call *c, const char *key, const char **ret)
{
	const json_t *value = json_object_get(c->config, key);

	if (!value)
		return EXIT_SUCCESS;
	if (!json_is_string(value) || json_string_value(value)[0] != '/')
		return fail(c, CNI_INVALID_CONFIG, "\"%s\" must be an absolute path", key);
	*ret = json_string_value(value);
	return EXIT_SUCCESS;
}

static int read_wait(struct call *c)
{
	const json_t *value = json_object_get(c->config, "waitSeconds");

	if (!value)
		return EXIT_SUCCESS;
	if (!json_is_number(value) || json_number_value(value) < 0 || json_number_value(value) > WAIT_MAX)
		return fail(c, CNI_INVALID_CONFIG, "\"waitSeconds\" must be a number from 0 to %g", WAIT_MAX);
	c->wait = json_number_value(value);
	return EXIT_SUCCESS;
}

static int read_config(struct call *c)
{
	json_error_t error;
	int r;

	c->config = json_loadf(stdin, 0, &error);
	if (!c->config)
		return fail(c, CNI_UNREADABLE_INPUT, "the configuration on standard input: line %d: %s", error.line,
			    error.text);
	c->version = json_string_value(json_object_get(c->config, "cniVersion"));
	if (!c->version)
		return fail(c, CNI_INVALID_CONFIG, "the configuration has no \"cniVersion\"");
	if (!is_supported(c->version))
		return fail(c, CNI_INCOMPATIBLE_VERSION, "version %s is not supported; %s to %s are", c->version,
			    versions[0], versions[ARRAY_SIZE(versions) - 1]);
	c->previous = json_object_get(c->config, "prevResult");
	r = read_text(c, "pinPath", &c->pin_path);
	if (r == EXIT_SUCCESS)
		r = read_text(c, "socket", &c->socket);
	return r == EXIT_SUCCESS ? read_wait(c) : r;
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

static int find_interfaces(const struct call *c, struct host_interface ret[RESULT_MAX_INTERFACES], int *ret_count)
{
	static const char *const needed[] = { "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME" };

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		const char *value = getenv(needed[i]);

		if (!value || !value[0])
			return fail(c, CNI_INVALID_ENVIRONMENT, "%s is missing", needed[i]);
	}
	if (!json_is_object(c->previous))
		return fail(c, CNI_INVALID_CONFIG,
			    "there is no \"prevResult\": sluice-cni comes after the plugin that makes the interface");
	*ret_count = result_host_interfaces(c->previous, ret);
	if (*ret_count < 0)
		return fail(c, CNI_NOT_CLOSED, "\"prevResult\" names more than %d interfaces", RESULT_MAX_INTERFACES);
	if (*ret_count == 0)
		return fail(c, CNI_NOT_CLOSED,
			    "\"prevResult\" names no veth of this host: the pod's interface cannot be closed");
	return EXIT_SUCCESS;
}

/* The pod's first interface: the agent knows the others by it. */
static void tell_agent(const struct call *c, const char *interface)
{
	json_t *request = agent_request(interface, getenv("CNI_ARGS"), c->previous, getenv("CNI_IFNAME"));

	if (!agent_wait(c->socket, request, c->wait) && c->wait > 0)
		fprintf(stderr, "sluice-cni: %s: no policy within %g s; the pod starts closed\n", interface, c->wait);
	json_decref(request);
}

static int add(const struct call *c)
{
	struct host_interface interfaces[RESULT_MAX_INTERFACES];
	int count, r = find_interfaces(c, interfaces, &count);

	for (int i = 0; r == EXIT_SUCCESS && i < count; i++) {
		int error = deny_put(c->pin_path, interfaces[i].ifindex);

		if (error < 0)
			r = fail(c, CNI_NOT_CLOSED, "%s cannot be closed: %s", interfaces[i].name, strerror(-error));
	}
	if (r != EXIT_SUCCESS)
		return r;
	tell_agent(c, interfaces[0].name);
	return json_dumpf(c->previous, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17)) < 0 ? EXIT_FAILURE
											   : EXIT_SUCCESS;
}

static int check(const struct call *c)
{
	struct host_interface interfaces[RESULT_MAX_INTERFACES];
	int count, r = find_interfaces(c, interfaces, &count);

	for (int i = 0; r == EXIT_SUCCESS && i < count; i++) {
		if (!deny_is_there(c->pin_path, interfaces[i].ifindex))
			r = fail(c, CNI_NOT_CLOSED, "no program of Sluice is on %s", interfaces[i].name);
	}
	return r;
}

static int run(struct call *c, const char *command)
{
	int r;

	if (strcmp(command, "VERSION") == 0) {
		/* The configuration holds nothing but the version the runtime speaks; it may be missing. */
		c->config = json_loadf(stdin, 0, NULL);
		c->version = json_string_value(json_object_get(c->config, "cniVersion"));
		return answer_version(c);
	}
	r = read_config(c);
	if (r != EXIT_SUCCESS)
		return r;
	if (strcmp(command, "ADD") == 0)
		return add(c);
	if (strcmp(command, "CHECK") == 0)
		return check(c);
	if (strcmp(command, "DEL") == 0 || strcmp(command, "STATUS") == 0 || strcmp(command, "GC") == 0)
		return EXIT_SUCCESS;
	return fail(c, CNI_INVALID_ENVIRONMENT, "CNI_COMMAND '%s' is unknown", command);
}

int main(void)
{
	struct call c = { .pin_path = API_DEFAULT_PIN_PATH, .socket = API_DEFAULT_SOCKET, .wait = WAIT_DEFAULT };
	const char *command = getenv("CNI_COMMAND");
	int r;

	if (!command || !command[0]) {
		fputs("sluice-cni is a CNI plugin: it is run by a container runtime, see its README.md\n", stderr);
		return fail(&c, CNI_INVALID_ENVIRONMENT, "CNI_COMMAND is missing");
	}
	r = run(&c, command);
	json_decref(c.config);
	return r;
}

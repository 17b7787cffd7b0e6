/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cni_conf.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api.h"
#include "base/cleanup.h"

static int refuse(char error[CNI_ERROR_MAX], const char *why)
{
	snprintf(error, CNI_ERROR_MAX, "%s", why);
	return -EINVAL;
}

/* The oldest in which a plugin is told the result of the one before it in a form that names interfaces. */
static bool is_chainable(const char *version)
{
	static const char *const versions[] = API_CNI_VERSIONS;

	for (size_t i = 0; version && i < ARRAY_SIZE(versions); i++) {
		if (!strcmp(version, versions[i]))
			return true;
	}
	return false;
}

static bool is_ours(const json_t *plugin)
{
	const char *type = json_string_value(json_object_get(plugin, "type"));

	return type && !strcmp(type, API_CNI_PLUGIN);
}

static int check_list(const json_t *list, char error[CNI_ERROR_MAX])
{
	const json_t *plugins = json_object_get(list, "plugins"), *plugin;
	const char *version = json_string_value(json_object_get(list, "cniVersion"));
	size_t i;

	if (!json_is_string(json_object_get(list, "name")))
		return refuse(error, "no \"name\"");
	if (!is_chainable(version)) {
		snprintf(error, CNI_ERROR_MAX, "cniVersion %.32s: " API_CNI_PLUGIN " cannot follow such a plugin",
			 version ? version : "(none)");
		return -EINVAL;
	}
	if (!json_is_array(plugins) || json_array_size(plugins) == 0)
		return refuse(error, "\"plugins\" is no list, or empty");
	json_array_foreach(plugins, i, plugin)
	{
		if (!json_is_string(json_object_get(plugin, "type")))
			return refuse(error, "a plugin without a \"type\"");
	}
	return 0;
}

/* One plugin's configuration as a list of it. NULL when memory runs out; a new reference. */
static json_t *list_of(json_t *conf)
{
	if (json_object_get(conf, "plugins") || !json_object_get(conf, "type"))
		return json_deep_copy(conf);
	return json_pack("{s:O*, s:O*, s:[o]}", "cniVersion", json_object_get(conf, "cniVersion"), "name",
			 json_object_get(conf, "name"), "plugins", json_deep_copy(conf));
}

static int append(json_t *list, const struct cni_plugin *ours)
{
	json_t *plugins = json_object_get(list, "plugins");

	for (size_t i = json_array_size(plugins); i-- > 0;) {
		if (is_ours(json_array_get(plugins, i)))
			json_array_remove(plugins, i);
	}
	return json_array_append_new(
		       plugins, json_pack("{s:s, s:s, s:s, s:I}", "type", API_CNI_PLUGIN, "socket", ours->socket,
					  "pinPath", ours->pin_path, "waitSeconds", (json_int_t)ours->wait_seconds)) < 0
		       ? -ENOMEM
		       : 0;
}

int cni_conf_chain(const char *text, size_t len, const struct cni_plugin *ours, char **ret,
		   char ret_error[CNI_ERROR_MAX])
{
	CLEANUP(json_decrefp) json_t *conf = NULL, *list = NULL;
	json_error_t where;
	char *out;
	int r;

	conf = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!conf) {
		snprintf(ret_error, CNI_ERROR_MAX, "line %d, column %d: %.160s", where.line, where.column, where.text);
		return -EINVAL;
	}
	if (!json_is_object(conf))
		return refuse(ret_error, "no JSON object");
	list = list_of(conf);
	if (!list)
		return -ENOMEM;
	r = check_list(list, ret_error);
	if (r == 0)
		r = append(list, ours);
	if (r < 0)
		return r;
	/* Reals as they were: libcni hands them to plugins that may read them as text. */
	out = json_dumps(list, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17));
	if (!out)
		return -ENOMEM;
	*ret = out;
	return 0;
}

bool cni_conf_is_name(const char *name)
{
	static const char *const endings[] = { ".conf", ".conflist", ".json" };
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(endings); i++) {
		if (!strcmp(dot, endings[i]))
			return true;
	}
	return false;
}

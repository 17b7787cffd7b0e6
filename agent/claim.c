/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/claim.h"

#include <errno.h>
#include <string.h>

#include "base/addr.h"

static bool copy_text(const json_t *pod, const char *key, char *ret, size_t size)
{
	const char *text = json_string_value(json_object_get(pod, key));

	if (!text || !text[0] || strlen(text) >= size)
		return false;
	strcpy(ret, text);
	return true;
}

static const char *read_addresses(const json_t *list, struct claim *ret)
{
	const json_t *item;
	size_t i;

	if (list && !json_is_array(list))
		return "\"addresses\" is no list";
	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);

		if (ret->naddrs == SLUICE_ENDPOINT_ADDRS)
			return "too many \"addresses\"";
		if (!text || addr_parse(text, &ret->addrs[ret->naddrs]) < 0)
			return "\"addresses\" holds what is no address";
		ret->naddrs++;
	}
	return NULL;
}

int claim_read(const json_t *request, struct claim *ret, const char **ret_error)
{
	const json_t *pod = json_object_get(request, "pod");
	struct claim c = {};

	if (!pod)
		return 0;
	if (!copy_text(pod, "uid", c.uid, sizeof(c.uid)) ||
	    !copy_text(pod, "namespace", c.namespace_name, sizeof(c.namespace_name)) ||
	    !copy_text(pod, "name", c.name, sizeof(c.name))) {
		*ret_error = "\"pod\" must have \"uid\", \"namespace\" and \"name\"";
		return -EINVAL;
	}
	*ret_error = read_addresses(json_object_get(request, "addresses"), &c);
	if (*ret_error)
		return -EINVAL;
	*ret = c;
	return 1;
}

bool claim_is_of(const struct claim *c, const char *uid, const char *namespace_name, const char *name)
{
	return !strcmp(c->uid, uid) && !strcmp(c->namespace_name, namespace_name) && !strcmp(c->name, name);
}

void claim_note_before(struct claim *c, const struct sluice_addr *addrs, size_t naddrs)
{
	c->nbefore = naddrs < SLUICE_ENDPOINT_ADDRS ? naddrs : SLUICE_ENDPOINT_ADDRS;
	if (c->nbefore)
		memcpy(c->before, addrs, c->nbefore * sizeof(*addrs));
}

static bool has_all(const struct sluice_addr *all, size_t nall, const struct sluice_addr *addrs, size_t naddrs)
{
	for (size_t i = 0; i < naddrs; i++) {
		size_t k = 0;

		while (k < nall && addr_compare(&all[k], &addrs[i]) != 0)
			k++;
		if (k == nall)
			return false;
	}
	return true;
}

bool claim_contradicted(const struct claim *c, const struct sluice_addr *addrs, size_t naddrs)
{
	if (c->naddrs == 0 || has_all(c->addrs, c->naddrs, addrs, naddrs))
		return false;
	return !has_all(c->before, c->nbefore, addrs, naddrs);
}

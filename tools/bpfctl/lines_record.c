/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel records as flow-log lines, for the time when no agent makes them: agent/flowlog.h over the pins. */
#include "agent/flowlog.h"
#include "tools/bpfctl/lines.h"

static bool find_label(void *context, uint32_t endpoint, uint32_t generation, struct sluice_label *ret)
{
	const struct records *r = context;

	return pins_lookup(r->pins, PIN_LABELS, &endpoint, ret) == 0 && ret->generation == generation;
}

static bool find_name(void *context, uint64_t id, struct sluice_name *ret)
{
	const struct records *r = context;

	return pins_lookup(r->pins, PIN_NAMES, &id, ret) == 0 && ret->id == id;
}

static const struct image *find_image(void *context, uint64_t policy)
{
	const struct records *r = context;
	const struct image *img;

	return r->images && images_get(r->images, policy, &img) == 0 ? img : NULL;
}

static struct flowlog_sources sources(const struct records *r)
{
	return (struct flowlog_sources){ (void *)r, find_label, find_name, find_image };
}

json_t *line_from_event(const struct records *r, const struct sluice_event *event)
{
	struct flowlog_sources s = sources(r);

	return flowlog_event(&s, event);
}

json_t *line_from_dns(const struct records *r, const struct sluice_dns_record *record)
{
	struct flowlog_sources s = sources(r);

	return flowlog_dns(&s, record);
}

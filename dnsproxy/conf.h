/* SPDX-License-Identifier: Apache-2.0 */
/* The settings file, checked once so that nobody has to doubt its counts and strings later. */
#ifndef SLUICE_DNSPROXY_CONF_H
#define SLUICE_DNSPROXY_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsproxy/settings.h"
#include "dnsproxy/wire.h"

/* 0 or -EBADMSG; `ret` is a copy. */
int conf_read(const void *data, size_t len, struct proxy_settings *ret);

bool conf_asks_type(const struct proxy_settings *s, uint16_t qtype);
/* The longest search domain strictly above `name`: its length, or -1. */
int conf_search_above(const struct proxy_settings *s, const struct wire_name *name);
bool conf_in_cluster_domain(const struct proxy_settings *s, const struct wire_name *name);
/* Index of a trusted resolver, or -1. */
int conf_find_resolver(const struct proxy_settings *s, const struct sluice_addr *addr);

#endif

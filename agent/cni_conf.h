/* SPDX-License-Identifier: Apache-2.0 */
/* Another's CNI configuration with sluice-cni at the end of its chain. Text in, text out. */
#ifndef SLUICE_AGENT_CNI_CONF_H
#define SLUICE_AGENT_CNI_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The keys of our plugin. */
struct cni_plugin {
	const char *socket;
	const char *pin_path;
	uint32_t wait_seconds;
};

#define CNI_ERROR_MAX 256

/*
 * `text` is a list ("plugins"), or one plugin ("type"), which becomes a list of that one. Everything in it stays, but for a
 * sluice-cni that is in the chain already. 0, `ret` to free(); -EINVAL: it is none, or none that sluice-cni can follow, and
 * `ret_error` says why; -ENOMEM.
 */
int cni_conf_chain(const char *text, size_t len, const struct cni_plugin *ours, char **ret,
		   char ret_error[CNI_ERROR_MAX]);

/* Do container runtimes read a file of that name as a configuration? */
bool cni_conf_is_name(const char *name);

#endif

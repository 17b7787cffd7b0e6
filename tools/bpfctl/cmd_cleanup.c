/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes Sluice off the node: sluice-cni (or new pods would be closed anew), links (which detaches the programs), clsact
 * filters, routing rule and table, table of nf_tables, pins, run directory. `settings` goes last: while it is there, an
 * interrupted cleanup is known for what it is and can go on.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/api.h"
#include "agent/notrack.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "dnsproxy/settings.h"
#include "tools/bpfctl/client.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/images.h"
#include "tools/bpfctl/netlink.h"
#include "tools/bpfctl/node_files.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/pins.h"
#include "tools/bpfctl/run_scene.h"

enum { CLEANUP_FORCE, CLEANUP_DRY, CLEANUP_CONFIG };

struct cleanup {
	const struct config *config;
	const struct ctl *ctl;
	bool dry;
	json_t *removed; /* [{"kind", "what"}] */
	json_t *failed;	 /* [{"kind", "what", "error"}] */
};

static void report(void *context, const char *kind, const char *what, int error)
{
	struct cleanup *c = context;
	json_t *o = json_pack("{s:s, s:o*}", "kind", kind, "what", out_textz(what, SIZE_MAX));

	if (error == 0) {
		json_array_append_new(c->removed, o);
		if (!c->ctl->json)
			printf("%s %s: %s\n", c->dry ? "would remove" : "removed", kind, what);
		return;
	}
	json_object_set_new(o, "error", json_string(strerror(-error)));
	json_array_append_new(c->failed, o);
	ctl_error("cannot remove %s %s: %s", kind, what, strerror(-error));
}

/* ---- pins --------------------------------------------------------------------------------------------------------- */

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Unpinning detaches only when nobody else holds the link; detaching it is sure. */
static void detach(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);

	if (fd >= 0)
		bpf_link_detach(fd);
}

static void remove_pin(struct cleanup *c, const char *path, bool link)
{
	if (link && !c->dry)
		detach(path);
	report(c, link ? "link" : "pin", path, c->dry || unlink(path) == 0 ? 0 : -errno);
}

/* EBUSY: somebody has mounted it there, as a container's volume is. Empty, it stays. */
static void remove_dir(struct cleanup *c, const char *path)
{
	int error = c->dry || rmdir(path) == 0 ? 0 : -errno;

	if (error != -EBUSY)
		report(c, "directory", path, error);
}

/* Everything below `path` but what is called `spare`; a bpffs has no symbolic links of ours to follow. */
static int remove_tree(struct cleanup *c, const char *path, const char *spare, bool links)
{
	__attribute__((cleanup(closedirp))) DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		char full[PATH_MAX];
		struct stat st;

		if (is_dots(entry->d_name) || (spare && !strcmp(entry->d_name, spare)))
			continue;
		if (snprintf(full, sizeof(full), "%s/%s", path, entry->d_name) >= (int)sizeof(full) ||
		    lstat(full, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			remove_tree(c, full, NULL, links);
			remove_dir(c, full);
		} else {
			remove_pin(c, full, links);
		}
	}
	return 0;
}

static bool is_mount_point(const char *path)
{
	char parent[PATH_MAX];
	struct stat here, up;

	if (snprintf(parent, sizeof(parent), "%s/..", path) >= (int)sizeof(parent) || stat(path, &here) < 0 ||
	    stat(parent, &up) < 0)
		return true;
	return here.st_dev != up.st_dev;
}

/* Without an agent, sluice-cni makes the folder, for the links that close pods; an agent that may not load its programs, both. */
static bool has_only_folders(const char *path)
{
	__attribute__((cleanup(closedirp))) DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (!is_dots(entry->d_name) && strcmp(entry->d_name, "links") != 0 &&
		    strcmp(entry->d_name, "programs") != 0)
			return false;
	}
	return dir;
}

/* Is it a folder that Sluice made? 1, 0 when there is none, -errno with a message. */
static int check_pin_path(const char *path)
{
	char settings[PATH_MAX];
	struct statfs fs;

	if (statfs(path, &fs) < 0) {
		if (errno == ENOENT)
			return 0;
		ctl_error("%s: %s", path, strerror(errno));
		return -errno;
	}
	if (fs.f_type != BPF_FS_MAGIC) {
		ctl_error("%s is not on a BPF file system: nothing there is touched", path);
		return -EINVAL;
	}
	if (is_mount_point(path)) {
		ctl_error("%s is a whole BPF file system, where others may have pins: nothing there is touched", path);
		return -EINVAL;
	}
	snprintf(settings, sizeof(settings), "%s/" SLUICE_MAP_SETTINGS, path);
	if (access(settings, F_OK) < 0 && !has_only_folders(path)) {
		ctl_error("%s holds no pin called " SLUICE_MAP_SETTINGS ": it is not ours, nothing there is touched",
			  path);
		return -EINVAL;
	}
	return 1;
}

static void remove_links(struct cleanup *c)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/links", c->ctl->pin_path) >= (int)sizeof(path))
		return;
	if (remove_tree(c, path, NULL, true) == 0)
		remove_dir(c, path);
}

static void remove_pins(struct cleanup *c)
{
	size_t failed = json_array_size(c->failed);
	char settings[PATH_MAX];

	if (snprintf(settings, sizeof(settings), "%s/" SLUICE_MAP_SETTINGS, c->ctl->pin_path) >= (int)sizeof(settings))
		return;
	/* In a dry run the links are still there, and have been reported. */
	remove_tree(c, c->ctl->pin_path, c->dry ? "links" : SLUICE_MAP_SETTINGS, false);
	if (json_array_size(c->failed) != failed)
		return;
	if (!c->dry && access(settings, F_OK) == 0)
		remove_pin(c, settings, false);
	remove_dir(c, c->ctl->pin_path);
}

/* ---- network ------------------------------------------------------------------------------------------------------ */

/* The interfaces that links are pinned for: links/IFINDEX-from. */
static void list_linked(const struct cleanup *c, struct netlink_indexes *ret)
{
	__attribute__((cleanup(closedirp))) DIR *dir = NULL;
	char path[PATH_MAX];
	struct dirent *entry;

	if (snprintf(path, sizeof(path), "%s/links", c->ctl->pin_path) >= (int)sizeof(path))
		return;
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char *end;
		unsigned long ifindex = strtoul(entry->d_name, &end, 10);
		uint32_t *grown;

		if (strcmp(end, "-from") != 0 || ifindex == 0)
			continue;
		grown = reallocarray(ret->items, ret->count + 1, sizeof(*grown));
		if (!grown)
			return;
		ret->items = grown;
		grown[ret->count++] = (uint32_t)ifindex;
	}
}

static void remove_filters(struct cleanup *c, struct nlsock *nl, const struct netlink_indexes *linked)
{
	int r = nl ? netlink_remove_filters(nl, linked, c->dry, report, c) : 0;

	if (r < 0)
		report(c, "filters", "of all interfaces", r);
}

static void remove_routing(struct cleanup *c, struct nlsock *nl)
{
	int r = nl ? netlink_remove_rules(nl, c->dry, report, c) : 0;

	if (r < 0)
		report(c, "rules", "of the policy routing", r);
	r = nl ? netlink_remove_routes(nl, c->dry, report, c) : 0;
	if (r < 0)
		report(c, "routes", "of our table", r);
}

/* Without nf_tables, or without the table, there is nothing to say. */
static void remove_notrack(struct cleanup *c)
{
	__attribute__((cleanup(notrack_freep))) struct notrack *n = NULL;
	int r = notrack_open(&n);

	if (r == 0)
		r = notrack_exists(n);
	if (r > 0)
		report(c, "table", "inet sluice of nf_tables", c->dry ? 0 : notrack_remove(n));
	else if (r < 0 && !notrack_is_lacking(r))
		report(c, "table", "inet sluice of nf_tables", r);
}

/* ---- run directory ------------------------------------------------------------------------------------------------ */

/* Only what the agent and the proxy write: a run directory may have been set to a folder of others too. */
enum run_folder { RUN_TOP, RUN_PROXY, RUN_ACCEPTED, RUN_STATE };

static bool is_run_file(const char *name, enum run_folder folder)
{
	size_t len = strlen(name);
	char stem[256];
	uint64_t id;

	if (len > 4 && len < sizeof(stem) && !strcmp(name + len - 4, ".tmp")) {
		memcpy(stem, name, len - 4);
		stem[len - 4] = '\0';
		name = stem;
		len -= 4;
	}
	switch (folder) {
	case RUN_TOP:
		return !strcmp(name, API_STATE_MARK);
	case RUN_PROXY:
		return image_file_id(name, &id) || !strcmp(name, PROXY_SETTINGS_FILE);
	case RUN_STATE:
		return !strcmp(name, API_STATE_FILE);
	case RUN_ACCEPTED:
		return len > strlen(API_ACCEPTED_ENDING) &&
		       !strcmp(name + len - strlen(API_ACCEPTED_ENDING), API_ACCEPTED_ENDING);
	}
	return false;
}

static void remove_run_files(struct cleanup *c, const char *path, enum run_folder folder)
{
	__attribute__((cleanup(closedirp))) DIR *dir = opendir(path);
	struct dirent *entry;
	size_t left = 0;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char full[PATH_MAX];

		if (is_dots(entry->d_name))
			continue;
		if (!is_run_file(entry->d_name, folder)) {
			left += !c->dry || (entry->d_type != DT_SOCK && entry->d_type != DT_DIR);
			continue;
		}
		if (snprintf(full, sizeof(full), "%s/%s", path, entry->d_name) < (int)sizeof(full))
			report(c, "file", full, c->dry || unlink(full) == 0 ? 0 : -errno);
	}
	if (left == 0)
		remove_dir(c, path);
	else
		report(c, "directory", path, -ENOTEMPTY);
}

static void remove_run_subdir(struct cleanup *c, const char *name, enum run_folder folder)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", c->ctl->run_dir, name) < (int)sizeof(path))
		remove_run_files(c, path, folder);
}

static void remove_run_dir(struct cleanup *c)
{
	struct stat st;

	if (lstat(c->ctl->socket, &st) == 0 && S_ISSOCK(st.st_mode))
		report(c, "socket", c->ctl->socket, c->dry || unlink(c->ctl->socket) == 0 ? 0 : -errno);
	remove_run_subdir(c, PROXY_DIR, RUN_PROXY);
	remove_run_subdir(c, API_ACCEPTED_DIR, RUN_ACCEPTED);
	remove_run_files(c, c->ctl->run_dir, RUN_TOP);
	if (*c->config->state_dir)
		remove_run_files(c, c->config->state_dir, RUN_STATE);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static void report_run(void *context, const char *id)
{
	report(context, "run", id, 0);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------- */

/*
 * An agent holds the lock of the pin folder for as long as it lives (agent/kernel.h). Held by us until the end, it keeps
 * a new one from starting over what is being taken away. 0 (*ret_fd is -1 when there is no folder); -EWOULDBLOCK: there is
 * an agent.
 */
static int lock_out_agent(const struct ctl *ctl, int *ret_fd)
{
	__attribute__((cleanup(client_freep))) struct client *client = NULL;
	_cleanup_close_ int fd = open(ctl->pin_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (client_connect(ctl->socket, &client) == 0)
		return -EWOULDBLOCK;
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void note_proxy(const struct ctl *ctl)
{
	__attribute__((cleanup(pins_freep))) struct pins *pins = NULL;

	if (pins_open(ctl->pin_path, &pins) == 0 && pins_proxy_alive(pins, clock_now()))
		fprintf(stderr,
			"bpfctl: the DNS proxy (pid %llu) still runs; it keeps its maps in memory until it ends\n",
			(unsigned long long)pins_dns_stats(pins)->pid);
}

static void remove_all(struct cleanup *c, bool pins)
{
	CLEANUP(nlsock_freep) struct nlsock *nl = NULL;
	struct netlink_indexes linked = {};
	int r = nlsock_open(NETLINK_ROUTE, &nl);

	if (r < 0)
		report(c, "filters, rules and routes", "(no netlink)", r);
	list_linked(c, &linked);
	node_files_remove_cni(&c->config->cni, c->dry, report, c);
	if (pins)
		remove_links(c);
	remove_filters(c, nl, &linked);
	free(linked.items);
	remove_routing(c, nl);
	remove_notrack(c);
	remove_run_dir(c);
	if (pins)
		remove_pins(c);
}

/* Where everything is: by the line, else by the configuration. */
static struct ctl places(const struct ctl *given, const struct config *config)
{
	struct ctl ret = *given;

	if (!given->has_pin_path)
		ret.pin_path = config->pin_path;
	if (!given->has_socket)
		ret.socket = config->socket;
	if (!given->has_run_dir)
		ret.run_dir = config->run_dir;
	return ret;
}

static enum ctl_exit clean(const struct ctl *ctl, const struct ctl_args *args, const struct config *config)
{
	struct cleanup c = { .config = config, .ctl = ctl, .dry = args->value[CLEANUP_DRY] != NULL };
	_cleanup_json_ json_t *removed = json_array(), *failed = json_array();
	_cleanup_close_ int lock = -1;
	int pins;

	c.removed = removed;
	c.failed = failed;
	run_scene_sweep(c.dry, report_run, &c);
	if (!c.dry && !args->value[CLEANUP_FORCE] && lock_out_agent(ctl, &lock) < 0) {
		ctl_error("the agent is running and would put everything back: stop it first, or use --force");
		return CTL_UNREACHABLE;
	}
	pins = check_pin_path(ctl->pin_path);
	if (pins < 0)
		return CTL_UNREACHABLE;
	note_proxy(ctl);
	remove_all(&c, pins > 0);
	if (ctl->json)
		out_json(json_pack("{s:b, s:O, s:O}", "dry_run", c.dry, "removed", removed, "failed", failed));
	else if (!json_array_size(removed) && !json_array_size(failed))
		printf("nothing to remove\n");
	return json_array_size(failed) ? CTL_UNREACHABLE : CTL_OK;
}

static enum ctl_exit run(const struct ctl *given, const struct ctl_args *args)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct ctl ctl;

	if (node_files_config(args->value[CLEANUP_CONFIG], &config) < 0)
		return CTL_UNREACHABLE;
	ctl = places(given, config);
	return clean(&ctl, args, config);
}

static const struct ctl_opt opts[] = {
	[CLEANUP_FORCE] = { 0, "force", NULL, "even while the agent runs" },
	[CLEANUP_DRY] = { 'n', "dry-run", NULL, "say what would be removed, and remove nothing" },
	[CLEANUP_CONFIG] = { 'c', "config", "FILE", "the agent's sluice.yaml, which says where all is" },
	{ 0 },
};

const struct ctl_command cmd_cleanup = {
	.path = "cleanup",
	.operands = "",
	.summary = "Takes Sluice off this node: programs, maps, routing rules, CNI plugin, run directory",
	.detail = "Afterwards nothing is enforced any more: all endpoints are open. What a killed `bpfctl run` has "
		  "left goes first, "
		  "also while an agent runs; its command is ended.",
	.opts = opts,
	.run = run,
};

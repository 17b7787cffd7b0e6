/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Container runtimes take the first configuration by name and watch the folder. Ours comes first, so what others do to theirs
 * (aws-node takes its own away and writes it anew when it starts) is never in force without sluice-cni, not for a moment.
 *
 * When the one that ours was made of goes and no other is there, ours stays. Taken away too, it would leave a gap for pods that
 * start between the other's return and ours; as it is they get an error from a plugin that is not ready, and are tried again.
 * So it is after a start of the node, when ours is there before anything runs. One that cannot be read or used leaves the last
 * good one, for the same reason.
 *
 * The program comes before the list that names it, and neither is written in place: a runtime sees the old one or the new one.
 */
#include "agent/cni_install.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/api.h"
#include "agent/cni_conf.h"
#include "agent/metrics.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define CONF_MAX    (1u << 20)
#define PROGRAM_MAX (64u << 20)

struct cni_install {
	char *conf_dir;
	char *bin_dir;
	char *socket;
	char *pin_path;
	uint32_t wait_seconds;
	char *plugin;		    /* what is installed */
	char *good;		    /* the list as last made; NULL: none yet */
	char source[NAME_MAX + 1];  /* what it is to be made of; "": there is none */
	char made_of[NAME_MAX + 1]; /* and what it was made of */
	struct stat program;	    /* in bin_dir, as last compared */
	bool in_force;
	uint64_t written;
	char problem[2 * CNI_ERROR_MAX];
	char told[2 * CNI_ERROR_MAX];
};

/* ---- life -------------------------------------------------------------------------------------------------------- */

void cni_install_freep(struct cni_install **c)
{
	if (!*c)
		return;
	free((*c)->conf_dir);
	free((*c)->bin_dir);
	free((*c)->socket);
	free((*c)->pin_path);
	free((*c)->plugin);
	free((*c)->good);
	free(*c);
	*c = NULL;
}

/* Where the build installs it, seen from this program; or beside it, where nothing was installed. */
static char *own_plugin(void)
{
	char exe[PATH_MAX], *slash, *path = NULL;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n <= 0)
		return strdup(API_CNI_PLUGIN);
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	*slash = '\0';
	if (asprintf(&path, "%s/../libexec/cni/" API_CNI_PLUGIN, exe) < 0)
		return NULL;
	if (access(path, R_OK) == 0)
		return path;
	free(path);
	return asprintf(&path, "%s/" API_CNI_PLUGIN, exe) < 0 ? NULL : path;
}

int cni_install_new(const struct config *config, const char *plugin, struct cni_install **ret)
{
	CLEANUP(cni_install_freep) struct cni_install *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->conf_dir = strdup(config->cni.conf_dir);
	c->bin_dir = strdup(config->cni.bin_dir);
	c->socket = strdup(config->socket);
	c->pin_path = strdup(config->pin_path);
	c->wait_seconds = config->cni.wait_seconds;
	c->plugin = plugin ? strdup(plugin) : own_plugin();
	if (!c->conf_dir || !c->bin_dir || !c->socket || !c->pin_path || !c->plugin)
		return -ENOMEM;
	*ret = TAKE_PTR(c);
	return 0;
}

int cni_install_watch(const struct cni_install *c, struct watch *w)
{
	int r = watch_add(w, c->conf_dir);

	return r < 0 ? r : watch_add(w, c->bin_dir);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void set_problem(struct cni_install *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->problem, sizeof(c->problem), format, args);
	va_end(args);
}

static int open_dir(struct cni_install *c, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = errno;

	if (fd < 0)
		set_problem(c, "%s: %s", path, strerror(error));
	return fd;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mode == b->st_mode && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Of the same bytes, and to be run. */
static bool is_program(int dir, const char *text, size_t len)
{
	_cleanup_free_ char *there = NULL;
	size_t there_len;
	struct stat st;

	return fstatat(dir, API_CNI_PLUGIN, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & 0555) == 0555 &&
	       file_read(dir, API_CNI_PLUGIN, PROGRAM_MAX, &there, &there_len) == 0 && there_len == len &&
	       memcmp(there, text, len) == 0;
}

/* True: the program is there, and this version's. */
static bool put_program(struct cni_install *c)
{
	_cleanup_close_ int dir = open_dir(c, c->bin_dir);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len;
	int r;

	if (dir < 0)
		return false;
	if (fstatat(dir, API_CNI_PLUGIN, &st, AT_SYMLINK_NOFOLLOW) == 0 && same_file(&st, &c->program))
		return true;
	r = file_read(AT_FDCWD, c->plugin, PROGRAM_MAX, &text, &len);
	if (r < 0) {
		set_problem(c, "%s: %s", c->plugin, strerror(-r));
		return false;
	}
	if (!is_program(dir, text, len)) {
		r = file_replace_synced(dir, API_CNI_PLUGIN, text, len, 0755);
		if (r == 0)
			log_info("%s/" API_CNI_PLUGIN ": installed", c->bin_dir);
	}
	if (r < 0)
		set_problem(c, "%s/" API_CNI_PLUGIN ": %s", c->bin_dir, strerror(-r));
	else if (fstatat(dir, API_CNI_PLUGIN, &c->program, AT_SYMLINK_NOFOLLOW) < 0)
		memset(&c->program, 0, sizeof(c->program));
	return r == 0;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* The first configuration by name that is not ours, into c->source; "" when there is none. */
static void find_source(struct cni_install *c, int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *list = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	c->source[0] = '\0';
	while (list && (entry = readdir(list))) {
		const char *name = entry->d_name;
		struct stat st;

		if (!cni_conf_is_name(name) || !strcmp(name, API_CNI_CONFLIST) ||
		    (c->source[0] && strcmp(name, c->source) >= 0))
			continue;
		if (fstatat(dir, name, &st, 0) < 0 || !S_ISDIR(st.st_mode))
			snprintf(c->source, sizeof(c->source), "%s", name);
	}
	if (!list && copy >= 0)
		close(copy);
}

/* Makes c->good of that file. False, with the problem: it stays as it was. */
static bool make_list(struct cni_install *c, int dir, const char *name)
{
	const struct cni_plugin ours = { c->socket, c->pin_path, c->wait_seconds };
	_cleanup_free_ char *text = NULL;
	char error[CNI_ERROR_MAX] = "out of memory", *fresh = NULL;
	size_t len;
	int r = file_read(dir, name, CONF_MAX, &text, &len);

	if (r < 0)
		snprintf(error, sizeof(error), "%s", strerror(-r));
	else
		r = cni_conf_chain(text, len, &ours, &fresh, error);
	if (r < 0) {
		set_problem(c, "%s/%s: %s", c->conf_dir, name, error);
		return false;
	}
	free(c->good);
	c->good = fresh;
	snprintf(c->made_of, sizeof(c->made_of), "%s", name);
	return true;
}

/* True: the list as last made is there. */
static bool put_list(struct cni_install *c, int dir)
{
	_cleanup_free_ char *there = NULL;
	size_t len;
	int r = file_read(dir, API_CNI_CONFLIST, CONF_MAX, &there, &len);

	if (r == 0 && strcmp(there, c->good) == 0)
		return true;
	r = file_replace_synced(dir, API_CNI_CONFLIST, c->good, strlen(c->good), 0600);
	if (r < 0) {
		set_problem(c, "%s/" API_CNI_CONFLIST ": %s", c->conf_dir, strerror(-r));
		return false;
	}
	c->written++;
	log_info("%s/" API_CNI_CONFLIST ": written, of %s", c->conf_dir,
		 c->source[0] ? c->source : "the last good one");
	return true;
}

/* The last good one is what this agent made last or, before it made any, what an earlier one left. */
static bool has_good(struct cni_install *c, int dir)
{
	if (c->source[0] && make_list(c, dir, c->source))
		return true;
	if (c->good || faccessat(dir, API_CNI_CONFLIST, F_OK, 0) < 0)
		return c->good;
	return make_list(c, dir, API_CNI_CONFLIST);
}

static bool put_conflist(struct cni_install *c)
{
	_cleanup_close_ int dir = open_dir(c, c->conf_dir);
	bool there;

	if (dir < 0)
		return false;
	find_source(c, dir);
	there = has_good(c, dir) && put_list(c, dir);
	if (!c->source[0] && !c->problem[0])
		set_problem(c,
			    there ? "%s: no configuration but ours, which was made of one that has gone and stays"
				  : "%s: no configuration yet",
			    c->conf_dir);
	/* The first by name is the one that counts. */
	if (!c->source[0] || strcmp(c->source, API_CNI_CONFLIST) > 0)
		return there;
	set_problem(c, "%s/%s comes before " API_CNI_CONFLIST ": sluice-cni is not called", c->conf_dir, c->source);
	return false;
}

void cni_install_refresh(struct cni_install *c)
{
	c->problem[0] = '\0';
	c->in_force = put_program(c) && put_conflist(c);
	if (strcmp(c->problem, c->told) == 0)
		return;
	if (c->problem[0])
		log_warning("cni: %s", c->problem);
	else
		log_info("cni: %s/" API_CNI_CONFLIST " is in step again", c->conf_dir);
	memcpy(c->told, c->problem, sizeof(c->told));
}

/* ---- what is said of it ------------------------------------------------------------------------------------------ */

bool cni_install_in_force(const struct cni_install *c)
{
	return c->in_force;
}

const char *cni_install_problem(const struct cni_install *c)
{
	return c->problem;
}

json_t *cni_install_json(const struct cni_install *c)
{
	return json_pack("{s:b, s:s, s:s, s:s, s:I, s:s}", "in_force", c->in_force, "conf_dir", c->conf_dir, "bin_dir",
			 c->bin_dir, "source", c->made_of, "written", (json_int_t)c->written, "problem", c->problem);
}

void cni_install_metrics(const struct cni_install *c, struct strbuf *out)
{
	metrics_head(out, "sluice_cni_in_force", "gauge", "1: sluice-cni is called for every pod that starts.");
	metrics_value(out, "sluice_cni_in_force", "", c->in_force);
	metrics_head(out, "sluice_cni_writes_total", "counter", "How often the list with sluice-cni was written.");
	metrics_value(out, "sluice_cni_writes_total", "", c->written);
}

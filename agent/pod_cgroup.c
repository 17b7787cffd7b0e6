/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A kubelet has one folder for all pods, one in it for each of the two lower QoS classes, and in one of the three a folder for
 * each pod:
 *
 *	cgroupfs:  kubepods/[burstable/|besteffort/]podUID
 *	systemd:   kubepods.slice/[kubepods-burstable.slice/]kubepods-burstable-podUID.slice
 *
 * A systemd slice has the names of those above it in its own, and '_' for the '-' of the uid. The kubelet's root may be
 * anywhere (--cgroup-root; kubelet.slice/kubelet-kubepods.slice), so folders of those names are looked for.
 *
 * All controllers of cgroup v1 are hierarchies of their own. Where cgroup2 is mounted beside them a kubelet may use it too, or
 * not; without a folder there its pods cannot be told apart in it.
 */
#include "agent/pod_cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "policy/array.h"

#define NEWS		(IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_ONLYDIR)
#define MAX_DEPTH	4
#define CONTROLLERS_MAX 4096
#define UID_MAX		64

static const char *const classes[] = { "", "burstable", "besteffort" };

struct pod_cgroups {
	int news;
	int missing; /* why there is no `root`: -errno */
	bool v1;     /* the controllers are cgroup v1's */
	char root[PATH_MAX];
	char **kubelets; /* folders "kubepods" */
	size_t count;
};

static void forget_kubelets(struct pod_cgroups *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->kubelets[i]);
	free(p->kubelets);
	p->kubelets = NULL;
	p->count = 0;
}

void pod_cgroups_freep(struct pod_cgroups **p)
{
	if (!*p)
		return;
	forget_kubelets(*p);
	closep(&(*p)->news);
	free(*p);
	*p = NULL;
}

/* Pods have their memory limits where that controller is. */
static bool has_controllers(const char *root)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX + 32];
	size_t len;

	snprintf(path, sizeof(path), "%s/cgroup.controllers", root);
	return file_read(AT_FDCWD, path, CONTROLLERS_MAX, &text, &len) == 0 && strstr(text, "memory");
}

int pod_cgroups_new(const char *root, struct pod_cgroups **ret)
{
	CLEANUP(pod_cgroups_freep) struct pod_cgroups *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->news = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (p->news < 0)
		return -errno;
	if (!root)
		p->missing = cgroup_root_path(p->root, sizeof(p->root));
	else if (snprintf(p->root, sizeof(p->root), "%s", root) >= (int)sizeof(p->root))
		return -ENAMETOOLONG;
	p->v1 = !has_controllers(p->root);
	*ret = TAKE_PTR(p);
	return 0;
}

/* ---- kubelets ---------------------------------------------------------------------------------------------------- */

static bool is_slice(const char *name)
{
	size_t len = strlen(name);

	return len > 6 && strcmp(name + len - 6, ".slice") == 0;
}

static bool is_kubelets(const char *name)
{
	static const char slice[] = "kubepods.slice";
	size_t len = strlen(name), n = strlen(slice);

	if (strcmp(name, "kubepods") == 0)
		return true;
	return len >= n && strcmp(name + len - n, slice) == 0 && (len == n || name[len - n - 1] == '-');
}

/* The name of a folder in `parent`: of a QoS class, or with `uid` of a pod's in that class. "" as class: none. */
static int child_path(const char *kubelet, const char *class, const char *uid, char *ret, size_t size)
{
	const char *name = strrchr(kubelet, '/') + 1, *dash = *class ? "-" : "", *slash = *class ? "/" : "";
	int stem = (int)strlen(name) - 6, n;
	char slice_uid[UID_MAX];

	if (!is_slice(name)) {
		n = snprintf(ret, size, "%s%s%s%s%s", kubelet, slash, class, uid ? "/pod" : "", uid ? uid : "");
		return n < (int)size ? 0 : -ENAMETOOLONG;
	}
	n = snprintf(ret, size, "%s", kubelet);
	if (*class && n < (int)size)
		n += snprintf(ret + n, size - (size_t)n, "/%.*s-%s.slice", stem, name, class);
	snprintf(slice_uid, sizeof(slice_uid), "%s", uid ? uid : "");
	for (char *c = strchr(slice_uid, '-'); c; c = strchr(c, '-'))
		*c = '_';
	if (uid && n < (int)size)
		n += snprintf(ret + n, size - (size_t)n, "/%.*s%s%s-pod%s.slice", stem, name, dash, class, slice_uid);
	return n < (int)size ? 0 : -ENAMETOOLONG;
}

/* A folder that is watched already stays so. */
static void add_kubelet(struct pod_cgroups *p, const char *path)
{
	char *copy = strdup(path), **slot = copy ? array_push(&p->kubelets, &p->count, sizeof(*slot)) : NULL;
	char folder[PATH_MAX];

	if (!slot) {
		free(copy);
		return;
	}
	*slot = copy;
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (child_path(path, classes[i], NULL, folder, sizeof(folder)) == 0)
			inotify_add_watch(p->news, folder, NEWS);
	}
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool is_folder(int parent, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_name[0] == '.' || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
		return false;
	return entry->d_type == DT_DIR ||
	       (fstatat(parent, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
}

static void scan(struct pod_cgroups *p, const char *path, int depth)
{
	CLEANUP(closedirp) DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *child = NULL;

		if (!is_folder(dirfd(dir), entry) || asprintf(&child, "%s/%s", path, entry->d_name) < 0)
			continue;
		if (is_kubelets(entry->d_name))
			add_kubelet(p, child);
		else if (depth < MAX_DEPTH)
			scan(p, child, depth + 1);
	}
}

void pod_cgroups_scan(struct pod_cgroups *p)
{
	forget_kubelets(p);
	if (p->missing == 0)
		scan(p, p->root, 1);
}

/* ---- pods -------------------------------------------------------------------------------------------------------- */

/* It becomes a part of a path. */
static bool is_uid(const char *text)
{
	size_t len = strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");

	return len > 0 && len < UID_MAX && text[len] == '\0';
}

int pod_cgroups_find(const struct pod_cgroups *p, const char *uid, char *ret, size_t size)
{
	char path[PATH_MAX];

	if (!is_uid(uid))
		return -EINVAL;
	if (p->missing < 0)
		return p->missing == -ENOENT ? -EOPNOTSUPP : p->missing;
	for (size_t i = 0; i < p->count; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(classes); k++) {
			struct stat st;

			if (child_path(p->kubelets[i], classes[k], uid, path, sizeof(path)) < 0 ||
			    lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
				continue;
			return snprintf(ret, size, "%s", path) < (int)size ? 0 : -ENAMETOOLONG;
		}
	}
	return p->v1 && p->count == 0 ? -EOPNOTSUPP : -ENOENT;
}

/* ---- news -------------------------------------------------------------------------------------------------------- */

int pod_cgroups_fd(const struct pod_cgroups *p)
{
	return p->news;
}

/* What it was is seen by looking. */
void pod_cgroups_read(struct pod_cgroups *p)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	while (read(p->news, buf, sizeof(buf)) > 0)
		;
}

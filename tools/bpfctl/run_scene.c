/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A run is a folder, a pin folder and a cgroup, all called after it. Its bpfctl holds a lock on the folder for as long as
 * it lives, however it ends: what is not locked is a leftover. The folder says which cgroup is the run's; killing that
 * ends agent, proxy and command at once, whatever they have forked.
 *
 * The cgroup is made below the caller's own, so limits and accounting stay what they were.
 */
#include "tools/bpfctl/run_scene.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "tools/bpfctl/ctl.h"

#define BPF_FS	    "/sys/fs/bpf"
#define NAME_PREFIX "sluice-run-"
#define TREE_FDS    16
#define END_TRIES   100 /* of 50 ms */
#define LOG_MAX	    (1u << 20)
#define LOG_TAIL    1500

static int failed(const char *what)
{
	int r = -errno;

	ctl_error("%s: %s", what, strerror(-r));
	return r;
}

/* ---- removal ----------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	remove(path);
	return 0;
}

/* A cgroup's files go with its folder. */
static int remove_cgroup_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	if (type == FTW_DP)
		rmdir(path);
	return 0;
}

static bool is_populated(const char *cgroup)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX + 16];
	size_t len;

	snprintf(path, sizeof(path), "%s/cgroup.events", cgroup);
	return file_read(AT_FDCWD, path, 4096, &text, &len) == 0 && strstr(text, "populated 1");
}

static void remove_cgroup(const char *cgroup)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000000l };
	char path[PATH_MAX + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.kill", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			ctl_error("%s: %s", path, strerror(errno));
		close(fd);
	}
	for (int i = 0; i < END_TRIES && is_populated(cgroup); i++)
		nanosleep(&pause, NULL);
	nftw(cgroup, remove_cgroup_one, TREE_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	if (access(cgroup, F_OK) == 0)
		ctl_error("%s cannot be removed: processes in it do not end", cgroup);
}

static void remove_all(const char *dir, const char *pins, const char *cgroup)
{
	if (cgroup[0])
		remove_cgroup(cgroup);
	nftw(pins, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	nftw(dir, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void run_scene_remove(struct run_scene *s)
{
	if (s->dir[0])
		remove_all(s->dir, s->pins, s->cgroup);
	if (s->agent > 0)
		waitpid(s->agent, NULL, 0);
	if (s->proxy > 0)
		waitpid(s->proxy, NULL, 0);
	closep(&s->lock);
	rmdir(RUN_SCENE_BASE); /* unless others run */
}

/* ---- leftovers --------------------------------------------------------------------------------------------------- */

static void set_paths(struct run_scene *s, const char *id)
{
	snprintf(s->id, sizeof(s->id), "%s", id);
	snprintf(s->dir, sizeof(s->dir), RUN_SCENE_BASE "/%s", s->id);
	snprintf(s->pins, sizeof(s->pins), BPF_FS "/" NAME_PREFIX "%s", s->id);
	snprintf(s->socket, sizeof(s->socket), "%s/run/sluice.sock", s->dir);
	snprintf(s->run_dir, sizeof(s->run_dir), "%s/run", s->dir);
}

/* The cgroup that the folder names; only one that is called after the run, whatever the file says. */
static void read_cgroup(struct run_scene *s)
{
	_cleanup_free_ char *text = NULL;
	char path[160];
	const char *last;
	size_t len;

	snprintf(path, sizeof(path), "%s/cgroup", s->dir);
	if (file_read(AT_FDCWD, path, sizeof(s->cgroup) - 1, &text, &len) < 0)
		return;
	last = strrchr(text, '/');
	if (last && strncmp(last + 1, NAME_PREFIX, strlen(NAME_PREFIX)) == 0 &&
	    strcmp(last + 1 + strlen(NAME_PREFIX), s->id) == 0)
		snprintf(s->cgroup, sizeof(s->cgroup), "%s", text);
}

static int lock_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The base's own lock keeps a run that is just being made from looking like a leftover. */
static int lock_base(void)
{
	int fd;

	if (mkdir(RUN_SCENE_BASE, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(RUN_SCENE_BASE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX) == 0)
		return fd;
	close(fd);
	return -errno;
}

unsigned int run_scene_sweep(bool dry, void (*told)(void *context, const char *id), void *context)
{
	_cleanup_close_ int base = access(RUN_SCENE_BASE, F_OK) == 0 ? lock_base() : -1;
	DIR *dir = base >= 0 ? opendir(RUN_SCENE_BASE) : NULL;
	unsigned int count = 0;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct run_scene s = RUN_SCENE_INIT;

		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(s.id))
			continue;
		set_paths(&s, entry->d_name);
		s.lock = lock_folder(s.dir);
		if (s.lock < 0)
			continue;
		read_cgroup(&s);
		if (!dry)
			remove_all(s.dir, s.pins, s.cgroup);
		closep(&s.lock);
		told(context, s.id);
		count++;
	}
	if (dir)
		closedir(dir);
	if (count && !dry)
		rmdir(RUN_SCENE_BASE);
	return count;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static int make_dir(const char *parent, const char *name)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", parent, name);
	return mkdir(path, 0755) < 0 ? failed(path) : 0;
}

static int make_cgroups(struct run_scene *s)
{
	static const char *const parts[] = { "agent", "proxy", "command" };
	char own[PATH_MAX - 64];
	_cleanup_close_ int dir = -1;
	int r = cgroup_own_path(own, sizeof(own));

	if (r < 0) {
		ctl_error("no cgroup2 hierarchy is mounted here, and the command needs a cgroup of its own: mount -t "
			  "cgroup2 cgroup2 /sys/fs/cgroup");
		return r;
	}
	dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(s->cgroup, sizeof(s->cgroup), "%s/" NAME_PREFIX "%s", own, s->id);
	snprintf(s->command, sizeof(s->command), "%.*s/command", PATH_MAX - 16, s->cgroup);
	r = file_replace(dir, "cgroup", s->cgroup, strlen(s->cgroup), 0600);
	if (r < 0)
		return r;
	if (mkdir(s->cgroup, 0755) < 0)
		return failed(s->cgroup);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = make_dir(s->cgroup, parts[i]);
	return r;
}

static int check_bpf_fs(void)
{
	struct statfs fs;

	if (statfs(BPF_FS, &fs) == 0 && fs.f_type == BPF_FS_MAGIC)
		return 0;
	ctl_error(BPF_FS " is not a BPF file system: mount -t bpf bpf " BPF_FS);
	return -EINVAL;
}

static void ignore(void *context, const char *id)
{
	(void)context;
	(void)id;
}

int run_scene_make(struct run_scene *s)
{
	_cleanup_close_ int base = -1;
	char id[sizeof(s->id)];
	uint32_t number;
	int r = check_bpf_fs();

	if (r < 0)
		return r;
	run_scene_sweep(false, ignore, NULL);
	base = lock_base();
	if (base < 0)
		return failed(RUN_SCENE_BASE);
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return failed("getrandom");
	/* Process ids of two pid namespaces may be the same, and both in one cgroup tree. */
	snprintf(id, sizeof(id), "%d-%08x", (int)getpid(), number);
	set_paths(s, id);
	if (mkdir(s->dir, 0700) < 0) {
		r = failed(s->dir);
		s->dir[0] = '\0'; /* not ours */
		return r;
	}
	s->lock = lock_folder(s->dir);
	r = make_dir(s->dir, "policies");
	if (r == 0)
		r = make_dir(s->dir, "run");
	return r == 0 ? make_cgroups(s) : r;
}

/* ---- daemons ----------------------------------------------------------------------------------------------------- */

/* Beside bpfctl, as built and as installed; else where PATH says. */
static void find_program(const char *name, char *ret, size_t size)
{
	char own[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	if (n > 0) {
		own[n] = '\0';
		slash = strrchr(own, '/');
		if (slash && snprintf(ret, size, "%.*s/%s", (int)(slash - own), own, name) < (int)size &&
		    access(ret, X_OK) == 0)
			return;
	}
	snprintf(ret, size, "%s", name);
}

/* A session of its own: what the terminal sends is for the command. */
static void become_daemon(const struct run_scene *s, const char *part, char *const argv[])
{
	char path[PATH_MAX + 32];
	sigset_t none;
	int fd, log;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(path, sizeof(path), "%s/%s/cgroup.procs", s->cgroup, part);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/%s.log", s->dir, part);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "0", 1) != 1 || log < 0)
		_exit(126);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (dup2(fd, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(126);
	execvp(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int start_daemon(const struct run_scene *s, const char *part, char *const argv[], pid_t *ret)
{
	pid_t pid = fork();

	if (pid < 0)
		return failed("fork");
	if (pid == 0)
		become_daemon(s, part, argv);
	*ret = pid;
	return 0;
}

int run_scene_start(struct run_scene *s)
{
	char agent[PATH_MAX], proxy[PATH_MAX], config[160];
	char *const agent_argv[] = { agent, "--config", config, NULL };
	char *const proxy_argv[] = { proxy, "--pin-path", s->pins, "--run-dir", s->run_dir, NULL };
	int r;

	find_program("sluiced", agent, sizeof(agent));
	find_program("sluice-dnsproxy", proxy, sizeof(proxy));
	snprintf(config, sizeof(config), "%s/sluice.yaml", s->dir);
	r = start_daemon(s, "agent", agent_argv, &s->agent);
	return r == 0 ? start_daemon(s, "proxy", proxy_argv, &s->proxy) : r;
}

static void show_log(const struct run_scene *s, const char *part)
{
	_cleanup_free_ char *text = NULL;
	char path[160];
	size_t len;

	snprintf(path, sizeof(path), "%s/%s.log", s->dir, part);
	if (file_read(AT_FDCWD, path, LOG_MAX, &text, &len) == 0)
		fputs(text + (len > LOG_TAIL ? len - LOG_TAIL : 0), stderr);
}

bool run_scene_failed(struct run_scene *s)
{
	struct {
		pid_t *pid;
		const char *part;
	} parts[] = { { &s->agent, "agent" }, { &s->proxy, "proxy" } };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (*parts[i].pid > 0 && waitpid(*parts[i].pid, NULL, WNOHANG) == *parts[i].pid) {
			*parts[i].pid = 0;
			ctl_error("the run's %s has ended:", parts[i].part);
			show_log(s, parts[i].part);
			return true;
		}
	}
	return false;
}

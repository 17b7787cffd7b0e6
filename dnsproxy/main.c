/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice-dnsproxy: waits for the agent's maps and settings, makes its sockets with privileges, puts them where the
 * kernel programs hand port 53 to, gives up every privilege, and serves.
 *
 * It is nobody's child that matters (hazard 22): the agent may start later, end or be replaced meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "dnsproxy/conf.h"
#include "dnsproxy/confine.h"
#include "dnsproxy/kmaps.h"
#include "dnsproxy/listen.h"
#include "dnsproxy/privs.h"
#include "dnsproxy/proxy.h"

enum { EXIT_USAGE = 2 };

struct options {
	const char *pin_path;
	const char *run_dir;
};

static void usage(FILE *f)
{
	fputs("usage: sluice-dnsproxy [--pin-path DIR] [--run-dir DIR]\n"
	      "\n"
	      "  --pin-path DIR  where the agent pins its maps (" PROXY_DEFAULT_PIN_PATH ")\n"
	      "  --run-dir DIR   the agent's run directory (" PROXY_DEFAULT_RUN_DIR ")\n"
	      "  --version       version of the program and of the map layout\n"
	      "  --help          this text\n",
	      f);
}

/* -1: go on; else the exit code. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "pin-path", required_argument, NULL, 'p' },
					       { "run-dir", required_argument, NULL, 'r' },
					       { "version", no_argument, NULL, 'v' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
		switch (c) {
		case 'p':
			o->pin_path = optarg;
			break;
		case 'r':
			o->run_dir = optarg;
			break;
		case 'v':
			printf("sluice-dnsproxy %s, map layout %d\n", SLUICE_VERSION, SLUICE_ABI_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return EXIT_USAGE;
	}
	return -1;
}

static int open_signals(sigset_t *set)
{
	int fd;

	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	if (sigprocmask(SIG_BLOCK, set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The folder and the settings in it. */
static int open_folder(const char *run_dir, int *ret_dir, struct proxy_settings *ret)
{
	_cleanup_free_ char *path = NULL, *data = NULL;
	_cleanup_close_ int dir = -1;
	size_t len;
	int r;

	if (asprintf(&path, "%s/%s", run_dir, PROXY_DIR) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	r = file_read(dir, PROXY_SETTINGS_FILE, sizeof(*ret), &data, &len);
	if (r == 0)
		r = conf_read(data, len, ret);
	if (r == 0)
		*ret_dir = TAKE_FD(dir);
	return r;
}

static const char *reason(int r)
{
	switch (r) {
	case -ENOENT:
		return "not there yet";
	case -EAGAIN:
		return "made, but not filled in yet";
	case -EPROTO:
		return "maps of another version";
	}
	return strerror(-r);
}

/* 0; 1: told to end; -errno is never given up on: the agent may come and set things right. */
static int wait_for_agent(const struct options *o, const sigset_t *signals, struct kmaps *k, int *ret_dir,
			  struct proxy_settings *ret)
{
	const struct timespec pause = { .tv_nsec = 250 * 1000 * 1000 };
	int last = 0;

	for (;;) {
		const char *what = o->pin_path;
		int r = kmaps_open(o->pin_path, k);

		if (r == 0) {
			what = o->run_dir;
			r = open_folder(o->run_dir, ret_dir, ret);
			if (r == 0)
				return 0;
			kmaps_close(k);
		}
		if (r != last)
			log_info("waiting for the agent: %s: %s", what, reason(r));
		last = r;
		if (sigtimedwait(signals, NULL, &pause) > 0)
			return 1;
	}
}

/* From privileged to serving. */
static int serve(struct kmaps *k, int dir, int signals, const struct proxy_settings *settings)
{
	int fds[SLUICE_SOCK_MAX], n, r = listen_open(fds, &n);
	struct proxy *p = NULL;

	if (r < 0) {
		log_error("cannot make the sockets: %s", strerror(-r));
		return r;
	}
	r = proxy_new(k, fds, dir, signals, settings, &p);
	if (r == 0)
		r = kmaps_enter_sockets(k, fds);
	if (r < 0)
		log_error("cannot take over port 53: %s", strerror(-r));
	if (r == 0) {
		r = privs_drop(dir);
		if (r == 0)
			r = privs_seccomp();
		if (r < 0)
			log_error("cannot give up privileges: %s", strerror(-r));
	}
	if (r == 0) {
		log_info("serving on 127.0.53.%d with %u resolvers", n, settings->nresolvers);
		r = proxy_run(p);
		if (r < 0)
			log_error("stopped: %s", strerror(-r));
	}
	proxy_freep(&p);
	for (int i = 0; i < SLUICE_SOCK_MAX; i++)
		closep(&fds[i]);
	return r;
}

int main(int argc, char **argv)
{
	struct options o = { PROXY_DEFAULT_PIN_PATH, PROXY_DEFAULT_RUN_DIR };
	struct kmaps kmaps = KMAPS_INIT;
	struct proxy_settings settings;
	_cleanup_close_ int signals = -1, dir = -1;
	sigset_t set;
	int r = parse_options(argc, argv, &o);

	if (r >= 0)
		return r;
	log_init("sluice-dnsproxy", LOG_LEVEL_INFO);
	signals = open_signals(&set);
	if (signals < 0) {
		log_error("signals: %s", strerror(-signals));
		return EXIT_FAILURE;
	}
	r = wait_for_agent(&o, &set, &kmaps, &dir, &settings);
	if (r == 0) {
		confine(o.pin_path);
		r = serve(&kmaps, dir, signals, &settings);
	}
	kmaps_close(&kmaps);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One command under a policy: an agent and a proxy of its own, over pins and a cgroup of its own, whether an agent runs on
 * the host or not. The command starts once its programs judge, and ends before they go.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/pins.h"
#include "tools/bpfctl/run_jail.h"
#include "tools/bpfctl/run_policy.h"
#include "tools/bpfctl/run_report.h"
#include "tools/bpfctl/run_scene.h"

enum { RUN_POLICY, RUN_ALLOW, RUN_LABEL, RUN_NAMESPACE, RUN_USER, RUN_AUDIT, RUN_RESOLVER, RUN_QUIET };

#define START_NSEC  (30 * NSEC_PER_SEC)
#define SETTLE_NSEC (250 * 1000000l) /* two rounds of the agent's reading of events */

static void write_config(const struct run_scene *s, const struct ctl_args *args, struct strbuf *b)
{
	strbuf_addf(b, "policyDir: %s/policies\nendpointsFile: %s/endpoints.yaml\nrunDir: %s\n", s->dir, s->dir,
		    s->run_dir);
	strbuf_addf(b, "bpf: {pinPath: %s}\napi: {socket: %s}\nmetrics: {listen: \"\"}\nenforcement: %s\n", s->pins,
		    s->socket, args->value[RUN_AUDIT] ? "audit" : "enforce");
	strbuf_adds(b, "limits: {endpoints: 16, destinations: 65536, rules: 65536, leases: 16384, names: 16384, flows: "
		       "65536}\n");
	if (args->list[RUN_RESOLVER].count) {
		strbuf_adds(b, "dns: {resolvers: [");
		for (size_t i = 0; i < args->list[RUN_RESOLVER].count; i++)
			strbuf_addf(b, "%s\"%s\"", i ? ", " : "", args->list[RUN_RESOLVER].items[i]);
		strbuf_adds(b, "]}\n");
	}
}

static int write_files(const struct run_scene *s, const struct ctl_args *args)
{
	const struct run_policy policy = {
		.files = args->list[RUN_POLICY].items,
		.nfiles = args->list[RUN_POLICY].count,
		.allow = args->list[RUN_ALLOW].items,
		.nallow = args->list[RUN_ALLOW].count,
		.labels = args->list[RUN_LABEL].items,
		.nlabels = args->list[RUN_LABEL].count,
		.namespace_name = args->value[RUN_NAMESPACE],
	};
	CLEANUP(strbuf_clear) struct strbuf endpoints = {}, config = {};
	_cleanup_close_ int dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), policies = -1;
	int r;

	policies = dir < 0 ? -1 : openat(dir, "policies", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (policies < 0)
		return -errno;
	strbuf_addf(&endpoints, "endpoints:\n- {name: run-%s, cgroup: \"%s\", ", s->id, s->command);
	r = run_policy_write(&policy, policies, &endpoints);
	if (r < 0)
		return r;
	strbuf_adds(&endpoints, "}\n");
	write_config(s, args, &config);
	r = file_replace(dir, "endpoints.yaml", endpoints.data, endpoints.len, 0600);
	return r < 0 ? r : file_replace(dir, "sluice.yaml", config.data, config.len, 0600);
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

/* The one endpoint's mode; -EAGAIN: not there yet. */
static int mode_in_force(const struct run_scene *s)
{
	__attribute__((cleanup(pins_freep))) struct pins *pins = NULL;
	const struct sluice_endpoint *ep;
	uint32_t count = 0;

	if (access(s->socket, F_OK) < 0 || pins_open(s->pins, &pins) < 0 || !pins_proxy_alive(pins, clock_now()))
		return -EAGAIN;
	ep = pins_endpoints(pins, &count);
	for (uint32_t i = 0; ep && i < count; i++) {
		if (ep[i].generation && ep[i].cgroup)
			return (int)SLUICE_STATE_MODE(__atomic_load_n(&ep[i].state, __ATOMIC_ACQUIRE));
	}
	return -EAGAIN;
}

/* The agent's socket comes after its first compilation: what is in force then is the answer. */
static int await_policy(struct run_scene *s)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000000l };
	uint64_t end = clock_now() + START_NSEC;
	int mode = mode_in_force(s);

	while (mode == -EAGAIN && clock_now() < end) {
		if (run_scene_failed(s))
			return -EIO;
		nanosleep(&pause, NULL);
		mode = mode_in_force(s);
	}
	switch (mode) {
	case SLUICE_MODE_ENFORCE:
	case SLUICE_MODE_AUDIT:
		return 0;
	case SLUICE_MODE_OPEN:
		ctl_error("no policy of the files selects the command, so nothing would be enforced: see --label and "
			  "--namespace");
		return -EINVAL;
	case SLUICE_MODE_QUARANTINE:
		ctl_error("the policies cannot be put in force: `bpfctl policy check` says what is wrong with them");
		return -EINVAL;
	default:
		ctl_error("the run's agent is not ready after %d s", (int)(START_NSEC / NSEC_PER_SEC));
		return -ETIMEDOUT;
	}
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* What the terminal sends reaches the command by itself; the rest is passed on. */
static void pass_on(const struct signalfd_siginfo *info, pid_t command)
{
	if (info->ssi_signo != SIGCHLD && info->ssi_code <= 0)
		kill(command, (int)info->ssi_signo);
}

static int await_command(int signals, pid_t command)
{
	struct signalfd_siginfo info;
	int status;

	while (waitpid(command, &status, WNOHANG) != command) {
		if (read(signals, &info, sizeof(info)) == sizeof(info))
			pass_on(&info, command);
	}
	return exit_code(status);
}

static int run_command(const struct run_scene *s, const struct ctl_args *args, const sigset_t *old, int signals)
{
	struct run_jail jail = { .cgroup = s->command,
				 .hidden = RUN_SCENE_BASE,
				 .user = args->value[RUN_USER],
				 .signals = *old,
				 .command = args->rest };
	pid_t pid = fork();

	if (pid < 0) {
		ctl_error("fork: %s", strerror(errno));
		return RUN_JAIL_FAILED;
	}
	if (pid == 0)
		_exit(run_jail_exec(&jail));
	return await_command(signals, pid);
}

static int run_all(struct run_scene *s, const struct ctl *ctl, const struct ctl_args *args, const sigset_t *old,
		   int signals)
{
	const struct ctl own = { .pin_path = s->pins, .socket = s->socket, .run_dir = s->run_dir, .json = ctl->json };
	const struct timespec settle = { .tv_nsec = SETTLE_NSEC };
	int r = run_scene_make(s), code;

	if (r == 0)
		r = write_files(s, args);
	if (r == 0)
		r = run_scene_start(s);
	if (r == 0)
		r = await_policy(s);
	if (r < 0)
		return RUN_JAIL_FAILED;
	code = run_command(s, args, old, signals);
	if (!args->value[RUN_QUIET]) {
		nanosleep(&settle, NULL);
		run_report(&own);
	}
	return code;
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	static const int caught[] = { SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT };
	struct run_scene scene = RUN_SCENE_INIT;
	_cleanup_close_ int signals = -1;
	sigset_t set, old;
	int code;

	if (!args->list[RUN_POLICY].count && !args->list[RUN_ALLOW].count)
		return ctl_usage("run needs --policy FILE or --allow NAME:PORT");
	if (geteuid() != 0) {
		ctl_error("run must be root: it loads BPF programs and makes a cgroup; --user says who the command is");
		return (enum ctl_exit)RUN_JAIL_FAILED;
	}
	if (run_jail_check_stdio() < 0)
		return (enum ctl_exit)RUN_JAIL_FAILED;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
		sigaddset(&set, caught[i]);
	sigprocmask(SIG_BLOCK, &set, &old);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	code = signals < 0 ? RUN_JAIL_FAILED : run_all(&scene, ctl, args, &old, signals);
	run_scene_remove(&scene);
	return (enum ctl_exit)code;
}

static const struct ctl_opt opts[] = {
	[RUN_POLICY] = { 'p', "policy", "FILE", "manifests that apply to the command; may be repeated", .many = true },
	[RUN_ALLOW] = { 'a', "allow", "NAME[:PORT]", "allow a name, pattern, address or prefix too; may be repeated",
			.many = true },
	[RUN_LABEL] = { 'l', "label", "KEY=VALUE", "a label of the command, instead of what selectors ask for",
			.many = true },
	[RUN_NAMESPACE] = { 0, "namespace", "NAME", "the command's, instead of the policies' own" },
	[RUN_USER] = { 'u', "user", "USER", "run the command as this user" },
	[RUN_AUDIT] = { 0, "audit", NULL, "let everything pass, and report what would have been denied" },
	[RUN_RESOLVER] = { 0, "resolver", "ADDRESS",
			   "ask this resolver, not those of /etc/resolv.conf; may be repeated", .many = true },
	[RUN_QUIET] = { 'q', "quiet", NULL, "no report at the end" },
	{ 0 },
};

const struct ctl_command cmd_run = {
	.path = "run",
	.operands = "COMMAND [ARGUMENT...]",
	.summary = "Run a command under a policy, and say what was denied to it",
	.detail = "Whatever is not allowed is denied. Exit code: the command's, 128 + N when signal N ended it; 125, "
		  "126, 127 when "
		  "it was not started.",
	.opts = opts,
	.min_operands = 1,
	.takes_rest = true,
	.run = run,
};

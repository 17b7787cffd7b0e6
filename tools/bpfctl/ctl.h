/* SPDX-License-Identifier: Apache-2.0 */
/* What every command of bpfctl shares: its place in the command table, the global options, exit codes, errors. */
#ifndef SLUICE_TOOLS_BPFCTL_CTL_H
#define SLUICE_TOOLS_BPFCTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ctl_exit {
	CTL_OK = 0,
	CTL_NO = 1, /* the answer is no: a policy is invalid, a verdict denies */
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3, /* pins, files or the agent it needs are not there */
};

struct ctl {
	const char *pin_path;
	const char *socket;
	const char *run_dir;
	/* Which of them the command line says; the others are the defaults. */
	bool has_pin_path;
	bool has_socket;
	bool has_run_dir;
	bool json;
};

#define CTL_MAX_OPTS	 16
#define CTL_MAX_OPERANDS 256

/* One option of a command; the index in the command's table is its name in code. */
struct ctl_opt {
	char letter;	   /* 0: none */
	const char *name;  /* without "--"; NULL ends the table */
	const char *value; /* what to call the value in --help; NULL: a flag */
	const char *help;
	bool operands; /* more values are operands: -f A -f B is -f A B. Else giving a value twice is an error */
	bool many;     /* every value counts, and is in `list` */
};

#define CTL_MAX_LIST 64

struct ctl_list {
	const char *items[CTL_MAX_LIST];
	size_t count;
};

struct ctl_args {
	const char *value[CTL_MAX_OPTS]; /* by index in the option table; NULL: not given; "" for a flag */
	const char *operand[CTL_MAX_OPERANDS];
	size_t noperands;
	struct ctl_list list[CTL_MAX_OPTS]; /* of options with `many` */
	const char **rest; /* the first operand and all words after it, NULL-terminated: of a command that takes them */
};

struct ctl_command {
	const char *path;     /* "policy check" */
	const char *operands; /* "FILE|DIR..." or "" */
	const char *summary;  /* one line, for the list */
	const char *detail;   /* for --help; may be NULL */
	const struct ctl_opt *opts;
	size_t min_operands;
	size_t max_operands;
	bool takes_rest; /* from the first operand on, no word is an option of ours */
	enum ctl_exit (*run)(const struct ctl *ctl, const struct ctl_args *args);
};

extern const struct ctl_opt ctl_global_opts[];
extern const struct ctl_command *const ctl_commands[]; /* NULL-terminated */

/* Parses the line, runs the command, and returns its exit code. */
enum ctl_exit ctl_main(int argc, char **argv);

/* "bpfctl: ..." on stderr. */
__attribute__((format(printf, 1, 2))) void ctl_error(const char *format, ...);
/* ctl_error, and the CTL_USAGE to return. */
__attribute__((format(printf, 1, 2))) enum ctl_exit ctl_usage(const char *format, ...);

/* Decimal, the whole text, within bounds. 0 or -EINVAL. */
int ctl_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

extern const struct ctl_command cmd_status;
extern const struct ctl_command cmd_endpoint_list;
extern const struct ctl_command cmd_endpoint_get;
extern const struct ctl_command cmd_policy_check;
extern const struct ctl_command cmd_policy_convert;
extern const struct ctl_command cmd_policy_diff;
extern const struct ctl_command cmd_policy_get;
extern const struct ctl_command cmd_policy_explain;
extern const struct ctl_command cmd_name_list;
extern const struct ctl_command cmd_flow_list;
extern const struct ctl_command cmd_map_list;
extern const struct ctl_command cmd_map_dump;
extern const struct ctl_command cmd_observe;
extern const struct ctl_command cmd_run;
extern const struct ctl_command cmd_cleanup;
extern const struct ctl_command cmd_version;

#endif

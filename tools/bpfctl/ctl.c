/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A command is a row of a table: its words, its options, its function. Global options may stand anywhere; the
 * command's own after its words. The words are the first operands; what follows them are the command's operands.
 */
#include "tools/bpfctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api.h"
#include "base/cleanup.h"

enum { GLOBAL_OUTPUT, GLOBAL_PIN_PATH, GLOBAL_SOCKET, GLOBAL_RUN_DIR, GLOBAL_HELP, GLOBAL_VERSION };

const struct ctl_opt ctl_global_opts[] = {
	[GLOBAL_OUTPUT] = { 'o', "output", "text|json", "form of the output (default text)" },
	[GLOBAL_PIN_PATH] = { 0, "pin-path", "DIR", "where the maps are pinned (default " API_DEFAULT_PIN_PATH ")" },
	[GLOBAL_SOCKET] = { 0, "socket", "PATH", "the agent's control socket (default " API_DEFAULT_SOCKET ")" },
	[GLOBAL_RUN_DIR] = { 0, "run-dir", "DIR", "the agent's run directory (default " API_DEFAULT_RUN_DIR ")" },
	[GLOBAL_HELP] = { 'h', "help", NULL, "this text" },
	[GLOBAL_VERSION] = { 0, "version", NULL, "what the command version says" },
	{ 0 },
};

static const struct ctl_opt no_opts[] = { { 0 } };

void ctl_error(const char *format, ...)
{
	va_list ap;

	/* What was printed so far comes first, whatever stdout and stderr are. */
	fflush(stdout);
	fputs("bpfctl: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

enum ctl_exit ctl_usage(const char *format, ...)
{
	va_list ap;

	fputs("bpfctl: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputs("; see bpfctl --help\n", stderr);
	return CTL_USAGE;
}

int ctl_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	unsigned long long n;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || n < min || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

/* ---- help --------------------------------------------------------------------------------------------------------- */

static void print_opts(FILE *f, const struct ctl_opt *opts)
{
	for (const struct ctl_opt *o = opts; o->name; o++) {
		char form[64], letter[4] = "    ";

		snprintf(form, sizeof(form), "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c,", o->letter);
		else
			snprintf(letter, sizeof(letter), "   ");
		fprintf(f, "  %s %-24s %s\n", letter, form, o->help);
	}
}

static void print_overview(FILE *f)
{
	fputs("usage: bpfctl [OPTION...] COMMAND [ARGUMENT...]\n\n"
	      "Shows and explains what Sluice enforces on this node. Reads the pinned kernel maps itself, so it works\n"
	      "with the agent down too.\n\nCommands:\n",
	      f);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++)
		fprintf(f, "  %-16s %s\n", (*c)->path, (*c)->summary);
	fputs("\nOptions:\n", f);
	print_opts(f, ctl_global_opts);
	fputs("\nExit codes: 0 ok; 1 the answer is no; 2 usage; 3 cannot reach what it needs.\n"
	      "bpfctl COMMAND --help says more.\n",
	      f);
}

static void print_command_help(FILE *f, const struct ctl_command *cmd)
{
	const struct ctl_opt *opts = cmd->opts ? cmd->opts : no_opts;

	fprintf(f, "usage: bpfctl %s%s%s%s\n\n%s\n", cmd->path, opts->name ? " [OPTION...]" : "",
		cmd->operands[0] ? " " : "", cmd->operands, cmd->summary);
	if (cmd->detail)
		fprintf(f, "\n%s\n", cmd->detail);
	fputs("\nOptions:\n", f);
	print_opts(f, opts);
	print_opts(f, ctl_global_opts);
}

/* ---- parsing ------------------------------------------------------------------------------------------------------ */

struct parser {
	int argc;
	char **argv;
	int at; /* next word */
	const struct ctl_command *cmd;
	struct ctl_args args;
	const char *global[CTL_MAX_OPTS];
};

static int find_long(const struct ctl_opt *opts, const char *name, size_t len)
{
	for (int i = 0; opts[i].name; i++) {
		if (strlen(opts[i].name) == len && !memcmp(opts[i].name, name, len))
			return i;
	}
	return -1;
}

static int find_letter(const struct ctl_opt *opts, char letter)
{
	for (int i = 0; opts[i].name; i++) {
		if (opts[i].letter == letter)
			return i;
	}
	return -1;
}

/* Stores the option's value, taken from `attached` ("--x=V", "-xV") or from the next word. */
static int take_value(struct parser *p, const struct ctl_opt *opt, const char *attached, const char **slot)
{
	if (!opt->value) {
		*slot = "";
		return attached ? -EINVAL : 0;
	}
	if (!attached) {
		if (p->at >= p->argc)
			return -EINVAL;
		attached = p->argv[p->at++];
	}
	if (!*slot) {
		*slot = attached;
		return 0;
	}
	if (!opt->operands)
		return -EEXIST;
	if (p->args.noperands >= CTL_MAX_OPERANDS)
		return -E2BIG;
	p->args.operand[p->args.noperands++] = attached;
	return 0;
}

static int take_listed(struct parser *p, const struct ctl_opt *opt, const char *attached, struct ctl_list *list)
{
	const char *value = NULL;
	int r = take_value(p, opt, attached, &value);

	if (r < 0)
		return r;
	if (list->count == CTL_MAX_LIST)
		return -E2BIG;
	list->items[list->count++] = value;
	return 0;
}

static int parse_option(struct parser *p, const char *word)
{
	const struct ctl_opt *own = p->cmd && p->cmd->opts ? p->cmd->opts : no_opts;
	bool is_long = word[1] == '-';
	const char *equals = is_long ? strchr(word, '=') : NULL;
	const char *attached = equals ? equals + 1 : (!is_long && word[2] ? word + 2 : NULL);
	size_t len = is_long ? (equals ? (size_t)(equals - word) : strlen(word)) - 2 : 0;
	int i = is_long ? find_long(own, word + 2, len) : find_letter(own, word[1]);

	if (i >= 0 && own[i].many)
		return take_listed(p, &own[i], attached, &p->args.list[i]);
	if (i >= 0)
		return take_value(p, &own[i], attached, &p->args.value[i]);
	i = is_long ? find_long(ctl_global_opts, word + 2, len) : find_letter(ctl_global_opts, word[1]);
	if (i < 0)
		return -ENOENT;
	p->global[i] = NULL; /* of these the last one counts, so that an alias can be overruled */
	return take_value(p, &ctl_global_opts[i], attached, &p->global[i]);
}

/* Everything up to the next operand; NULL when the line ends. `*options` turns false after "--". */
static const char *next_operand(struct parser *p, bool *options, int *ret_error)
{
	while (p->at < p->argc) {
		const char *word = p->argv[p->at++];
		int r;

		if (!*options || word[0] != '-' || !word[1])
			return word;
		if (!strcmp(word, "--")) {
			*options = false;
			continue;
		}
		r = parse_option(p, word);
		if (r < 0) {
			ctl_usage(r == -ENOENT	 ? "no option '%s'"
				  : r == -EEXIST ? "option '%s' is given twice"
				  : r == -E2BIG	 ? "too many operands at '%s'"
						 : "option '%s': a value is missing or not taken",
				  word);
			*ret_error = r;
			return NULL;
		}
	}
	return NULL;
}

/* The command whose path is "first" or "first second"; a path of one word wins only when no second word fits. */
static const struct ctl_command *find_command(const char *first, const char *second)
{
	for (const struct ctl_command *const *c = ctl_commands; *c; c++) {
		const char *path = (*c)->path;
		size_t len = strlen(first);

		if (strncmp(path, first, len))
			continue;
		if (path[len] == '\0' || (path[len] == ' ' && second && !strcmp(path + len + 1, second)))
			return *c;
	}
	return NULL;
}

static bool is_group(const char *word)
{
	size_t len = strlen(word);

	for (const struct ctl_command *const *c = ctl_commands; *c; c++) {
		if (!strncmp((*c)->path, word, len) && (*c)->path[len] == ' ')
			return true;
	}
	return false;
}

static void list_group(FILE *f, const char *word)
{
	size_t len = strlen(word);

	fprintf(f, "bpfctl %s has the commands:\n", word);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++) {
		if (!strncmp((*c)->path, word, len) && (*c)->path[len] == ' ')
			fprintf(f, "  %-16s %s\n", (*c)->path, (*c)->summary);
	}
}

/* Finds the command's words. CTL_OK with p->cmd NULL: there is nothing to run, what was asked for has been printed. */
static enum ctl_exit parse_command(struct parser *p, bool *options)
{
	const char *first, *second = NULL;
	int error = 0;

	first = next_operand(p, options, &error);
	if (error)
		return CTL_USAGE;
	if (!first && p->global[GLOBAL_VERSION])
		first = "version";
	if (!first) {
		print_overview(p->global[GLOBAL_HELP] ? stdout : stderr);
		return p->global[GLOBAL_HELP] ? CTL_OK : CTL_USAGE;
	}
	if (is_group(first)) {
		second = next_operand(p, options, &error);
		if (error)
			return CTL_USAGE;
		if (!second) {
			list_group(p->global[GLOBAL_HELP] ? stdout : stderr, first);
			return p->global[GLOBAL_HELP] ? CTL_OK : CTL_USAGE;
		}
	}
	p->cmd = find_command(first, second);
	if (!p->cmd)
		return ctl_usage("no command '%s%s%s'", first, second ? " " : "", second ? second : "");
	return CTL_OK;
}

static enum ctl_exit parse_operands(struct parser *p, bool *options)
{
	const char *word;
	int error = 0;

	while ((word = next_operand(p, options, &error))) {
		if (p->cmd->takes_rest) {
			p->args.rest = (const char **)&p->argv[p->at - 1];
			return CTL_OK;
		}
		if (p->args.noperands == CTL_MAX_OPERANDS)
			return ctl_usage("more than %d arguments", CTL_MAX_OPERANDS);
		p->args.operand[p->args.noperands++] = word;
	}
	if (error)
		return CTL_USAGE;
	if (p->global[GLOBAL_HELP] || p->global[GLOBAL_VERSION])
		return CTL_OK;
	if (p->args.noperands < p->cmd->min_operands)
		return ctl_usage("%s needs %s", p->cmd->path, p->cmd->operands);
	if (p->args.noperands > p->cmd->max_operands)
		return ctl_usage("%s: '%s' is one argument too many", p->cmd->path,
				 p->args.operand[p->cmd->max_operands]);
	return CTL_OK;
}

static enum ctl_exit set_globals(const struct parser *p, struct ctl *ctl)
{
	const char *output = p->global[GLOBAL_OUTPUT];

	*ctl = (struct ctl){
		.pin_path = p->global[GLOBAL_PIN_PATH] ? p->global[GLOBAL_PIN_PATH] : API_DEFAULT_PIN_PATH,
		.socket = p->global[GLOBAL_SOCKET] ? p->global[GLOBAL_SOCKET] : API_DEFAULT_SOCKET,
		.run_dir = p->global[GLOBAL_RUN_DIR] ? p->global[GLOBAL_RUN_DIR] : API_DEFAULT_RUN_DIR,
		.has_pin_path = p->global[GLOBAL_PIN_PATH] != NULL,
		.has_socket = p->global[GLOBAL_SOCKET] != NULL,
		.has_run_dir = p->global[GLOBAL_RUN_DIR] != NULL,
	};
	if (output && !strcmp(output, "json"))
		ctl->json = true;
	else if (output && strcmp(output, "text"))
		return ctl_usage("output '%s' is neither text nor json", output);
	return CTL_OK;
}

enum ctl_exit ctl_main(int argc, char **argv)
{
	struct parser p = { .argc = argc, .argv = argv, .at = 1 };
	bool options = true;
	enum ctl_exit code;
	struct ctl ctl;

	code = parse_command(&p, &options);
	if (code != CTL_OK || !p.cmd)
		return code;
	code = parse_operands(&p, &options);
	if (code != CTL_OK)
		return code;
	if (p.global[GLOBAL_HELP]) {
		print_command_help(stdout, p.cmd);
		return CTL_OK;
	}
	if (p.global[GLOBAL_VERSION])
		p.cmd = find_command("version", NULL);
	code = set_globals(&p, &ctl);
	if (code != CTL_OK)
		return code;
	code = p.cmd->run(&ctl, &p.args);
	if (fflush(stdout) || ferror(stdout)) {
		ctl_error("cannot write the output: %s", strerror(errno));
		return CTL_UNREACHABLE;
	}
	return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* sluice-cni in another's configuration: the text, and the files of a node. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/api.h"
#include "agent/cni_conf.h"
#include "agent/cni_install.h"
#include "base/cleanup.h"
#include "base/file.h"

static const struct cni_plugin ours = { "/run/s.sock", "/sys/fs/bpf/s", 7 };

#define AWS                                                                                                            \
	"{\"cniVersion\":\"0.4.0\",\"name\":\"aws-cni\",\"disableCheck\":true,\"plugins\":[{\"name\":\"aws-cni\","     \
	"\"type\":\"aws-cni\",\"mtu\":\"9001\",\"x\":0.1},{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":"   \
	"true}}]}"
#define ADDED "{\"type\":\"sluice-cni\",\"socket\":\"/run/s.sock\",\"pinPath\":\"/sys/fs/bpf/s\",\"waitSeconds\":7}"

static void chains(const char *text, const char *expected)
{
	_cleanup_free_ char *got = NULL;
	char error[CNI_ERROR_MAX] = "";
	json_t *wanted = json_loads(expected, 0, NULL), *is;

	if (cni_conf_chain(text, strlen(text), &ours, &got, error) != 0)
		fail_msg("%s: %s", text, error);
	is = json_loads(got, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(wanted);
	if (!json_equal(is, wanted))
		fail_msg("%s is not %s", got, expected);
	json_decref(is);
	json_decref(wanted);
}

static void refuses(const char *text, const char *words)
{
	char error[CNI_ERROR_MAX] = "", *got = NULL;

	assert_int_equal(cni_conf_chain(text, strlen(text), &ours, &got, error), -EINVAL);
	assert_null(got);
	if (!strstr(error, words))
		fail_msg("'%s' has no '%s'", error, words);
}

static void test_chain(void **state)
{
	(void)state;
	chains(AWS,
	       "{\"cniVersion\":\"0.4.0\",\"name\":\"aws-cni\",\"disableCheck\":true,\"plugins\":[{\"name\":"
	       "\"aws-cni\",\"type\":\"aws-cni\",\"mtu\":\"9001\",\"x\":0.1},{\"type\":\"portmap\",\"capabilities\":{"
	       "\"portMappings\":true}}," ADDED "]}");
	/* a plugin alone becomes a list */
	chains("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"bridge\",\"ipam\":{}}",
	       "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"cniVersion\":\"1.0.0\",\"name\":\"n\","
	       "\"type\":"
	       "\"bridge\",\"ipam\":{}}," ADDED "]}");
	/* in it already, with other settings and not last: once, and last */
	chains("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"sluice-cni\"},{\"type\":\"bridge\"}]"
	       "}",
	       "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"bridge\"}," ADDED "]}");
}

static void test_refused(void **state)
{
	(void)state;
	refuses("", "line 1");
	refuses("{\"a\":1,\"a\":2}", "duplicate");
	refuses("{\"cniVersion\":\"1.0.0\",\n\"name\":", "line 2");
	refuses("[]", "no JSON object");
	refuses("{\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"b\"}]}", "name");
	refuses("{\"cniVersion\":\"0.2.0\",\"name\":\"n\",\"type\":\"b\"}", "cniVersion 0.2.0");
	refuses("{\"name\":\"n\",\"type\":\"b\"}", "cniVersion (none)");
	refuses("{\"cniVersion\":\"1.0.0\",\"name\":\"n\"}", "plugins");
	refuses("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[]}", "plugins");
	refuses("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{}]}", "type");
	refuses("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[3]}", "type");
}

static void test_names(void **state)
{
	(void)state;
	assert_true(cni_conf_is_name("10-aws.conflist"));
	assert_true(cni_conf_is_name("x.conf"));
	assert_true(cni_conf_is_name("x.json"));
	assert_false(cni_conf_is_name("00-sluice.conflist.tmp"));
	assert_false(cni_conf_is_name("README"));
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

struct node {
	char root[64];
	int dir; /* confDir */
	struct config *config;
	struct cni_install *c;
};

static void put(struct node *n, const char *name, const char *text)
{
	assert_int_equal(file_replace(n->dir, name, text, strlen(text), 0644), 0);
}

static char *path_of(const struct node *n, const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", n->root, name) > 0);
	return path;
}

static void start(struct node *n)
{
	_cleanup_free_ char *plugin = path_of(n, "plugin");

	cni_install_freep(&n->c);
	assert_int_equal(cni_install_new(n->config, plugin, &n->c), 0);
	cni_install_refresh(n->c);
}

static int set_up(void **state)
{
	struct node *n = calloc(1, sizeof(*n));

	snprintf(n->root, sizeof(n->root), "/tmp/sluice-cni-XXXXXX");
	if (!mkdtemp(n->root) || config_new(&n->config) < 0)
		return -1;
	free(n->config->cni.conf_dir);
	free(n->config->cni.bin_dir);
	n->config->cni.conf_dir = path_of(n, "net.d");
	n->config->cni.bin_dir = path_of(n, "bin");
	if (mkdir(n->config->cni.conf_dir, 0755) < 0 || mkdir(n->config->cni.bin_dir, 0755) < 0)
		return -1;
	n->dir = open(n->config->cni.conf_dir, O_RDONLY | O_DIRECTORY);
	if (file_replace(n->dir, "../plugin", "first", 5, 0600) < 0)
		return -1;
	*state = n;
	return 0;
}

static int tear_down(void **state)
{
	struct node *n = *state;
	char line[128];

	cni_install_freep(&n->c);
	config_freep(&n->config);
	close(n->dir);
	snprintf(line, sizeof(line), "rm -rf %s", n->root);
	free(n);
	return system(line);
}

/* The plugins of our list, as "aws-cni portmap sluice-cni"; "" when it is not there. */
static const char *plugins(struct node *n, char ret[256])
{
	_cleanup_free_ char *text = NULL;
	json_t *list, *plugin;
	size_t len, i;

	ret[0] = '\0';
	if (file_read(n->dir, API_CNI_CONFLIST, 1 << 20, &text, &len) < 0)
		return ret;
	list = json_loads(text, 0, NULL);
	json_array_foreach(json_object_get(list, "plugins"), i, plugin)
	{
		strcat(ret, i ? " " : "");
		strcat(ret, json_string_value(json_object_get(plugin, "type")));
	}
	json_decref(list);
	return ret;
}

static json_int_t written(const struct node *n)
{
	json_t *o = cni_install_json(n->c);
	json_int_t ret = json_integer_value(json_object_get(o, "written"));

	json_decref(o);
	return ret;
}

static bool problem_has(const struct node *n, const char *words)
{
	return strstr(cni_install_problem(n->c), words) != NULL;
}

static void test_install(void **state)
{
	struct node *n = *state;
	_cleanup_free_ char *program = path_of(n, "bin/sluice-cni"), *text = NULL;
	struct stat st;
	char list[256];
	size_t len;

	start(n);
	assert_false(cni_install_in_force(n->c)); /* there is nothing to follow yet */
	assert_true(problem_has(n, "no configuration yet"));
	assert_string_equal(plugins(n, list), "");
	assert_int_equal(stat(program, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	put(n, "99-late.conf", "{\"cniVersion\":\"1.0.0\",\"name\":\"late\",\"type\":\"late\"}");
	cni_install_refresh(n->c);
	assert_string_equal(plugins(n, list), "late sluice-cni");
	put(n, "10-aws.conflist", AWS);
	put(n, "05-notes.txt", "none");
	cni_install_refresh(n->c);
	assert_string_equal(plugins(n, list), "aws-cni portmap sluice-cni");
	assert_true(cni_install_in_force(n->c));
	assert_string_equal(cni_install_problem(n->c), "");
	assert_int_equal(written(n), 2);
	cni_install_refresh(n->c); /* what is as it should be is not written */
	assert_int_equal(written(n), 2);
	put(n, API_CNI_CONFLIST, "{}");
	cni_install_refresh(n->c);
	assert_string_equal(plugins(n, list), "aws-cni portmap sluice-cni");
	/* another version of the program */
	assert_int_equal(file_replace(n->dir, "../plugin", "second", 6, 0600), 0);
	start(n);
	assert_int_equal(file_read(AT_FDCWD, program, 100, &text, &len), 0);
	assert_string_equal(text, "second");
	unlink(program);
	cni_install_refresh(n->c);
	assert_int_equal(stat(program, &st), 0);
}

static void test_last_good(void **state)
{
	struct node *n = *state;
	char list[256];

	put(n, "10-aws.conflist", AWS);
	start(n);
	/* gone, as aws-node does when it starts */
	unlinkat(n->dir, "10-aws.conflist", 0);
	cni_install_refresh(n->c);
	assert_string_equal(plugins(n, list), "aws-cni portmap sluice-cni");
	assert_true(cni_install_in_force(n->c));
	assert_true(problem_has(n, "has gone and stays"));
	/* half written */
	put(n, "10-aws.conflist", "{\"cniVersion\":");
	cni_install_refresh(n->c);
	assert_string_equal(plugins(n, list), "aws-cni portmap sluice-cni");
	assert_true(problem_has(n, "10-aws.conflist: line 1"));
	unlinkat(n->dir, API_CNI_CONFLIST, 0); /* somebody takes ours: the last good one comes back */
	cni_install_refresh(n->c);
	assert_string_equal(plugins(n, list), "aws-cni portmap sluice-cni");
	/* a new agent knows the last good one from the file */
	start(n);
	assert_true(cni_install_in_force(n->c));
	assert_true(problem_has(n, "10-aws.conflist: line 1"));
	assert_string_equal(plugins(n, list), "aws-cni portmap sluice-cni");
	put(n, API_CNI_CONFLIST, "nonsense");
	start(n);
	assert_false(cni_install_in_force(n->c));
	put(n, "10-aws.conflist", AWS);
	cni_install_refresh(n->c);
	assert_true(cni_install_in_force(n->c));
	assert_string_equal(cni_install_problem(n->c), "");
}

static void test_not_in_force(void **state)
{
	struct node *n = *state;
	_cleanup_free_ char *program = path_of(n, "plugin"), *bin = path_of(n, "bin");
	char list[256];

	put(n, "10-aws.conflist", AWS);
	put(n, "00-first.conflist", "{\"cniVersion\":\"1.0.0\",\"name\":\"f\",\"type\":\"f\"}");
	start(n);
	assert_false(cni_install_in_force(n->c));
	assert_true(problem_has(n, "comes before"));
	unlinkat(n->dir, "00-first.conflist", 0);
	cni_install_refresh(n->c);
	assert_true(cni_install_in_force(n->c));
	/* without the program no list names it */
	unlinkat(n->dir, API_CNI_CONFLIST, 0);
	unlink(program);
	unlinkat(n->dir, "../bin/" API_CNI_PLUGIN, 0);
	assert_int_equal(rmdir(bin), 0);
	start(n);
	assert_false(cni_install_in_force(n->c));
	assert_string_equal(plugins(n, list), "");
	assert_true(problem_has(n, bin));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_install, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_last_good, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_in_force, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/access.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/siphash.h"
#include "policy/yaml.h"

#define PEM_MAX (1u << 20)

static void wipe(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	freep(secret);
}

void kube_access_freep(struct kube_access **a)
{
	if (!*a)
		return;
	free((*a)->server);
	free((*a)->ca);
	free((*a)->cert);
	wipe(&(*a)->key);
	wipe(&(*a)->token);
	free((*a)->token_file);
	free((*a)->server_name);
	free((*a)->namespace);
	free(*a);
	*a = NULL;
}

/* ---- in a pod ---------------------------------------------------------------------------------------------------- */

static int read_secret(const char *dir, const char *name, char **ret)
{
	char path[PATH_MAX];
	size_t len;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return file_read(AT_FDCWD, path, PEM_MAX, ret, &len);
}

int kube_access_in_cluster(const char *host, const char *port, const char *dir, struct kube_access **ret)
{
	CLEANUP(kube_access_freep) struct kube_access *a = NULL;
	_cleanup_free_ char *token = NULL;
	bool v6;
	int r;

	if (!host || !*host)
		return -ENOENT;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	v6 = strchr(host, ':') != NULL;
	if (asprintf(&a->server, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "",
		     port && *port ? port : "443") < 0)
		a->server = NULL;
	if (asprintf(&a->token_file, "%s/token", dir) < 0)
		a->token_file = NULL;
	if (!a->server || !a->token_file)
		return -ENOMEM;
	r = read_secret(dir, "ca.crt", &a->ca);
	if (r == 0)
		r = read_secret(dir, "token", &token);
	if (r < 0)
		return r;
	wipe(&token);
	if (read_secret(dir, "namespace", &a->namespace) < 0)
		a->namespace = NULL;
	*ret = TAKE_PTR(a);
	return 0;
}

/* ---- kubeconfig -------------------------------------------------------------------------------------------------- */

struct kubeconfig {
	struct yctx *ctx;
	const char *file;
	struct kube_access *access;
};

/* The entry called `name` of the list `key`, and of it the member `member`. */
static const struct ynode *find_named(struct kubeconfig *k, const struct ynode *root, const char *key, const char *name,
				      const char *member)
{
	const struct ynode *list;
	size_t n = ynode_list(root, key, &list);

	for (size_t i = 0; i < n; i++) {
		const char *text = ynode_text(list->items[i], "name", NULL);
		const struct ynode *found = ynode_get(list->items[i], member);

		if (text && found && !strcmp(text, name))
			return found;
	}
	yctx_error(k->ctx, root, "no entry '%.100s' under %s", name, key);
	return NULL;
}

static void keep(struct kubeconfig *k, const struct ynode *node, const char *key, char **ret)
{
	const struct ynode *value = ynode_get(node, key);

	if (value)
		yread_string(k->ctx, value, key, ret);
}

/* Where a file named in the kubeconfig is. */
static bool resolve(struct kubeconfig *k, const char *path, char ret[PATH_MAX])
{
	const char *slash = strrchr(k->file, '/');
	int dir = slash ? (int)(slash - k->file) + 1 : 0;
	int n = *path == '/' ? snprintf(ret, PATH_MAX, "%s", path)
			     : snprintf(ret, PATH_MAX, "%.*s%s", dir, k->file, path);

	return n < PATH_MAX;
}

static void decode(struct kubeconfig *k, const struct ynode *node, const char *key, const char *text, char **ret)
{
	size_t size = strlen(text) / 4 * 3 + 4;
	char *bytes = malloc(size + 1);
	int n = bytes ? b64_pton(text, (unsigned char *)bytes, size) : 0;

	if (!bytes) {
		k->ctx->oom = true;
		return;
	}
	if (n < 0) {
		yctx_error(k->ctx, node, "%s: expected base64", key);
		free(bytes);
		return;
	}
	bytes[n] = '\0';
	free(*ret);
	*ret = bytes;
}

/* A PEM text given as KEY-data, or in the file KEY names. */
static void read_pem(struct kubeconfig *k, const struct ynode *node, const char *key, char **ret)
{
	const struct ynode *file = ynode_get(node, key), *data;
	char data_key[64], path[PATH_MAX];
	const char *text;
	size_t len;
	int r;

	snprintf(data_key, sizeof(data_key), "%s-data", key);
	data = ynode_get(node, data_key);
	if (data && yread_text(k->ctx, data, data_key, &text)) {
		decode(k, data, data_key, text, ret);
		return;
	}
	if (!file || !yread_text(k->ctx, file, key, &text))
		return;
	r = resolve(k, text, path) ? file_read(AT_FDCWD, path, PEM_MAX, ret, &len) : -ENAMETOOLONG;
	if (r == -ENOMEM)
		k->ctx->oom = true;
	else if (r < 0)
		yctx_error(k->ctx, file, "%s: %s: %s", key, text, strerror(-r));
}

static void refuse(struct kubeconfig *k, const struct ynode *node, const char *key, const char *instead)
{
	const struct ynode *value = ynode_get(node, key);

	if (value && !ynode_is_null(value) && !(value->scalar == YSCALAR_BOOL && !strcmp(value->text, "false")))
		yctx_error(k->ctx, value, "%s is not supported; %s", key, instead);
}

static bool is_local(const char *url)
{
	return !strncmp(url, "http://127.", 11) || !strncmp(url, "http://[::1]", 12) ||
	       !strncmp(url, "http://localhost", 16);
}

static void read_cluster(struct kubeconfig *k, const struct ynode *cluster)
{
	struct kube_access *a = k->access;
	size_t len;

	keep(k, cluster, "server", &a->server);
	keep(k, cluster, "tls-server-name", &a->server_name);
	read_pem(k, cluster, "certificate-authority", &a->ca);
	refuse(k, cluster, "insecure-skip-tls-verify", "give certificate-authority");
	refuse(k, cluster, "proxy-url", "give the server itself");
	if (!a->server) {
		yctx_error(k->ctx, cluster, "expected a server");
		return;
	}
	for (len = strlen(a->server); len && a->server[len - 1] == '/'; len--)
		a->server[len - 1] = '\0';
	if (strncmp(a->server, "https://", 8) != 0 && !is_local(a->server))
		yctx_error(k->ctx, ynode_get(cluster, "server"), "server '%.200s'; expected https://HOST:PORT",
			   a->server);
}

static void read_user(struct kubeconfig *k, const struct ynode *user)
{
	struct kube_access *a = k->access;
	_cleanup_free_ char *token_file = NULL;
	char path[PATH_MAX];

	read_pem(k, user, "client-certificate", &a->cert);
	read_pem(k, user, "client-key", &a->key);
	keep(k, user, "token", &a->token);
	keep(k, user, "tokenFile", &token_file);
	refuse(k, user, "exec", "give a client certificate, token or tokenFile");
	refuse(k, user, "auth-provider", "give a client certificate, token or tokenFile");
	refuse(k, user, "username", "give a client certificate, token or tokenFile");
	if (token_file && resolve(k, token_file, path)) {
		a->token_file = strdup(path);
		k->ctx->oom |= !a->token_file;
	}
	if (!a->cert != !a->key)
		yctx_error(k->ctx, user, "client-certificate and client-key go together");
}

static void read_contexts(struct kubeconfig *k, const struct ynode *root)
{
	const char *current = ynode_text(root, "current-context", NULL), *cluster, *user;
	const struct ynode *context, *found;

	if (!current || !*current) {
		yctx_error(k->ctx, root, "expected a current-context");
		return;
	}
	context = find_named(k, root, "contexts", current, "context");
	cluster = ynode_text(context, "cluster", NULL);
	if (context)
		keep(k, context, "namespace", &k->access->namespace);
	user = ynode_text(context, "user", NULL);
	if (context && !cluster)
		yctx_error(k->ctx, context, "expected a cluster");
	found = cluster ? find_named(k, root, "clusters", cluster, "cluster") : NULL;
	if (found)
		read_cluster(k, found);
	found = user ? find_named(k, root, "users", user, "user") : NULL;
	if (found)
		read_user(k, found);
}

int kube_access_read(const char *file, const char *text, size_t len, struct diags *diags, struct kube_access **ret)
{
	CLEANUP(kube_access_freep) struct kube_access *a = calloc(1, sizeof(*a));
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	struct yctx c = { .file = file, .diags = diags };
	struct kubeconfig k = { &c, file, a };
	int r = a ? yaml_read(file, text, len, diags, &docs) : -ENOMEM;

	if (r < 0)
		return r;
	if (docs->count != 1) {
		diag_add(diags, DIAG_ERROR, file, 0, 0, "expected one document");
		return -EINVAL;
	}
	read_contexts(&k, docs->roots[0]);
	if (c.oom)
		return -ENOMEM;
	if (c.errors)
		return -EINVAL;
	*ret = TAKE_PTR(a);
	return 0;
}

/* ---- which cluster ----------------------------------------------------------------------------------------------- */

void kube_access_cluster(const struct kube_access *a, char ret[KUBE_CLUSTER_MAX])
{
	static const uint64_t key[2];
	const char *text = a->ca ? a->ca : a->server;

	snprintf(ret, KUBE_CLUSTER_MAX, "%016" PRIx64, siphash24(text, strlen(text), key));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where the API server is and how to speak to it: from the pod's service account, or from a kubeconfig file. */
#ifndef SLUICE_AGENT_KUBE_ACCESS_H
#define SLUICE_AGENT_KUBE_ACCESS_H

#include "policy/diag.h"

#define KUBE_SECRETS_DIR "/var/run/secrets/kubernetes.io/serviceaccount"
#define KUBE_CLUSTER_MAX 17

/* Every string is owned; NULL: not given. */
struct kube_access {
	char *server;	   /* "https://10.96.0.1:443", without a final slash */
	char *ca;	   /* PEM; NULL: the system's authorities */
	char *cert;	   /* PEM, of the client; with `key` */
	char *key;	   /* PEM */
	char *token;	   /* bearer token */
	char *token_file;  /* or the file it is in, which is read again as it is rotated */
	char *server_name; /* the name in the server's certificate, where it is not that of `server` */
	char *namespace;   /* the service account's own, or the context's; NULL: none is given */
};
void kube_access_freep(struct kube_access **a); /* wipes keys and tokens; NULL-safe, sets NULL */

/*
 * The service account's: `host` and `port` are KUBERNETES_SERVICE_HOST and _PORT, `dir` is KUBE_SECRETS_DIR. 0; -ENOENT
 * when the process is in no pod (`host` is NULL or empty); -errno of the CA's or the token's file; -ENOMEM.
 */
int kube_access_in_cluster(const char *host, const char *port, const char *dir, struct kube_access **ret);

/*
 * The current context of a kubeconfig text. Files it names are read relative to the folder of `file`. What this client
 * does not do (exec and auth-provider plugins, basic auth, insecure-skip-tls-verify, proxies, plain http to another
 * host) is an error at its place. 0; -EINVAL with diagnostics; -ENOMEM.
 */
int kube_access_read(const char *file, const char *text, size_t len, struct diags *diags, struct kube_access **ret);

/*
 * What tells one cluster from another while nobody answers: a hash of the authorities its API server is trusted by, since the
 * address of the service is the same in many; of the address where these are the system's. Hexadecimal.
 */
void kube_access_cluster(const struct kube_access *a, char ret[KUBE_CLUSTER_MAX]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket (api.socket): a stream of JSON lines, one request and its answer per line, so that `socat` or
 * three lines of any language can speak it. Only root may connect (SO_PEERCRED).
 *
 *   {"method": "status"}                  -> {"ok": true, "result": {...}}
 *   {"method": "endpoints"}               -> {"ok": true, "result": [...]}
 *   {"method": "policies"}                -> {"ok": true, "result": [...]}   with the diagnostics of refused ones
 *   {"method": "observe", "last": N, "follow": true|false}
 *                                         -> one flow-log object per line (agent/flowlog.h), then, without follow,
 *                                            {"ok": true, "result": {"lost": N}}
 *   {"method": "interface", "name": N, "pod": {"uid": TEXT, "namespace": TEXT, "name": TEXT}, "addresses": [TEXT...]}
 *                                         -> {"ok": true, "result": {"name": N, "known": true|false, "mode": M}}
 *                                            M: "quarantine" until the policy of an endpoint on it, that pod's, is in
 *                                            force; for sluice-cni, whose program on it is exchanged for the agent's.
 *                                            With "pod" it claims the interface for it: on a cluster's node the agent
 *                                            goes by that as long as the interface is there. Both may be left out
 *   {"method": "trace", "endpoint": ID, "generation": N, "address": TEXT, "in_cluster": true|false, "protocol": N,
 *    "port": N, "name": TEXT}             -> {"ok": true, "result": {"current": true|false, "rules": [...]}}
 *                                            every rule that speaks for the destination, the strongest first; without
 *                                            "name" no name rules. "current": they are those of the policy in force
 *   {"method": "reload"}                  -> re-reads config-independent inputs: endpoints file and policy directory
 * Errors: {"ok": false, "error": "text"}.
 */
#ifndef SLUICE_AGENT_API_H
#define SLUICE_AGENT_API_H

#include "dnsproxy/settings.h"

#define API_DEFAULT_SOCKET   "/run/sluice/sluice.sock"
#define API_DEFAULT_RUN_DIR  PROXY_DEFAULT_RUN_DIR
#define API_DEFAULT_PIN_PATH PROXY_DEFAULT_PIN_PATH
#define API_ACCEPTED_DIR     "policies" /* below the run directory: policy files as last taken whole */
#define API_ACCEPTED_ENDING  ".accepted"
#define API_STATE_FILE	     "cluster.state" /* below stateDir */
#define API_STATE_MARK	     "state.behind"  /* below the run directory: what is in force is newer than that */
#define API_DEFAULT_CONFIG   "/etc/sluice/sluice.yaml"
/* The chained plugin: what the agent puts where container runtimes look (cni.confDir, cni.binDir). */
#define API_CNI_PLUGIN		 "sluice-cni"
#define API_CNI_CONFLIST	 "00-sluice.conflist"
#define API_CNI_DEFAULT_CONF_DIR "/etc/cni/net.d"
#define API_CNI_DEFAULT_BIN_DIR	 "/opt/cni/bin"
#define API_CNI_VERSIONS                                                                                               \
	{                                                                                                              \
		"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"                                                            \
	}
#define API_MAX_REQUEST 65536

#define API_METHOD_INTERFACE "interface"
#define API_METHOD_STATUS    "status"
#define API_METHOD_ENDPOINTS "endpoints"
#define API_METHOD_POLICIES  "policies"
#define API_METHOD_OBSERVE   "observe"
#define API_METHOD_RELOAD    "reload"
#define API_METHOD_TRACE     "trace"

/* "state" of status' kubernetes.host_pods, each of which has "namespace", "name", "uid", "reason" and, if known, "cgroup". */
#define API_HOST_POD_NOT_ENFORCED    "not enforced"
#define API_HOST_POD_WAITING	     "waiting"
#define API_HOST_POD_ENFORCED	     "enforced"
#define API_HOST_POD_NOT_ENFORCEABLE "not enforceable"

#endif

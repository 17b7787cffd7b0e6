/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One collection of the API kept in step: listed in pages, then watched from there on, for ever. Without I/O: the caller
 * makes the requests this asks for, hands in what comes, and is told of objects.
 */
#ifndef SLUICE_AGENT_KUBE_REFLECTOR_H
#define SLUICE_AGENT_KUBE_REFLECTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where objects go. They are borrowed for the call. */
struct kube_sink {
	void *context;
	void (*begin)(void *context); /* a list begins: what is not put until `synced` is gone */
	void (*put)(void *context, json_t *object);
	void (*gone)(void *context, json_t *object); /* its last state */
	void (*synced)(void *context);
};

struct kube_collection {
	const char *path;  /* "/api/v1/pods" */
	const char *older; /* where it is when `path` is not served although the CRD is there; NULL: nowhere */
	const char *query; /* "fieldSelector=…", escaped; NULL: none */
	const char
		*crd; /* "ciliumnetworkpolicies.cilium.io": the kind is there only when this CRD is; NULL: built in */
	unsigned int page; /* objects in a page */
	bool optional;	   /* built in, but not everywhere: while it is not served there are none, or those that were */
};

/* Its strings are borrowed. `random` need not be cryptographic. */
struct kube_reflector;
int kube_reflector_new(const struct kube_collection *collection, const struct kube_sink *sink, uint32_t (*random)(void),
		       struct kube_reflector **ret);
void kube_reflector_freep(struct kube_reflector **r);

/*
 * Called when no request is under way: `now` in ns of CLOCK_MONOTONIC. 1: a request is due, its path and query are in
 * `ret` (borrowed until the next call), `ret_timeout` is its longest time in seconds, 0 for none. 0: nothing before
 * `ret_when`.
 */
int kube_reflector_poll(struct kube_reflector *r, uint64_t now, const char **ret, unsigned int *ret_timeout,
			uint64_t *ret_when);
/* A 2xx answer has begun; it may be long until something of its body comes. */
void kube_reflector_began(struct kube_reflector *r, uint64_t now);
/* Bytes of the body of a 2xx answer. False: no more of it is wanted; end the request, with status 200. */
bool kube_reflector_data(struct kube_reflector *r, const char *bytes, size_t len);
/* The request's end. `status` 0: there was no answer; `text` says what went wrong. */
void kube_reflector_end(struct kube_reflector *r, uint64_t now, long status, long retry_after, const char *text);

struct kube_reflector_state {
	const char *path;
	bool synced; /* listed once, or known not to be there */
	bool absent; /* its CRD is not installed */
	bool watching;
	long status;	   /* of the last answer; 0: there was none */
	const char *error; /* why the last request failed; "" when it did not */
	uint64_t objects;  /* put */
	uint64_t lists;	   /* begun */
	uint64_t failures;
	uint64_t lost; /* objects that could not be read: not JSON, or too large */
};
void kube_reflector_get(const struct kube_reflector *r, struct kube_reflector_state *ret);

#endif
